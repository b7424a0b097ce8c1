"""Imports of FSDP1 names that the file itself doesn't use: they go, or move with who uses them."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.facts import Module
from fsdp_migrate.findings import Finding, Tier
from fsdp_migrate.names import ROOT
from fsdp_migrate.rule import Example, Facts, Rule, Use, finding_at
from fsdp_migrate.uses import symbol_of


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Nothing to say about a single use."""
    return ()


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding for each import statement of FSDP1 of which some name is never read."""
    for module in facts.solver.project.modules.values():
        if module.rewrite and ROOT.rpartition(".")[2] in module.source.text:
            yield from _idle(module, facts)


def _idle(module: Module, facts: Facts) -> Iterable[Finding]:
    read = {
        node.id
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        idle = [
            alias.name
            for alias in node.names
            if alias.name != "*"
            and (alias.asname or alias.name) not in read
            and symbol_of(facts.value(alias)) is not None
        ]
        if idle:
            yield finding_at(
                RULE,
                module,
                node,
                f"imported from FSDP1 and not used here: {', '.join(idle)}",
                tier=Tier.NATIVE,
            )


RULE = Rule(
    code="FSDP103",
    name="unused-import",
    summary="imports of FSDP1 that nothing in the file uses",
    why="FSDP1's names go with FSDP1; a name that other files import from here moves with them.",
    fix_safety="Safe: nothing reads the name, or whoever does gets the shim's type of that name.",
    check=check,
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
