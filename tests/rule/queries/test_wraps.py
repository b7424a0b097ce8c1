"""Questions about constructor calls."""

from __future__ import annotations

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.edits import ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.queries.wraps import native_form, plan_of, takes_hook, types_inside
from fsdp_migrate.rule.registry import load_rules
from support.wraps import solved

HOOKS = "from torch.distributed.algorithms._comm_hooks import default_hooks as hooks\n"


def test_a_call_and_its_plan() -> None:
    text = "policy = ModuleWrapPolicy({Block})\nmodel = FSDP(Block(), auto_wrap_policy=policy)\n"
    facts = facts_of(solved(text).project, Options(), load_rules())
    plans = [plan_of(use, facts) for use in facts.uses]
    (plan,) = (found for found in plans if found is not None)
    assert [type(edit) for edit in native_form(facts, plan)] == [ReplaceStatement] * 2


def test_types_in_a_call_of_the_shim() -> None:
    text = "import torch.distributed.fsdp as f\nx = FSDP(Block(), f.ShardingStrategy.NO_SHARD)\n"
    facts = facts_of(solved(text).project, Options(), load_rules())
    (plan,) = facts.wraps.values()
    assert all(isinstance(edit, ReplaceExpression) for edit in types_inside(facts, plan))


def test_a_hook_that_a_wrap_takes_over() -> None:
    text = f"""\
{HOOKS}model = FSDP(Block())
model.register_comm_hook(None, hooks.bf16_compress_hook)
"""
    facts = facts_of(solved(text).project, Options(), load_rules())
    (use,) = (use for use in facts.uses if use.name == "register_comm_hook")
    assert use.call is not None
    assert takes_hook(facts, use.call)
    (plan,) = facts.wraps.values()
    assert not takes_hook(facts, plan.fact.node)
