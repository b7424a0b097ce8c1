"""The modules that a model is made of, as far as they can be followed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Atom,
    Cls,
    Container,
    Instance,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    join,
)
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

MODULE_BASES = frozenset({"torch.nn.Module", "torch.nn.modules.module.Module", "builtins.object"})
# Classes of libraries that bring methods, and no modules and no buffers of their own.
MIXINS = frozenset(
    {
        "ConfigMixin", "FromOriginalModelMixin", "GenerationMixin", "LightningModule", "ModelMixin",
        "PeftAdapterMixin", "PreTrainedModel", "PyTorchModelHubMixin",
    }
)  # fmt: skip
# Modules of torch that consist of what they are given.
HOLDERS = frozenset({"ModuleDict", "ModuleList", "Sequential"})
# Functions of torch that give modules that torch hasn't made.
LOADERS = ("torch.hub.", "torch.jit.", "torch.load", "torch.export.")
# Libraries whose objects are no modules.
OTHERS = frozenset({*sys.stdlib_module_names, "builtins", "numpy", "torch"})


@dataclass(frozen=True)
class ModelParts:
    """The classes of a model and of all modules in it."""

    classes: frozenset[Site]  # of the program
    libraries: frozenset[Result | Symbol]  # made by torch, or what classes derive from
    foreign: frozenset[str]  # by other libraries
    unknown: str  # why there may be more; "" if there is nothing else

    @property
    def unfollowed(self) -> str:
        """What in the model is not of the program and not of torch, in words; "" if all is."""
        if self.foreign:
            return f"`{min(self.foreign)}` is not of this program"
        return self.unknown


def parts_of_model(analysis: Analysis, model: Value) -> ModelParts:
    """What the model `model` is made of."""
    walk = _Walk(analysis)
    # What a variable is before and after the wrap is one joined value.
    walk.modules(frozenset(a for a in model if not isinstance(a, Wrapped)) or model)
    walk.run()
    unknown = walk.unknown if model else "nothing is known of the model"
    return ModelParts(
        frozenset(walk.classes), frozenset(walk.libraries), frozenset(walk.foreign), unknown
    )


class _Walk:
    """Goes through a model from the outside in."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.classes: set[Site] = set()
        self.libraries: set[Result | Symbol] = set()
        self.foreign: set[str] = set()
        self.unknown = ""
        self._seen: set[Atom] = set()
        self._todo: list[Atom] = []

    def run(self) -> None:
        """Go on until nothing new comes up."""
        while self._todo:
            atom = self._todo.pop()
            if isinstance(atom, Instance):
                self._instance(atom)
            elif isinstance(atom, Result):
                self._result(atom)
            elif isinstance(atom, Container):
                self._perhaps(self.analysis.dict_values(atom))
            elif isinstance(atom, Wrapped) and atom.site is not None:
                fact = self.analysis.wraps.get(atom.site)
                self.modules(fact.inner - {atom} if fact is not None else NOTHING)

    def modules(self, value: Value) -> None:
        """Look at what are modules for certain, so that the unknown among them counts."""
        for atom in value:
            if isinstance(atom, Container):
                self.modules(self.analysis.dict_values(atom))
            elif isinstance(atom, Instance | Result | Wrapped):
                self._add(atom)
            elif atom not in NONE:
                reason = f" ({atom.reason})" if isinstance(atom, Unknown) else ""
                self._doubt(f"the model is known only at run time{reason}")

    def _perhaps(self, value: Value) -> None:
        """Look at what may be modules and may be anything else."""
        for atom in value:
            if isinstance(atom, Instance | Container | Wrapped) or (
                isinstance(atom, Result) and atom.symbol.startswith("torch.nn.")
            ):
                self._add(atom)

    def _add(self, atom: Atom) -> None:
        if atom not in self._seen:
            self._seen.add(atom)
            self._todo.append(atom)

    def _doubt(self, reason: str) -> None:
        self.unknown = min(filter(None, (self.unknown, reason)))

    # ------------------------------------------------------------------ kinds of objects
    def _instance(self, atom: Instance) -> None:
        lineage = self.analysis.lineage(atom.cls)
        bases = [base for site in lineage for base in self.analysis.bases(site)]
        followed = all(isinstance(base, Cls | Symbol) for base in bases)
        if followed and not self.analysis.is_module(atom):
            return  # a configuration, say
        if not followed:
            self._doubt(f"a base of `{self.analysis.classes[atom.cls].node.name}` is not known")
        self.classes |= set(lineage)
        for base in bases:
            if isinstance(base, Symbol) and not _brings_none(base.name):
                self._library(base, base.name)
        self._perhaps(self.analysis.parts(atom))
        for site in lineage:
            for called in self._called(site):
                self._calls(called)

    def _called(self, cls: Site) -> Iterator[Atom]:
        """What methods of a class call by attributes of `self`."""
        for node in nodes_in(self.analysis.classes[cls].node):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = self.analysis.value(node.func.value)
            if owner and all(isinstance(a, Instance) for a in owner):
                yield from self.analysis.value(node.func)

    def _calls(self, called: Atom) -> None:
        """Look at what a module of the program calls on itself: its own, or what it was given."""
        if isinstance(called, Unknown):
            self._doubt(f"a module in the model is known only at run time ({called.reason})")
        elif isinstance(called, Result):
            self._add(called)

    def _result(self, atom: Result) -> None:
        self._library(atom, atom.symbol)
        if not atom.symbol.startswith("torch.nn."):
            return
        args, kwargs = self.analysis.calls.get(atom.site, ([], {}))
        given = join(*args, *kwargs.values(), self.analysis.parts(atom))
        if short(atom.symbol) in HOLDERS:
            self.modules(given)
        else:
            self._perhaps(given)

    def _library(self, thing: Result | Symbol, name: str) -> None:
        if name.startswith(LOADERS) or name.partition(".")[0] not in OTHERS:
            self.foreign.add(name)
        elif name.startswith("torch.nn."):
            self.libraries.add(thing)


def _brings_none(name: str) -> bool:
    """Whether a base class of a library has no modules of its own."""
    library, last = name.partition(".")[0], short(name)
    return name in MODULE_BASES or (library not in OTHERS and last in MIXINS)
