"""How a file spells the names of libraries: by the imports that stand at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Protocol

from fsdp_migrate.findings.code import Name, Variable
from fsdp_migrate.findings.edits import Import
from fsdp_migrate.syntax.module import Module, scope_nodes


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


def torch_path(module: Module, dotted: str) -> tuple[str, Import | None]:
    """The shortest of these, and the import to add if there is none."""
    paths = torch_paths(module, dotted)
    return (paths[0], None) if paths else (dotted, Import(dotted.split(".")[0]))


def local_name(module: Module, dotted: str, name: str) -> str | None:
    """The first of these, or None."""
    return next(iter(local_names(module, dotted, name)), None)
