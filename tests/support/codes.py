"""Code for tests of the rewriting: from texts with numbered holes, spelled as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fsdp_migrate.findings.code import ALTERNATIVE, BODY, Code, Hole, Kept, Name, Part, Variable
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.rewriting.statements import apply_edits
from fsdp_migrate.syntax.span import Span

_HOLE = re.compile(r"\{(\d+|body)\}")


class AsWritten:
    """Every name is called what it is called in its library."""

    def of(self, name: Name | Variable) -> str:
        """The last part of a library's name, or the first that a variable may have."""
        return name.name if isinstance(name, Name) else name.names[0]

    def builtin(self, name: str) -> str:
        """The name."""
        return name


def edited(text: str, edits: Iterable[Edit]) -> str:
    """`text` with `edits` made, names spelled as they are written."""
    return apply_edits(text, edits, AsWritten())


def numbered(template: str, holes: tuple[Span, ...] = ()) -> Part:
    """A template in which `{0}` stands for what is kept at the first of `holes`, and so on.

    It may name what it likes, which templates of rules may not.
    """
    if template == "{orelse}":
        return ALTERNATIVE
    filled: dict[str, Hole] = {f"kept{i}": Kept(span) for i, span in enumerate(holes)}
    parts: list[str] = []
    at = 0
    for found in _HOLE.finditer(template):
        parts.append(_escaped(template[at : found.start()]))
        parts.append("{body}" if found[1] == "body" else f"{{kept{found[1]}}}")
        at = found.end()
    text = "".join([*parts, _escaped(template[at:])])
    if "{body}" in text:
        filled["body"] = BODY
    return Code(text.strip("\n"), tuple(filled.items()))


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
