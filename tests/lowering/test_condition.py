"""Conditions on a submodule: for which roots they may hold, and how they combine."""

from __future__ import annotations

from fsdp_migrate.findings.code import Kept, code, variable
from fsdp_migrate.lowering.condition import UNIT, Condition, any_of, named_classes
from fsdp_migrate.syntax.span import Span
from support.wraps import solved

ONE, OTHER = (Kept(Span(1, n, 1, n + 1)) for n in (0, 5))


def test_a_root_of_a_class_that_is_asked_for() -> None:
    program = solved(
        "class Tall(Block):\n    pass\n\n\nmade = [Block(), Tall(), nn.Linear(2, 2)]\n"
    )
    own, libraries = named_classes(program.value("Block"))
    condition = Condition(ONE, nested=False, classes=own, libraries=libraries)
    assert condition.may_hold_for(program.solver, program.value("Block()"))
    assert condition.may_hold_for(program.solver, program.value("Tall()"))
    assert not condition.may_hold_for(program.solver, program.value("nn.Linear(2, 2)"))


def test_an_open_condition_may_hold_for_all() -> None:
    program = solved("made = nn.Linear(2, 2)\n")
    root = program.value("nn.Linear(2, 2)")
    assert Condition(ONE, nested=True, open=True).may_hold_for(program.solver, root)


def test_the_root_is_left_out_in_front() -> None:
    root = variable("model")
    made = Condition(ONE, nested=False).without(root)
    assert made == code("{unit} is not {root} and {test}", unit=UNIT, root=root, test=ONE)


def test_one_of_several() -> None:
    analysis = solved("").solver
    parts = [
        Condition(ONE, nested=False, libraries=frozenset({"torch.nn.Linear"}), is_class_test=True),
        Condition(OTHER, nested=False, open=True),
    ]
    both = any_of(analysis, parts)
    assert both.nested
    assert both.open
    assert not both.is_class_test
    assert both.libraries == {"torch.nn.Linear"}
    assert any_of(analysis, parts[:1]).is_class_test
