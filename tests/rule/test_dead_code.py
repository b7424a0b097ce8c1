"""What goes with native wraps, and what stays because the new code keeps it."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.dead_code import made_only_for, removals
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.registry import load_rules
from support.wraps import solved


def decided(text: str) -> Facts:
    """The facts that the rules are given."""
    return facts_of(solved(text).project, Options(), load_rules())


def gone(text: str) -> set[str]:
    """The expressions of a program that nothing else looks at."""
    facts = decided(text)
    (nodes,) = facts.removed.values()
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.expr)}


def test_arguments_go_and_the_model_stays() -> None:
    found = gone("model = FSDP(Block(), limit_all_gathers=True, backward_prefetch=None)\n")
    assert {"True", "None"} <= found
    assert "Block()" not in found


def test_what_the_new_code_keeps_stays() -> None:
    strategy = "ShardingStrategy.SHARD_GRAD_OP if flag == ShardingStrategy.NO_SHARD else None"
    found = gone(f"def f(net, flag):\n    return FSDP(net, sharding_strategy={strategy})\n")
    assert "ShardingStrategy.SHARD_GRAD_OP" in found
    assert "ShardingStrategy.NO_SHARD" not in found


def test_nothing_goes_with_a_call_of_the_shim() -> None:
    assert not gone("model = FSDP(Block(), ignored_states=[1])\n")


@pytest.mark.parametrize(("after", "count"), [("", 1), ("print(policy)\n", 0)])
def test_an_assignment_goes_where_nothing_else_reads_it(after: str, count: int) -> None:
    text = "policy = ModuleWrapPolicy({Block})\nmodel = FSDP(Block(), auto_wrap_policy=policy)\n"
    facts = decided(text + after)
    (plan,) = facts.wraps.values()
    edits = removals(facts, plan.fact.module, plan.parts.absorbed)
    assert len(edits) == count


def test_a_variable_that_is_made_for_one_place() -> None:
    text = "state = object()\nprint(state)\n"
    facts = decided(f"{text}model = FSDP(Block())\n")
    (plan,) = facts.wraps.values()
    module = plan.fact.module
    (node,) = (n.args[0] for n in ast.walk(module.tree) if isinstance(n, ast.Call) and n.args
               and isinstance(n.args[0], ast.Name) and n.args[0].id == "state")  # fmt: skip
    assert isinstance(made_only_for(facts, module, node), ast.Assign)
    assert made_only_for(facts, module, plan.fact.node) is None
