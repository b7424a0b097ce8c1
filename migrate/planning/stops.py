"""`--allow-incomplete`: what is left for a person raises an error, should it run before that."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from fsdp_migrate.findings.code import Literal, code
from fsdp_migrate.findings.edits import InsertStatements
from fsdp_migrate.findings.finding import Finding, Fix, Place
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

SIGN = "fsdp-migrate "  # what the text of an error of ours starts with


def with_stops(findings: Sequence[Finding], left: Collection[Place], facts: Facts) -> list[Finding]:
    """`findings`, of which those at `left` have an edit that puts an error above the statement."""
    result = []
    stopped: set[tuple[Path, int]] = set()
    for item in findings:
        module = facts.by_path.get(item.path)
        if item.place in left and item.fix is None and module is not None and module.given:
            edit = _stop(module, item)
            if edit is not None and (item.path, edit.span.line) not in stopped:
                stopped.add((item.path, edit.span.line))
                item = replace(item, fix=Fix({item.path: (edit,)}, item.safety))
        result.append(item)
    return result


def _stop(module: Module, item: Finding) -> InsertStatements | None:
    """The edit that raises an error where the place of `item` would run; None if it is there."""
    statement = _statement(module, item.line)
    if statement is None:
        return None
    block = module.block(statement)
    at = block.index(statement)
    if at and _is_stop(block[at - 1]):
        return None
    text = f"{SIGN}{item.code}: {item.message}"
    new = code("raise NotImplementedError({text})", text=Literal(text))
    return InsertStatements(module.span(statement), new)


def _statement(module: Module, line: int) -> ast.stmt | None:
    """The statement that runs when what is on a line does; of a function, the first of its body."""
    around = [n for n in nodes_in(module.tree) if isinstance(n, ast.stmt) and _spans(n, line)]
    if not around:
        return None
    found = max(around, key=lambda n: (n.lineno, -(n.end_lineno or 0)))
    if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        has_doc = ast.get_docstring(found, clean=False) is not None and len(found.body) > 1
        return found.body[1 if has_doc else 0]
    while _is_elif(module, found):
        found = module.parents[found]  # type: ignore[assignment]
    return found


def _is_elif(module: Module, node: ast.stmt) -> bool:
    parent = module.parents.get(node)
    if not isinstance(node, ast.If) or not isinstance(parent, ast.If):
        return False
    return parent.orelse == [node] and node.col_offset == parent.col_offset


def _spans(node: ast.stmt, line: int) -> bool:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    return bool(first <= line <= (node.end_lineno or node.lineno))


def _is_stop(statement: ast.stmt) -> bool:
    """Whether a statement is an error that an earlier run has put there."""
    match statement:
        case ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"), args=[text])):
            said = text.value if isinstance(text, ast.Constant) else None
            return isinstance(said, str) and said.startswith(SIGN)
    return False
