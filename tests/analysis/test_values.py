"""The lattice of values: joining, its bounds, and an order that is the same in every process."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from fsdp_migrate.analysis.values import (
    LITERALS,
    MANY,
    NONE,
    NOTHING,
    TOO_MANY,
    WIDTH,
    Atom,
    Bound,
    Const,
    Container,
    Func,
    Instance,
    Method,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constant,
    constants,
    is_symbol,
    join,
    ordered,
    symbols,
    unknown,
)
from fsdp_migrate.syntax.span import Site


def site(line: int, module: str = "/project/train") -> Site:
    return Site(module, line, 0, line, 5)


def value(*atoms: Atom) -> Value:
    return frozenset(atoms)


ATOMS: list[Atom] = [
    Const.of(1),
    Const.of(True),
    Const.of(None),
    Const.of("a"),
    Const.of(b"a"),
    Symbol("torch.nn.Linear"),
    Func(site(2)),
    Instance(site(10)),
    Bound(Func(site(2)), Instance(site(10))),
    Method(Wrapped(None), "no_sync"),
    Container(site(3), "dict"),
    Wrapped(None),
    Wrapped(site(4)),
    Unknown("computed"),
]


def test_joining_is_a_union() -> None:
    assert join() == NOTHING
    assert join(NOTHING, value(Const.of(1))) == value(Const.of(1))
    assert join(value(Const.of(1)), value(Symbol("a"))) == value(Const.of(1), Symbol("a"))


def test_numbers_and_truth_stay_apart() -> None:
    assert len(value(Const.of(1), Const.of(True), Const.of(1.0))) == 3


def test_one_reason_is_enough_and_always_the_same() -> None:
    for one, other in itertools.permutations(["b", "a", "c"], 2):
        assert join(unknown(one), unknown(other)) == unknown(min(one, other))


def test_many_literals_are_none_in_particular() -> None:
    every = [value(Const.of(i)) for i in range(LITERALS + 1)]
    assert join(*every) == {MANY}
    assert join(join(*every), value(Const.of("x")), NONE) == {MANY, *NONE}


def test_a_wide_value_keeps_its_models_only() -> None:
    every = value(*(Symbol(str(i)) for i in range(WIDTH)))
    assert join(every, value(Wrapped(None))) == {Wrapped(None), TOO_MANY}
    assert join(value(TOO_MANY), value(Symbol("a"))) == {TOO_MANY}


def test_constants() -> None:
    assert constants(value(Const.of(1))) == [1]
    assert constants(value(Const.of(1), Symbol("a"))) is None
    assert constants(NOTHING) is None
    assert constant(value(Const.of(1))) == Const.of(1)
    assert constant(value(Const.of(1), Const.of(2))) is None


def test_symbols() -> None:
    assert symbols(value(Symbol("a"), Const.of(1))) == {"a"}
    assert is_symbol(value(Symbol("a"), Const.of(None)), "a")
    assert not is_symbol(value(Symbol("a"), Const.of(1)), "a")


@pytest.mark.parametrize("count", range(4))
def test_the_order_does_not_come_from_the_set(count: int) -> None:
    rotated = [*ATOMS[count:], *ATOMS[:count]]
    assert list(ordered(frozenset(rotated))) == list(ordered(frozenset(ATOMS)))
    assert set(ordered(frozenset(ATOMS))) == set(ATOMS)


def test_lines_are_ordered_by_number() -> None:
    late, early = Wrapped(site(10)), Wrapped(site(9))
    assert list(ordered(value(late, early, Wrapped(None)))) == [Wrapped(None), early, late]


def test_hashes_are_the_same_in_every_process() -> None:
    script = (
        "from fsdp_migrate.analysis.values import *\n"
        "from fsdp_migrate.syntax.span import Site\n"
        "s = Site('/project/train', 4, 0, 4, 5)\n"
        "print([hash(a) for a in (Const.of('a'), Const.of(None), Symbol('x'), Wrapped(s))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(told) == 1
