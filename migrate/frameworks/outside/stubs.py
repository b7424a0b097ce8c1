"""Stubs (`.pyi`) that name FSDP1: they are listed, and migrated where they are given by name.

A stub describes a module that may be migrated in the same run under the same name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks.outside.class_paths import CODE
from fsdp_migrate.syntax.fsdp1_names import FSDP2, ROOT
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.source import Source


def listed(source: Source) -> Iterator[Finding]:
    """The imports of FSDP1 in a stub."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in nodes_in(tree):
        names = list(_fsdp1_names(node))
        if isinstance(node, ast.stmt) and names:
            message = (
                f"this stub names {', '.join(names)} of FSDP1; a model is an FSDPModule under "
                "FSDP2: give the stub to fsdp-migrate by its path to have it changed"
            )
            yield Finding(source.path, node.lineno, node.col_offset + 1, CODE, message, Tier.MANUAL)


def _fsdp1_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            yield from _fsdp1_name(f"{node.module}.{alias.name}")
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith(f"{ROOT}."):
                yield from _fsdp1_name(alias.name)


def _fsdp1_name(path: str) -> Iterator[str]:
    """The last name of a path, if it is in FSDP1."""
    if path.startswith(f"{ROOT}.") and FSDP2.isdisjoint(path.split(".")):
        yield path.rpartition(".")[2]
