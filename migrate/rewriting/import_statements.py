"""Import statements as text: which names they bring in, in which order and on which lines."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable

from fsdp_migrate.findings.edits import Import

FSDP = "torch.distributed.fsdp"
ImportNode = ast.Import | ast.ImportFrom


def home(node: ast.stmt) -> str:
    """The module that an import statement (its first name, if it has several) is about."""
    if isinstance(node, ast.ImportFrom):
        return "." * node.level + (node.module or "")
    assert isinstance(node, ast.Import)
    return node.names[0].name


def imported(node: ImportNode, alias: ast.alias) -> Import:
    """One name of an import statement."""
    if isinstance(node, ast.Import):
        return Import(alias.name, None, alias.asname)
    return Import(home(node), alias.name, alias.asname)


def bound_name(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def is_stdlib(module: str) -> bool:
    """Whether a module is the standard library's."""
    return module.partition(".")[0] in sys.stdlib_module_names


def is_about_fsdp(node: ast.stmt) -> bool:
    """Whether `node` imports from where FSDP is: what FSDP2 needs goes in its place.

    `from torch.distributed import fsdp`, and `FSDP` from a module of the project's own, count.
    """
    return home(node).startswith(FSDP) or (
        isinstance(node, ast.ImportFrom)
        and any(
            a.name == "fsdp" or a.name == "FSDP" or a.name.startswith("FullySharded")
            for a in node.names
        )
    )


def order(need: Import) -> tuple[str, str, str, str]:
    """The key by which names are sorted: constants, classes, then the rest."""
    name = need.name or ""
    kind = "0" if name.isupper() else "1" if name[:1].isupper() else "2"
    return need.module, kind, name, need.alias or ""


def statements(
    imports: Iterable[Import], column: int, limit: int, indent: str = "    "
) -> list[str]:
    """Import statements for `imports`, one a module, in lines of at most `limit` characters.

    They begin at `column`; where one takes several lines, these are indented by `indent`.
    Plain imports come first, in the order of their first mention; the others are sorted.
    """
    modules: dict[str, list[Import]] = {}
    lines: list[str] = []
    for item in imports:
        if item.name is None:
            lines.append(f"import {item.module}" + (f" as {item.alias}" if item.alias else ""))
        else:
            modules.setdefault(item.module, []).append(item)
    for module in sorted(modules):
        names = sorted(set(modules[module]), key=order)
        words = [f"{n.name} as {n.alias}" if n.alias else str(n.name) for n in names]
        line = f"from {module} import {', '.join(words)}"
        if column + len(line) > limit:
            line = f"from {module} import (\n" + "".join(f"{indent}{w},\n" for w in words) + ")"
        lines.append(line)
    return lines
