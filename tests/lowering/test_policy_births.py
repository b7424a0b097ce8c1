"""What the call that makes a wrap policy says of the units."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.policy_births import Born, born_policy, tuple_of_classes
from support.wraps import shown, solved

CLASSES = "functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={})"


def _born(policy: str, *lines: str) -> tuple[Born | None, str]:
    program = solved("".join(f"{line}\n" for line in (*lines, f"print({policy})")))
    call = program.module().tree.body[-1]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    found = born_policy(program.solver, program.module(), call.value.args[0])
    if found is None or found.listed is None:
        return found, ""
    return found, shown(program.module(), tuple_of_classes(program.module(), found.listed))


@pytest.mark.parametrize(
    ("policy", "classes"),
    [
        ("ModuleWrapPolicy({Block})", "(Block,)"),
        ("ModuleWrapPolicy(module_classes=[Block, nn.Linear])", "(Block, nn.Linear,)"),
        (CLASSES.format("set(names)"), "tuple(names)"),
        (CLASSES.format("{*names}"), "tuple({*names})"),
        (CLASSES.format("{k for k in names}"), "tuple({k for k in names})"),
        (CLASSES.format("blocks"), "(Block,)"),
    ],
)
def test_classes(policy: str, classes: str) -> None:
    found, text = _born(policy, "blocks = {Block}")
    assert found is not None
    assert text == classes
    assert bool(found.through) == ("blocks" in policy)


def test_others() -> None:
    found, _ = _born("functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: m.training)")
    assert found is not None
    assert isinstance(found.predicate, ast.Lambda)
    by_size = "from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy as by_size"
    found, _ = _born("functools.partial(by_size, min_num_params=3)", by_size)
    assert found is not None
    assert found.by_size is not None
    assert found.by_size.smallest is not None


OR = "functools.partial(_or_policy, policies={})"
IMPORT = "from torch.distributed.fsdp.wrap import _or_policy"
LAMBDA = "functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: m.training)"


@pytest.mark.parametrize("policies", ["[{}, {}]", "({}, {})", "listed", "[one, {1}]"])
def test_policies_in_a_list(policies: str) -> None:
    two = (LAMBDA, CLASSES.format("{Block}"))
    lines = {"listed": [f"listed = [{two[0]}, {two[1]}]"], "[one, {1}]": [f"one = {two[0]}"]}
    named = lines.get(policies, [])
    found, _ = _born(OR.format(policies.format(*two)), IMPORT, *named)
    assert found is not None
    assert [bool(part.predicate) for part in found.parts] == [True, False]
    assert len(found.through) == len(named)
    assert len(found.classes) == 1


@pytest.mark.parametrize(
    ("policies", "lines"),
    [
        ("make()", ()),
        ("[]", ()),
        ("[one]", (f"one = {LAMBDA}", "print(one)")),
        ("[*listed]", (f"listed = [{LAMBDA}]",)),
        ("[f]", ("f = lambda module, recurse, nonwrapped_numel: True",)),
    ],
)
def test_policies_of_a_list_that_are_made_elsewhere(policies: str, lines: tuple[str, ...]) -> None:
    found, _ = _born(OR.format(policies), IMPORT, *lines)
    assert found is not None
    assert found.union is not None
    assert not found.parts


@pytest.mark.parametrize(
    "policy",
    ["ModuleWrapPolicy(*names)", "functools.partial(print)", CLASSES.format("set()"), "other()"],
)
def test_more_than_that(policy: str) -> None:
    found, text = _born(policy)
    assert found is None or text == "tuple(set())"
