"""What `isinstance` and `hasattr` say of a value."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.library.classes import class_name, has_method, is_instance
from fsdp_migrate.analysis.library.modules import DDP
from fsdp_migrate.analysis.values import Atom, Const, Instance, Result, Symbol, Unknown, Wrapped
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.span import Site
from support.values import analyse

MODEL = "torch.nn.Module"
SITE = Site("/project/train", 1, 0, 1, 5)
ANALYSIS = analyse("class Clips(Net):\n    def clip_grad_norm_(self): ...\nclass Plain: ...").solver
AT = {info.node.name: site for site, info in ANALYSIS.classes.items()}


@pytest.mark.parametrize(
    ("atom", "classes", "expected"),
    [
        (Wrapped(None), {FSDP1}, True),
        (Wrapped(None), {MODEL}, True),
        (Wrapped(None), {DDP}, False),
        (Wrapped(None), {"some.Class"}, None),
        (Instance(AT["Net"]), {MODEL}, True),
        (Instance(AT["Clips"]), {AT["Net"]}, True),
        (Instance(AT["Net"]), {FSDP1}, False),
        (Instance(AT["Net"]), {"some.Class"}, None),
        (Result(DDP, SITE), {DDP}, True),
        (Result(DDP, SITE), {FSDP1}, False),
        (Instance(AT["Net"]), {DDP, "torch.nn.DataParallel"}, False),
        (Result(DDP, SITE), {"torch.nn.DataParallel"}, False),
        (Result("torch.nn.Linear", SITE), {FSDP1, DDP}, False),
        (Result("torch.nn.Linear", SITE), {DDP}, False),
        (Result("some.thing", SITE), {FSDP1}, None),
        (Const.of(None), {FSDP1}, None),
        (Unknown("computed"), {FSDP1}, None),
    ],
)
def test_is_instance(atom: Atom, classes: set[str | Site | None], expected: bool | None) -> None:
    assert is_instance(ANALYSIS, atom, classes) is expected


@pytest.mark.parametrize(
    ("atom", "name", "expected"),
    [
        (Wrapped(None), "no_sync", True),
        (Instance(AT["Net"]), "no_sync", False),
        (Instance(AT["Clips"]), "clip_grad_norm_", True),
        (Instance(AT["Plain"]), "no_sync", None),
        (Result(DDP, SITE), "no_sync", True),
        (Result(DDP, SITE), "clip_grad_norm_", False),
        (Result("torch.nn.Linear", SITE), "no_sync", False),
        (Unknown("computed"), "no_sync", None),
    ],
)
def test_has_method(atom: Atom, name: str, expected: bool | None) -> None:
    assert has_method(ANALYSIS, atom, name) is expected


def test_classes_have_names_or_places() -> None:
    assert class_name(Symbol(FSDP1)) == FSDP1
    assert class_name(Unknown("computed")) is None
