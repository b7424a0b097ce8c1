"""A call as the lowerings of its arguments look at it."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.nesting import Nesting, Role
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none, resolve
from support.wraps import solved


def site(text: str) -> WrapSite:
    """The one call of a program."""
    made = solved(text)
    (fact,) = made.solver.wraps.values()
    program = ProgramFacts.of(made.solver, fact.module)
    nesting = Nesting(made.solver)
    return WrapSite(made.solver, program, nesting, fact, fact.arguments, frozenset(), "cuda")


def test_what_is_known_of_a_call() -> None:
    found = site("model = FSDP(Block(), limit_all_gathers=True)\n")
    assert found.role is Role.ROOT
    assert not found.has_inner
    assert found.value("limit_all_gathers")
    assert not found.value("device_id")
    assert found.calls(found.fact.node, "torch.distributed.fsdp.FullyShardedDataParallel")


def test_a_variable_is_resolved_by_its_one_assignment() -> None:
    found = site("gathers = True\nmodel = FSDP(Block(), limit_all_gathers=gathers)\n")
    value, through = resolve(found, found.arguments["limit_all_gathers"].node)
    assert isinstance(value, ast.Constant)
    assert len(through) == 1


def test_what_cannot_be_resolved_says_why() -> None:
    found = site("def build(gathers):\n    return FSDP(Block(), limit_all_gathers=gathers)\n")
    with pytest.raises(NotNative, match="`gathers` is known only at run time"):
        resolve(found, found.arguments["limit_all_gathers"].node)
    with pytest.raises(NotNative, match="not written at the call"):
        resolve(found, None)


def test_none_as_it_is_written() -> None:
    assert is_none(ast.Constant(None))
    assert not is_none(ast.Constant(0))
