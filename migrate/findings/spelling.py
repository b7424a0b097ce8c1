"""How a file spells the names of libraries: by the imports that stand at its top."""

from __future__ import annotations

import ast
from typing import Protocol

from fsdp_migrate.findings.code import Name, Variable
from fsdp_migrate.findings.finding import Import
from fsdp_migrate.syntax.module import Module


class Spelling(Protocol):
    """How a file calls what new code names."""

    def of(self, name: Name | Variable) -> str:
        """The dotted path by which the file refers to a library's name, or the variable's name."""

    def builtin(self, name: str) -> str:
        """The same for a builtin."""


def local_name(module: Module, dotted: str, name: str) -> str | None:
    """By what `module` already calls `dotted.name` at its top level, or None."""
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == dotted and not node.level:
            for alias in node.names:
                if alias.name == name:
                    return alias.asname or alias.name
    return None


def torch_path(module: Module, dotted: str) -> tuple[str, Import | None]:
    """How `module` spells a torch module such as `torch.distributed`, and the import to add.

    Takes `import torch.distributed as dist`, `from torch import nn` and plain `import torch`
    as they come, so that the result reads like the code around it.
    """
    best: str | None = None
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and (dotted == alias.name or dotted.startswith(alias.name + ".")):
                    best = _longer(best, alias.asname + dotted[len(alias.name) :])
                elif alias.asname is None and alias.name.split(".")[0] == dotted.split(".")[0]:
                    best = best or dotted
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if dotted == full or dotted.startswith(full + "."):
                    best = _longer(best, (alias.asname or alias.name) + dotted[len(full) :])
    if best is not None:
        return best, None
    return dotted, Import(dotted.split(".")[0])


def _longer(old: str | None, new: str) -> str:
    """The spelling with fewer dots: the one that the file has taken most trouble over."""
    return new if old is None or new.count(".") < old.count(".") else old
