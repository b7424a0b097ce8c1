"""What is known of the expressions that settings are given as."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.queries.framework_settings import SettingValues
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.syntax.project import Project
from support.edits import module_of

HEAD = """\
import sys
from functools import partial
from torch import nn
from torch.distributed.fsdp import CPUOffload, MixedPrecision, ShardingStrategy, StateDictType
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
class Block(nn.Module): pass
"""


def asked(expression: str, before: str = "") -> tuple[SettingValues, ast.expr]:
    """The answers for a program, and the expression that is asked for."""
    module = module_of(f"{HEAD}{before}use({expression})\n")
    facts = facts_of(Project.of([module]), Options(), load_rules())
    last = module.tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    return SettingValues(facts, module), last.value.args[0]


@pytest.mark.parametrize(
    ("expression", "strategy"),
    [
        ('"FULL_SHARD"', "FULL_SHARD"),
        ('"ShardingStrategy.SHARD_GRAD_OP"', "SHARD_GRAD_OP"),
        ("4", "HYBRID_SHARD"),
        ("ShardingStrategy.NO_SHARD", "NO_SHARD"),
        ("ShardingStrategy.FULL_SHARD if sys.argv else None", "FULL_SHARD"),
        ("1 if sys.argv else 2", None),
        ("sys.argv[1]", None),
        ("True", None),
    ],
)
def test_strategies(expression: str, strategy: str | None) -> None:
    values, node = asked(expression)
    assert values.strategy(node) == strategy


@pytest.mark.parametrize(
    ("expression", "strategy"),
    [("True", "FULL_SHARD"), ("False", "SHARD_GRAD_OP"), ("2", "SHARD_GRAD_OP"), ("x", None)],
)
def test_resharding(expression: str, strategy: str | None) -> None:
    values, node = asked(expression)
    assert values.resharding(node) == strategy


@pytest.mark.parametrize(
    ("expression", "flag"),
    [
        ("True", True),
        ("False", False),
        ("None", False),
        ('"yes"', True),
        ("True if sys.argv else False", None),
        ("sys.flags", None),
    ],
)
def test_flags(expression: str, flag: bool | None) -> None:
    values, node = asked(expression)
    assert values.flag(node) is flag
    assert values.flag(None) is False


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ('"full_shard auto_wrap"', ["full_shard", "auto_wrap"]),
        ('["full_shard", "offload"]', ["full_shard", "offload"]),
        ("True", ["full_shard", "any_wrap"]),
        ('""', []),
        ("None", []),
        ('"something else"', None),
        ('["full_shard", sys.argv[1]]', None),
        ("sys.argv[1]", None),
    ],
)
def test_words(expression: str, words: list[str] | None) -> None:
    values, node = asked(expression)
    assert values.words(node) == words


@pytest.mark.parametrize(
    ("expression", "is_given", "is_none"),
    [("None", False, True), ("0", True, False), ("None if sys.argv else 1", True, False)],
)
def test_none(expression: str, is_given: bool, is_none: bool) -> None:
    values, node = asked(expression)
    assert values.is_given(node) is is_given
    assert values.is_none(node) is is_none
    assert not values.is_given(None)


def test_kinds_of_state_dicts() -> None:
    values, node = asked("StateDictType.FULL_STATE_DICT if sys.argv else 3")
    assert values.state_dict_types(node) == {"FULL_STATE_DICT", "SHARDED_STATE_DICT"}


@pytest.mark.parametrize(
    ("expression", "takes"),
    [("CPUOffload()", True), ("CPUOffload", True), ("partial(print)", False), ("[1]", False)],
)
def test_what_is_fsdp1s(expression: str, takes: bool) -> None:
    values, node = asked(expression)
    assert values.takes_fsdp1(node) is takes
    wanted = ["torch.distributed.fsdp.CPUOffload"]
    assert values.calls(node, wanted) is (expression == "CPUOffload()")


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("a = [1]\n", True),
        ("a = [1]\nprint(a)\n", False),
        ("a = [1]\na = [2]\n", False),
        ("a, b = [1], 2\n", False),
        ('a = [1]\n__all__ = ["a"]\n', False),
    ],
)
def test_definitions_that_only_this_reads(before: str, found: bool) -> None:
    values, node = asked("a", before)
    assert (values.definition(node) is not None) is found


def test_definitions_are_unread_once_their_readers_go() -> None:
    values, node = asked("b", "a = [1]\nb = [a]\n")
    statements = [s for s in values.module.tree.body if isinstance(s, ast.Assign)]
    assert values.unread(statements, set()) == []
    assert values.unread(statements, set(ast.walk(node))) == statements[::-1]


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("MixedPrecision(1, buffer_dtype=2)", {"param_dtype", "buffer_dtype"}),
        (
            "MixedPrecision(keep_low_precision_grads=False)",
            {"keep_low_precision_grads"},
        ),
        ("MixedPrecision(keep_low_precision_grads=True)", None),
        ("MixedPrecision(**settings)", None),
    ],
)
def test_precision(expression: str, fields: set[str] | None) -> None:
    values, node = asked(expression)
    assert isinstance(node, ast.Call)
    found = values.precision(node)
    assert (None if found is None else set(found)) == fields


@pytest.mark.parametrize(
    ("expression", "classes"),
    [
        ("ModuleWrapPolicy({Block, nn.Linear})", ["Block", "Linear"]),
        ("ModuleWrapPolicy(classes)", None),
        ("print", None),
    ],
)
def test_classes_of_a_policy(expression: str, classes: list[str] | None) -> None:
    values, node = asked(expression)
    found = values.policy_classes(node)
    assert (list(found[0]) if found is not None else None) == classes
