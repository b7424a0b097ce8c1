"""Strings that are code: the names of libraries in them are spelled and imported like others."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.code import Name, Quoted, code, parts_of
from support.programs import migrate

MODULE = Name("torch.distributed.fsdp", "FSDPModule")


@pytest.mark.parametrize(
    ("quoted", "literal"),
    [
        (Quoted(("", MODULE, "")), '"FSDPModule"'),
        (Quoted(("list[", MODULE, "]"), "'"), "'list[FSDPModule]'"),
        (Quoted(('L["a"] | ', MODULE)), "'L[\"a\"] | FSDPModule'"),
        (Quoted(("list[\n", MODULE, "]")), "'list[\\nFSDPModule]'"),
    ],
)
def test_the_string_is_written_with_its_own_quotes(quoted: Quoted, literal: str) -> None:
    assert quoted.literal(lambda name: name.name) == literal


def test_its_names_are_parts_of_the_code() -> None:
    quoted = Quoted(("", MODULE, " | None"))
    assert list(parts_of(code("{x}", x=quoted)))[1:] == [quoted, MODULE]


def test_a_name_that_the_file_has_for_something_else_gets_another() -> None:
    run = migrate(
        "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
        "class FSDPModule:\n    pass\n\n\n"
        'def f(x: "FSDP"):\n    return FSDPModule(x)\n'
    )
    after = run.after["train.py"]
    assert "import FSDPModule as fsdp_FSDPModule" in after
    assert 'def f(x: "fsdp_FSDPModule"):' in after


def test_an_import_that_may_fail_gives_the_name_all_the_same() -> None:
    run = migrate(
        "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"
        "try:\n    from torch.distributed.fsdp import FSDPModule\n"
        "except ImportError:\n    FSDPModule = None\n\n\n"
        "def is_sharded(model):\n    return isinstance(model, FSDP)\n"
    )
    assert "return isinstance(model, FSDPModule)" in run.after["train.py"]
