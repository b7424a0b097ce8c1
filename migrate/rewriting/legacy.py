"""Edits whose code is a text with numbered holes, as they were before there was `Code`."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace

from fsdp_migrate.findings.code import ALTERNATIVE, BODY, Code, Hole, Kept
from fsdp_migrate.findings.finding import Edit, MoveStatement, ReplaceExpression, RewriteArguments

_HOLE = re.compile(r"\{(\d+|body)\}")


def typed(edit: Edit) -> Edit:
    """`edit` with its text as a template."""
    if isinstance(edit, MoveStatement | RewriteArguments) or not isinstance(edit.code, str):
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
