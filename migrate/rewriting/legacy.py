"""Edits whose code is a text with numbered holes, as they were before there was `Code`."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fsdp_migrate.findings.code import ALTERNATIVE, BODY, Code, Hole, Kept
from fsdp_migrate.findings.edits import (
    Edit,
    Import,
    LeaveContext,
    MoveStatement,
    ReplaceExpression,
    RewriteArguments,
)
from fsdp_migrate.syntax.module import Module

_HOLE = re.compile(r"\{(\d+|body)\}")


def typed(edit: Edit) -> Edit:
    """`edit` with its text as a template."""
    if isinstance(edit, MoveStatement | RewriteArguments | LeaveContext) or not isinstance(
        edit.code, str
    ):
        return edit
    if edit.code == "{orelse}":
        return replace(edit, code=ALTERNATIVE)
    text = edit.code
    if not isinstance(edit, ReplaceExpression):
        text = textwrap.dedent(text).strip("\n")
    holes: dict[str, Hole] = {f"kept{i}": Kept(span) for i, span in enumerate(edit.holes)}
    parts: list[str] = []
    at = 0
    for found in _HOLE.finditer(text):
        known = found[1] == "body" or int(found[1]) < len(edit.holes)
        parts.append(_escaped(text[at : found.start()]))
        name = "body" if found[1] == "body" else f"kept{found[1]}"
        parts.append(f"{{{name}}}" if known else _escaped(found[0]))
        at = found.end()
    parts.append(_escaped(text[at:]))
    template = "".join(parts)
    if "{body}" in template:
        holes["body"] = BODY
    return replace(edit, code=Code(template, tuple(holes.items())), holes=())


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def apart(
    module: Module, edits: Iterable[Edit], needs: Iterable[Import]
) -> tuple[list[Edit], set[Import]]:
    """`edits` and `needs`, with other names where `module` uses one for something of its own."""
    taken = _own_names(module)
    present = _imported(module)
    others: dict[str, str] = {}
    renamed: set[Import] = set()
    for need in needs:
        clash = need.name is not None and need.alias is None and need.local in taken
        if clash and (need.module, need.name) not in present:
            others[need.local] = _fresh(need.local, module)
            need = replace(need, alias=others[need.local])
        renamed.add(need)
    return [_renamed(edit, others) for edit in edits], renamed


def _own_names(module: Module) -> set[str]:
    """The names that anything but an import binds, in any scope that functions see."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            if not isinstance(module.scope(node), ast.ClassDef):
                names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(module.scope(node), ast.ClassDef):
                names.add(node.name)
    return names


def _imported(module: Module) -> set[tuple[str, str]]:
    return {
        (node.module or "", alias.name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _fresh(name: str, module: Module) -> str:
    name = f"fsdp_{name}"
    while name in module.bound_names:
        name = f"_{name}"
    return name


def _renamed(edit: Edit, others: Mapping[str, str]) -> Edit:
    """`edit` with other names in its template, keyword arguments left alone."""
    if not others or isinstance(edit, MoveStatement | RewriteArguments | LeaveContext):
        return edit
    if not isinstance(edit.code, str):
        return edit
    words = "|".join(map(re.escape, others))
    pattern = rf"(?<![\w.\"'])(?:{words})(?![\w\"'])(?!\s*=(?!=))"
    template = re.sub(pattern, lambda found: others[found[0]], edit.code)
    return replace(edit, code=template)
