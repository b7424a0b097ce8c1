"""What a reference to a class is for, and how the class of a model is asked for."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.class_tests import (
    Place,
    are_classes,
    asks_for_attribute,
    comparisons_of_name,
    instance_asked,
    place_of,
)
from support.facts import Program

HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("isinstance(m, FSDP)", Place.TEST),
        ("issubclass(m, (dict, FSDP))", Place.TEST),
        ("check = isinstance\ncheck(m, FSDP)", Place.TEST),
        ("kinds = (dict, FSDP)", Place.TEST),
        ("def f(x: FSDP | None): pass", Place.TEST),
        ("def f(x) -> list[FSDP]: pass", Place.TEST),
        ("x: FSDP = m", Place.TEST),
        ("type(m) is FSDP", Place.COMPARISON),
        ("build(m, FSDP)", Place.VALUE),
        ("def isinstance(a, b): pass\nisinstance(m, FSDP)", Place.VALUE),
        ("kind = FSDP", Place.VALUE),
        ("def f(x=FSDP): pass", Place.VALUE),
    ],
)
def test_places(text: str, place: Place) -> None:
    asked = Program(f"{HEAD}{text}\n")
    assert place_of(asked.facts, asked.module(), asked.node("FSDP")) is place


@pytest.mark.parametrize(
    ("text", "instance"),
    [
        ("type(self.m)", "self.m"),
        ("self.m.__class__", "self.m"),
        ("kind = type\nkind(m)", "m"),
        ("type(m, n, {})", None),
        ("def type(x): pass\ntype(m)", None),
        ("typed(m)", None),
    ],
)
def test_the_object_whose_class_is_asked_for(text: str, instance: str | None) -> None:
    asked = Program(f"{HEAD}{text}\n")
    statement = asked.module().tree.body[-1]
    assert isinstance(statement, ast.Expr)
    found = instance_asked(asked.facts, statement.value)
    assert (ast.unparse(found) if found is not None else None) == instance


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ('type(m).__name__ == "FullyShardedDataParallel"', True),
        ('m.__class__.__name__ in ("DDP", "FullyShardedDataParallel")', True),
        ("type(m).__name__ == NAME", True),
        ('type(m).__name__ == "FSDP"', False),
        ('f.__name__ == "FullyShardedDataParallel"', False),
        ('name == "FullyShardedDataParallel"', False),
    ],
)
def test_comparisons_of_the_class_s_name(test: str, found: bool) -> None:
    asked = Program(f'{HEAD}NAME = "FullyShardedDataParallel"\n{test}\n')
    assert bool(list(comparisons_of_name(asked.facts, asked.module()))) is found


def test_what_is_known_to_be_a_class() -> None:
    asked = Program(f"{HEAD}class Own: pass\nuse(Own, FSDP, unknown)\n")
    own, fsdp, unknown = asked.call("use(Own, FSDP, unknown)").args
    assert are_classes(asked.facts, [own, fsdp])
    assert not are_classes(asked.facts, [own, unknown])
    assert not are_classes(asked.facts, [])


def test_hasattr_is_known_by_what_it_is() -> None:
    asked = Program('wanted = "module"\nhas = hasattr\nhas(m, wanted)\nother(m, "module")\n')
    assert asks_for_attribute(asked.facts, asked.call("has(m, wanted)"), "module")
    assert not asks_for_attribute(asked.facts, asked.call("has(m, wanted)"), "model")
    assert not asks_for_attribute(asked.facts, asked.call("other(m, 'module')"), "module")
