"""The edits of values that change in many places, file by file."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class InFile:
    """The edits of a file, and the first place that they are about."""

    module: Module
    first: ast.AST
    edits: tuple[Edit, ...]


def edits_by_file(edits: Iterable[tuple[Module, Edit]]) -> Iterator[InFile]:
    """The edits, each file's together."""
    found: dict[Module, list[Edit]] = defaultdict(list)
    for module, edit in edits:
        found[module].append(edit)
    for module, some in found.items():
        start = min(edit.span for edit in some)
        first = next(
            node
            for node in module.parents
            if hasattr(node, "lineno") and module.span(node) == start
        )
        yield InFile(module, first, tuple(some))
