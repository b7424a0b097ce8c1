"""FSDP1's types that stay values."""

from __future__ import annotations

import ast

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.facts import RUNTIME, Facts
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.shim_types import (
    in_shim_wrap,
    is_local,
    staying,
    swallowed,
    take_from_shim,
    type_name,
)
from support.wraps import solved

TEXT = """\
import torch.distributed.fsdp as fsdp

kept = ShardingStrategy.FULL_SHARD
other = fsdp.ShardingStrategy.NO_SHARD
half = MixedPrecision(torch.bfloat16)
print(half)
model = FSDP(Block(), mixed_precision=half, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP)
second = FSDP(Block(), cpu_offload=CPUOffload(True), other=1)
"""


def decided(text: str) -> Facts:
    """The facts that the rules are given."""
    return facts_of(solved(text).project, Options(), load_rules())


def test_types_that_stay() -> None:
    facts = decided(TEXT)
    (module,) = facts.analysis.project.modules.values()
    uses = staying(facts, module)
    assert [type_name(use) for use in uses] == [
        "ShardingStrategy",
        "ShardingStrategy",
        "CPUOffload",
    ]
    assert [in_shim_wrap(use, facts) for use in uses] == [False, False, True]
    assert not any(is_local(use) for use in uses)


def test_a_precision_that_becomes_a_policy_is_none_of_them() -> None:
    facts = decided(TEXT)
    calls = [use for use in facts.uses if type_name(use) == "MixedPrecision"]
    assert [swallowed(use, facts) for use in calls] == [True]


def test_names_behind_a_module_are_named_anew() -> None:
    facts = decided(TEXT)
    (module,) = facts.analysis.project.modules.values()
    (edit,) = take_from_shim(staying(facts, module))
    assert edit.code == Name(RUNTIME, "ShardingStrategy")
    line = module.lines[edit.span.line - 1]
    assert (
        ast.unparse(ast.parse(line[edit.span.col : edit.span.end_col])) == "fsdp.ShardingStrategy"
    )
