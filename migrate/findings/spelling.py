"""How a file spells the names of libraries: by the imports that stand at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from string import Formatter
from typing import Protocol

from fsdp_migrate.findings.code import (
    Code,
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Starred,
    Variable,
)
from fsdp_migrate.syntax.module import Module, scope_nodes
from fsdp_migrate.syntax.span import Span


class Spelling(Protocol):
    """How a file calls what new code names."""

    def of(self, name: Name | Variable) -> str:
        """The dotted path by which the file refers to a library's name, or the variable's name."""

    def builtin(self, name: str) -> str:
        """The same for a builtin."""


def local_names(module: Module, dotted: str, name: str) -> list[str]:
    """What `module` calls `dotted.name` by its imports outside of functions, in their order."""
    return [
        alias.asname or alias.name
        for node in scope_nodes(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module == dotted and not node.level
        for alias in node.names
        if alias.name == name
    ]


def torch_paths(module: Module, dotted: str) -> list[str]:
    """How `module` can spell a torch module such as `torch.distributed`, the shortest way first.

    Takes `import torch.distributed as dist`, `from torch import nn` and plain `import torch`
    as they come, so that the result reads like the code around it.
    """
    found = [
        bound + dotted[len(full) :]
        for node in module.tree.body
        for full, bound in _bound(node)
        if dotted == full or dotted.startswith(f"{full}.")
    ]
    return sorted(dict.fromkeys(found), key=lambda path: path.count("."))


def _bound(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """What an import statement gives names to, as a dotted path, and the names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            package = alias.name.partition(".")[0]
            yield (alias.name, alias.asname) if alias.asname else (package, package)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            yield f"{node.module}.{alias.name}", alias.asname or alias.name


def width(module: Module, part: Element) -> int:
    """About how many characters `part` takes in `module`, on one line: for layout only."""
    if isinstance(part, Keyword):
        return len(part.name) + 1 + width(module, part.value)
    if isinstance(part, Starred):
        return (2 if part.double else 1) + width(module, part.value)
    if isinstance(part, Item):
        return width(module, part.key) + 2 + width(module, part.value)
    if isinstance(part, Code):
        return _code_width(module, part)
    if isinstance(part, Name):
        return len(_spelled(module, part))
    if isinstance(part, Variable):
        return len(part.names[0])
    if isinstance(part, Literal):
        return len(part.source)
    return len(_text(module, part.span)) if isinstance(part, Kept) else 0


def _code_width(module: Module, part: Code) -> int:
    total = 0
    for literal, hole, _, _ in Formatter().parse(part.template):
        total += len(literal)
        if hole is not None:
            filled = part[hole]
            every = filled if isinstance(filled, tuple) else (filled,)
            total += sum(width(module, item) for item in every) + 2 * max(0, len(every) - 1)
    return total


def _spelled(module: Module, name: Name) -> str:
    if name.qualified:
        return f"{[*torch_paths(module, name.module), name.module][0]}.{name.name}"
    return [*local_names(module, name.module, name.name), name.name][0]


def _text(module: Module, span: Span) -> str:
    lines = module.lines[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_col]
    lines[0] = lines[0][span.col :]
    return "\n".join(lines)
