"""Wrap policies as conditions: which can be one, and what is followed on the way."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.lowering.condition import Condition
from fsdp_migrate.lowering.wrap_policy import lower_policy
from support.wraps import shown, solved

OR = "from torch.distributed.fsdp.wrap import _or_policy\n"
LAMBDA = "functools.partial(lambda_auto_wrap_policy, lambda_fn={})"
CLASSES = "functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={})"


def lowered(policy: str, *lines: str) -> tuple[Condition | None, str, list[Definition]]:
    """The condition that `policy` is, its test as text, and what it was followed through."""
    program = solved("".join(f"{line}\n" for line in (*lines, f"print({policy})")))
    call = program.module().tree.body[-1]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    absorbed: list[Definition] = []
    found = lower_policy(program.solver, program.module(), call.value.args[0], absorbed)
    return found, shown(program.module(), found.test) if found else "", absorbed


@pytest.mark.parametrize(
    ("policy", "test"),
    [
        ("ModuleWrapPolicy({Block})", "isinstance(module, Block)"),
        ("ModuleWrapPolicy(module_classes=[Block])", "isinstance(module, Block)"),
        (CLASSES.format("{Block, nn.Linear}"), "isinstance(module, (Block, nn.Linear,))"),
        (CLASSES.format("set([Block])"), "isinstance(module, Block)"),
        (CLASSES.format("net.classes"), "isinstance(module, tuple(net.classes))"),
        (CLASSES.format("{*some, Block}"), "isinstance(module, (*some, Block,))"),
        (LAMBDA.format("lambda m: isinstance(m, Block)"), "isinstance(module, Block)"),
        (LAMBDA.format("lambda m: m.training"), "module.training"),
        (LAMBDA.format("is_unit"), "is_unit(module)"),
        (
            "functools.partial(_or_policy, policies=[ModuleWrapPolicy({Block}), "
            + LAMBDA.format("lambda m: m.training")
            + "])",
            "isinstance(module, Block) or module.training",
        ),
    ],
)
def test_policies_that_are_conditions(policy: str, test: str) -> None:
    assert lowered(policy, OR)[1] == test


@pytest.mark.parametrize(
    "policy",
    [
        "unknown",
        "functools.partial(unknown, min_num_params=1)",
        "ModuleWrapPolicy(some())",
        CLASSES.format("{(kind := Block)}"),
        CLASSES.format("set()"),
        LAMBDA.format("lambda m, n: True"),
    ],
)
def test_other_policies(policy: str) -> None:
    assert lowered(policy)[0] is None


def test_what_is_followed_goes_with_the_policy() -> None:
    lines = ("classes = {Block}", "policy = ModuleWrapPolicy(classes)")
    found, test, absorbed = lowered("policy", *lines)
    assert found is not None
    assert test == "isinstance(module, Block)"
    assert len(absorbed) == 2


def test_a_function_that_only_builds_a_policy() -> None:
    _, test, absorbed = lowered("make()", "def make():", "    return ModuleWrapPolicy({Block})")
    assert test == "isinstance(module, Block)"
    assert isinstance(absorbed[0], ast.FunctionDef)


@pytest.mark.parametrize(
    "lines",
    [
        ("def make():", "    some = kinds()", f"    return {CLASSES.format('some')}"),
        ("def make(x=1):", "    return ModuleWrapPolicy({x})"),
        ("@cached", "def make():", "    return ModuleWrapPolicy({Block})"),
        ("def make():", "    print(1)", "    return ModuleWrapPolicy({Block})"),
    ],
)
def test_functions_that_do_more(lines: tuple[str, ...]) -> None:
    assert lowered("make()", *lines)[0] is None


@pytest.mark.parametrize(
    ("classes", "nested"),
    [
        ("{Block}", False),
        ("{nn.Linear}", False),
        ("{nn.Sequential}", True),
        ("{nn.Linear, nn.Conv2d}", True),
        ("{Block, nn.Linear}", True),
        ("{Tall}", True),
        ("{Tall, Block}", True),
        ("{SequentialLike}", False),
    ],
)
def test_units_that_may_contain_each_other(classes: str, nested: bool) -> None:
    made = (
        "class Tall(nn.Module):",
        "    def __init__(self):",
        "        self.tall = Tall()",
        "class SequentialLike(nn.Module):",
        "    pass",
    )
    found, _, _ = lowered(f"ModuleWrapPolicy({classes})", *made)
    assert found is not None
    assert found.nested == nested
