"""Functions of the user's as wrap policies: a test of the module, or a question of sizes."""

from __future__ import annotations

import pytest

from support.wraps import migrated

NAMES = "module, recurse, nonwrapped_numel"
BUILD = "def build(net):\n    return FSDP(net, auto_wrap_policy={})\n"


@pytest.mark.parametrize(
    ("policy", "test"),
    [
        ("isinstance(module, Block)", "isinstance(module, Block)"),
        (
            "isinstance(module, (Block, nn.Linear)) or module is special",
            "isinstance(module, (Block, nn.Linear)) or module is special",
        ),
        ("any(m.training for m in module.children())", None),
    ],
)
def test_a_test_of_the_module(policy: str, test: str | None) -> None:
    text = (
        f"special = nn.Linear(2, 2)\n\n\ndef policy({NAMES}):\n    return recurse or {policy}\n\n\n"
    )
    after = migrated(text + BUILD.format("policy"))
    assert "def policy" not in after
    if test is not None:
        assert test in after.replace("submodule", "module")


@pytest.mark.parametrize(
    "given",
    [
        "policy",
        "functools.partial(policy, least=4)",
        f"lambda {NAMES}: recurse or nonwrapped_numel > 3",
    ],
)
def test_a_question_of_sizes(given: str) -> None:
    text = f"def policy({NAMES}, least=3):\n    return recurse or nonwrapped_numel > least\n\n\n"
    after = migrated(text + BUILD.format(given))
    assert f"in units_by_policy(net, {given}):" in after


def test_a_parameter_gets_its_value() -> None:
    text = (
        f"def policy({NAMES}, kinds=(Block,)):\n"
        "    return recurse or isinstance(module, kinds)\n\n\n"
    )
    after = migrated(text + BUILD.format("functools.partial(policy, kinds=nn.Linear)"))
    assert "isinstance(submodule, nn.Linear)" in after or "isinstance(module, nn.Linear)" in after


def test_it_may_not_look_into_all() -> None:
    text = f"def policy({NAMES}):\n    return nonwrapped_numel > 3\n\n\n"
    after = migrated(text + BUILD.format("policy"))
    assert "in units_by_recursive_policy(net, policy):" in after
    low = "policy, mixed_precision=MixedPrecision(torch.bfloat16)"
    assert "in units_by_policy(net, policy):" in migrated(text + BUILD.format(low))


@pytest.mark.parametrize("policy", ["other.policy", "make()"])
def test_what_is_not_known(policy: str) -> None:
    after = migrated(f"import other\nfrom other import make\n\n\n{BUILD.format(policy)}")
    assert "units_by" not in after
