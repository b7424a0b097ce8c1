"""Wrap policies as arguments: the units of the plan, and what goes with the call."""

from __future__ import annotations

from support.wraps import plan, wrapped


def test_a_policy_makes_units() -> None:
    units = wrapped("auto_wrap_policy=ModuleWrapPolicy({Block})").parts.units
    assert units is not None
    assert not units.root_matches


def test_the_root_is_no_unit_of_its_own_policy() -> None:
    text = "model = FSDP(Block(), auto_wrap_policy=ModuleWrapPolicy({Block}))\n"
    units = plan(text).parts.units
    assert units is not None
    assert units.root_matches


def test_a_policy_in_a_variable_goes_with_the_call() -> None:
    found = wrapped("auto_wrap_policy=policy", "policy = ModuleWrapPolicy({Block})")
    assert len(found.parts.absorbed) == 1


def test_no_policy_makes_no_units() -> None:
    assert wrapped("auto_wrap_policy=None").parts.units is None


def test_a_policy_that_only_the_run_knows() -> None:
    found = wrapped("auto_wrap_policy=flag.policy")
    assert found.native
    assert found.parts.residues[0].parameter == "auto_wrap_policy"
    found = wrapped("auto_wrap_policy=flag.policy", style="shim")
    assert found.reasons[0].parameter == "auto_wrap_policy"
