"""Equal objects are one, with a hash that is the same in every process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.interned import fields_of, forget
from fsdp_migrate.analysis.values import Bound, Const, Func, Instance, Params, Symbol, Unknown
from fsdp_migrate.syntax.span import Site

SITE = Site("train", 1, 0, 1, 5)


def test_equal_objects_are_one() -> None:
    assert Instance(SITE) is Instance(Site("train", 1, 0, 1, 5))
    assert Bound(Func(SITE), Instance(SITE)) is Bound(Func(SITE), Instance(SITE))
    assert Params(Instance(SITE)) is Params(Instance(SITE), "") is Params(owner=Instance(SITE))
    assert replace(Params(Instance(SITE)), kind="one") is Params(Instance(SITE), "one")
    assert Task("train", SITE) is Task("train", SITE, None)


def test_other_objects_are_not() -> None:
    assert Instance(SITE) != Func(SITE)
    assert len({Const.of(1), Const.of(True), Const.of(1.0), Const.of("1"), Const.of(None)}) == 5
    assert Unknown("why", (SITE,)) != Unknown("why")


def test_what_was_made_before_is_equal_to_what_is_made_after() -> None:
    before = Bound(Func(SITE), Instance(SITE))
    forget()
    after = Bound(Func(SITE), Instance(SITE))
    assert after is not before
    assert after == before
    assert {before} == {after}


def test_hashes_do_not_depend_on_the_process() -> None:
    program = (
        "from fsdp_migrate.analysis.values import Const, Method, Symbol\n"
        "print(hash(Method(Symbol('torch.nn'), 'step')), hash(Const.of('a')))"
    )
    command = [sys.executable, "-c", program]
    seeds = [{"PYTHONHASHSEED": str(seed)} for seed in (1, 2)]
    one, two = (subprocess.run(command, env=s, capture_output=True, check=True) for s in seeds)
    assert one.stdout == two.stdout != b""


def test_fields() -> None:
    assert fields_of(Task("train", SITE)) == ["train", SITE, None]
    assert fields_of(Symbol("torch")) == ["torch"]
