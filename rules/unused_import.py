"""Imports of FSDP1 names that the file itself doesn't use: they go, or move with who uses them."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import NOTHING, Kept, block, code
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import rewritable
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.fsdp1_names import STARS, is_fsdp1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.used_names import exported_names

OFFERED = "; `__all__` offers {names} to other projects, which lose the name"


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding for each import statement of FSDP1 of which some name is never read."""
    for module in rewritable(facts):
        yield from _idle(module, facts)
        yield from _deleted(module, facts)


def _idle(module: Module, facts: Facts) -> Iterable[Finding]:
    read = {
        node.id
        for node in nodes_in(module.tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    offered = exported_names(module.tree)
    for node in nodes_in(module.tree):
        idle: list[str] = []
        if isinstance(node, ast.ImportFrom):
            idle = [a.name for a in node.names if _is_idle(node, a, read, facts)]
        elif isinstance(node, ast.Import):
            idle = [
                a.name for a in node.names if a.asname and a.asname not in read and is_fsdp1(a.name)
            ]
        if idle:
            listed = sorted(offered & _bound(node))
            aside = OFFERED.format(names=", ".join(listed)) if listed else ""
            yield finding_at(
                RULE,
                module,
                node,
                f"imported from FSDP1 and not used here: {', '.join(idle)}{aside}",
                tier=Tier.NATIVE,
                safety=Safety.UNSAFE if listed else Safety.SAFE,
            )


def _deleted(module: Module, facts: Facts) -> Iterable[Finding]:
    """`del FSDP`: the name goes with its import, and there is nothing left to delete."""
    for node in nodes_in(module.tree):
        if not isinstance(node, ast.Delete):
            continue
        gone = {t for t in node.targets if symbol_of(facts.value(t)) is not None}
        if gone:
            kept = [Kept(module.span(t)) for t in node.targets if t not in gone]
            rest = block(*(code("del {name}", name=name) for name in kept)) if kept else NOTHING
            yield finding_at(
                RULE,
                module,
                node,
                "names of FSDP1 are deleted here that are not imported any more",
                tier=Tier.NATIVE,
                edits=[ReplaceStatement(module.span(node), rest)],
            )


def _bound(node: ast.AST) -> set[str]:
    """The names that an import statement binds."""
    names = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
    return {alias.asname or alias.name for alias in names}


def _is_idle(node: ast.ImportFrom, alias: ast.alias, read: set[str], facts: Facts) -> bool:
    if alias.name == "*":
        stars = STARS.get(node.module or "", frozenset()) if not node.level else frozenset()
        return bool(stars) and not stars & read
    return (alias.asname or alias.name) not in read and symbol_of(facts.value(alias)) is not None


RULE = Rule(
    code="FSDP103",
    name="unused-import",
    summary="imports of FSDP1 that nothing in the file uses",
    why="FSDP1's names go with FSDP1; a name that other files import from here moves with them.",
    fix_safety=(
        "Safe: nothing reads the name, or whoever does gets the shim's type of that name.  Unsafe "
        "where `__all__` offers it to other projects."
    ),
    needs=("nobody outside of the project reads the name",),
    check=no_uses,
    survey=survey,
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import CPUOffload

print(torch.__version__)
""",
            after="""\
import torch

print(torch.__version__)
""",
        ),
    ),
)
