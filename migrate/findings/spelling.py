"""How a file spells the names of libraries: by the imports that stand at its top."""

from __future__ import annotations

import ast
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
    found: list[str] = []
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and (dotted == alias.name or dotted.startswith(alias.name + ".")):
                    found.append(alias.asname + dotted[len(alias.name) :])
                elif alias.asname is None and alias.name.split(".")[0] == dotted.split(".")[0]:
                    found.append(dotted)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if dotted == full or dotted.startswith(full + "."):
                    found.append((alias.asname or alias.name) + dotted[len(full) :])
    return sorted(dict.fromkeys(found), key=lambda path: path.count("."))


def torch_path(module: Module, dotted: str) -> tuple[str, Import | None]:
    """The shortest of these, and the import to add if there is none."""
    paths = torch_paths(module, dotted)
    return (paths[0], None) if paths else (dotted, Import(dotted.split(".")[0]))


def local_name(module: Module, dotted: str, name: str) -> str | None:
    """The first of these, or None."""
    return next(iter(local_names(module, dotted, name)), None)
