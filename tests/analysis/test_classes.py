"""Base classes, and which method a name means."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Instance, Symbol, Wrapped
from fsdp_migrate.syntax.span import Site
from support.programs import Analysis
from support.values import analyse

SHAPES = """
class Base(nn.Module):
    def step(self): ...
class Left(Base):
    def left(self): ...
class Right(Base):
    def step(self): ...
class Both(Left, Right):
    def __init__(self):
        self.model = FSDP(Net())
"""


def named(analysis: Analysis) -> dict[str, Site]:
    return {info.node.name: site for site, info in analysis.solver.classes.items()}


def test_lineage_and_descendants() -> None:
    analysis = analyse(SHAPES)
    at = named(analysis)
    assert analysis.solver.lineage(at["Both"]) == [at["Both"], at["Left"], at["Base"], at["Right"]]
    assert analysis.solver.descendants(at["Base"]) == [at["Left"], at["Right"], at["Both"]]
    assert analysis.solver.library_bases(at["Both"]) == {"torch.nn.Module"}
    assert analysis.solver.bases(at["Base"]) == [Symbol("torch.nn.Module")]


def test_methods_are_looked_up_along_the_lineage() -> None:
    analysis = analyse(SHAPES)
    at = named(analysis)
    found = analysis.solver.method(at["Both"], "left")
    assert found is not None
    assert found == analysis.solver.classes[at["Left"]].methods["left"]
    assert analysis.solver.method(at["Both"], "nothing") is None


def test_modules_of_the_program() -> None:
    analysis = analyse(f"{SHAPES}\nclass Plain: ...")
    at = named(analysis)
    assert analysis.solver.is_module(Instance(at["Both"]))
    assert not analysis.solver.is_module(Instance(at["Plain"]))
    assert not analysis.solver.is_module(Wrapped(None))


def test_parts_of_an_object_are_those_of_its_whole_family() -> None:
    analysis = analyse(SHAPES)
    at = named(analysis)
    for name in ("Both", "Base"):
        assert any(isinstance(p, Wrapped) for p in analysis.solver.parts(Instance(at[name])))
    assert not analysis.solver.parts(Instance(at["Net"]))


def test_a_base_that_is_found_late_counts_for_what_ran_before() -> None:
    analysis = Analysis(
        {
            "train.py": "from models import Child\nprobe = Child().build()\nprobe\n",
            "models.py": "from base import *\nclass Child(Base): ...\n",
            "base.py": "class Base:\n    def build(self):\n        return 1\n",
        }
    )
    assert [ast.unparse(n) for n in analysis.nodes("probe")] == ["probe"]
    assert {getattr(atom, "value", None) for atom in analysis.value("probe")} == {1}


def test_classes_that_derive_from_each_other() -> None:
    analysis = analyse("class A(B): ...\nclass B(A): ...\nprobe = A()\nprobe.x")
    at = named(analysis)
    assert at["A"] in analysis.solver.lineage(at["A"])


BASES = """
import abc
import torch.utils.data
from lib import Thing
from typing import Generic, TypeVar
T = TypeVar("T")
class Plain: ...
class Data(torch.utils.data.IterableDataset): ...
class Step(torch.autograd.Function): ...
class Sgd(torch.optim.Optimizer): ...
class Listed(Generic[T], abc.ABC): ...
class Wrong(ValueError): ...
class Foreign(Thing): ...
class Mixin: ...
class Mixed(Mixin, nn.Module): ...
"""


def test_what_may_be_a_module() -> None:
    analysis = analyse(BASES)
    found = {name for name, site in named(analysis).items() if analysis.solver.may_be_module(site)}
    assert found == {"Net", "Foreign", "Mixin", "Mixed"}


def test_data_sets_and_optimizers_are_no_modules() -> None:
    analysis = analyse(BASES)
    at = named(analysis)
    found = {name for name, site in at.items() if analysis.solver.is_module(Instance(site))}
    assert found == {"Net", "Mixed"}
