"""What becomes of a class that is passed on."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.class_fates import Fate
from fsdp_migrate.rule.queries.class_flow import fates, is_read_as_given
from support.facts import Program

HEAD = """
import functools
import somelib
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def asks(m, kind=None):
    return isinstance(m, kind)


def makes(m, cls):
    return cls(m)


"""
ASKED = (
    "asks(1, FSDP)",
    "asks(1, kind=FSDP)",
    "asks(1, (nn.Linear, FSDP))",
    "functools.partial(asks, kind=FSDP)",
    "kinds = [FSDP]\nisinstance(1, tuple(kinds))",
    "table = {'a': FSDP}\nisinstance(1, table.get('a'))\nprint(table['a'].__name__)",
    "for kind in (FSDP, nn.Linear):\n    isinstance(1, kind)",
    "def given():\n    return FSDP\nisinstance(1, given())",
    "def many(m, *kinds):\n    return any(isinstance(m, k) for k in kinds)\nmany(1, 2, FSDP)",
    "def many(m, *kinds):\n    return isinstance(m, kinds)\nkinds = [FSDP]\nmany(1, *kinds)",
    "kinds = {}\nkinds['a'] = FSDP\nisinstance(1, kinds['a'])",
    "kinds = []\nkinds.append(FSDP)\nisinstance(1, tuple(kinds))",
    "for kind, do in {FSDP: makes, nn.Linear: asks}.items():\n    isinstance(1, kind)\n    do(1)",
    "import attrs\nattrs.validators.instance_of(FSDP)",
    "from beartype.door import is_bearable\nis_bearable(1, hint=FSDP)",
    "from unittest.mock import MagicMock\nMagicMock(spec=FSDP)",
    "from multipledispatch import dispatch\n@dispatch(int, FSDP)\ndef f(a, m): ...",
    "class Asks:\n    kind = FSDP\n    def ok(self, m):\n        return isinstance(m, self.kind)",
)
OTHERS = (
    "makes(1, FSDP)",
    "functools.partial(FSDP, use_orig_params=True)",
    "somelib.use(FSDP)",
    "kind = FSDP\nsomelib.kind = kind",
    "from unittest.mock import MagicMock\nMagicMock(return_value=FSDP)",
)
BOTH = (
    "asks(1, FSDP)\nkind = FSDP if input() else nn.Linear\nasks(1, kind)\nkind(1)",
    "def ensure(m, cls):\n    return m if isinstance(m, cls) else cls(m)\nensure(1, FSDP)",
)


def asked_for(text: str) -> bool | None:
    program = Program(HEAD + text)
    module = program.project.modules[next(iter(program.project.modules))]
    return fates(program.facts, module, program.node("FSDP")).is_asked_for


@pytest.mark.parametrize("text", ASKED)
def test_it_is_only_asked_for(text: str) -> None:
    assert asked_for(text) is True


@pytest.mark.parametrize("text", OTHERS)
def test_it_is_never_asked_for(text: str) -> None:
    assert asked_for(text) is False


@pytest.mark.parametrize("text", BOTH)
def test_it_is_asked_for_and_more(text: str) -> None:
    assert asked_for(text) is None


def test_a_parameter_is_left_to_what_it_is_given() -> None:
    program = Program(HEAD + "asks(1, FSDP)")
    module = program.project.modules[next(iter(program.project.modules))]
    assert is_read_as_given(program.facts, module, program.node("kind"))
    assert not is_read_as_given(program.facts, module, program.node("FSDP"))


def test_what_a_library_does_is_not_known() -> None:
    program = Program(HEAD + "somelib.use(FSDP)")
    module = program.project.modules[next(iter(program.project.modules))]
    found = fates(program.facts, module, program.node("FSDP"))
    assert found.through_others == {Fate.UNSEEN}
    assert found.is_unseen


@pytest.mark.parametrize("text", ["cost = {FSDP: 2}\nprint(cost[type(1)])", "{}.get(FSDP)"])
def test_what_is_found_by_it_is_said(text: str) -> None:
    program = Program(HEAD + text)
    module = program.project.modules[next(iter(program.project.modules))]
    assert fates(program.facts, module, program.node("FSDP")).is_looked_up
