"""A name that is FSDP1's where its import works, and something else where it doesn't."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import rewritable
from fsdp_migrate.rule.queries.values import is_one_of
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every name that an import of FSDP1 binds."""
    for module in rewritable(facts):
        imported = dict(_imported(module, facts))
        for node in nodes_in(module.tree) if imported else ():
            if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
                continue
            symbol = imported.get(node.id)
            if symbol is not None and is_one_of(facts.value(node), symbol):
                yield finding_at(
                    RULE,
                    module,
                    node,
                    f"`{node.id}` is PyTorch's or, where that import fails, something else: every "
                    "torch that has FSDP2 has both, so drop the other import or definition",
                    tier=Tier.MANUAL,
                )


def _imported(module: Module, facts: Facts) -> Iterator[tuple[str, str]]:
    """The names that imports of FSDP1 bind in a file, and what each is."""
    for node in nodes_in(module.tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                symbol = symbol_of(facts.value(alias))
                if symbol is not None:
                    yield alias.asname or alias.name, symbol


RULE = Rule(
    code="FSDP111",
    name="import-fallback",
    summary="a name that is FSDP1's or, where its import fails, another library's",
    why=(
        "What is done with such a name has to be right for both, and the other one has nothing "
        "of FSDP2.  A torch that has `fully_shard` never takes the other way."
    ),
    fix_safety="There is no fix.",
    left=(
        "Always.  Every torch that has FSDP2 has both names: drop the other import or "
        "definition, and run it again."
    ),
    check=no_uses,
    survey=survey,
    examples=(
        Example(
            before="""\
try:
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
except ImportError:
    from fairscale.nn import FullyShardedDataParallel as FSDP


def build(net):
    return FSDP(net)
""",
        ),
    ),
)
