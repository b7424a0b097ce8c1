"""What rules are given: a use of FSDP1, and everything that is known of the program."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.analysis.values import Value, Wrapped
from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.options import Options
from fsdp_migrate.lowering.born_values import NOTHING_BORN, BornValues
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.lowering.state_dict_modes import Modes
from fsdp_migrate.lowering.tensor_ends import TensorEnds
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.rule.parts import Parts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

RUNTIME = "fsdp_migrate.runtime"
Position = tuple[Path, int, int]  # a file, line and column, as findings count them


@dataclass(frozen=True, eq=False)
class Use:
    """One reference to FSDP1: a name of its API, or a method of a model that may be FSDP's.

    `name` is the canonical dotted name, or the bare name of the method.  `call` is the call
    whose callee the reference is.  `wraps` are the models that a method's receiver can be;
    `others` is what else it can be (a DDP model, say), without the bare module that a wrap
    was given, which is the same object after the migration.
    """

    module: Module
    node: ast.Name | ast.Attribute
    name: str
    call: ast.Call | None = None
    receiver: ast.expr | None = None
    wraps: frozenset[Wrapped] = frozenset()
    others: Value = frozenset()
    unbound: bool = False  # the receiver is the call's first argument: `FSDP.no_sync(model)`
    is_part: bool = False  # the receiver is a part of the models, `model.encoder`

    @property
    def args(self) -> Sequence[ast.expr]:
        """What is passed by position, without the receiver."""
        if self.call is None:
            return ()
        return self.call.args[1:] if self.unbound else self.call.args

    @property
    def keywords(self) -> Sequence[ast.keyword]:
        """What is passed by name."""
        return self.call.keywords if self.call is not None else ()

    @property
    def certain(self) -> bool:
        """Whether the receiver is an FSDP model and nothing else."""
        return bool(self.wraps) and not self.others

    def arguments(self, signature: Sequence[str] = ()) -> Arguments:
        """The arguments of the call, to ask for and to change; the receiver is none of them."""
        assert self.call is not None
        return bind(self.module, self.call, signature, self.receiver)


@dataclass(frozen=True, eq=False)
class FromAnalysis:
    """What follows from the analysis alone, and is kept for all facts about one program."""

    analysis: Analysis

    @cached_property
    def effects(self) -> Effects:
        """What calls do."""
        return Effects(self.analysis)

    @cached_property
    def holders(self) -> ParameterHolders:
        """What is given a model's parameters, and keeps them."""
        return ParameterHolders(self.analysis)

    @cached_property
    def sharded(self) -> ShardedTensors:
        """Which tensors are sharded."""
        return ShardedTensors(self.analysis)

    @cached_property
    def parts(self) -> Parts:
        """Which modules are parts of a model."""
        return Parts(self.analysis, self.sharded)


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that is known when the rules run.

    `removed` are, by module, the nodes that go with what is migrated natively, and `gone` the
    places in statements that a rule, given by its code, takes out.  `born` is what values become
    where they are born, `partials` what becomes of partials of the class.
    """

    analysis: Analysis
    options: Options
    wraps: Mapping[Site, WrapPlan]
    modes: Modes
    uses: tuple[Use, ...] = ()
    born: BornValues = NOTHING_BORN
    partials: Mapping[Site, tuple[WrapPlan, ...]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[ast.AST]] = field(default_factory=dict)
    gone: Mapping[Position, str] = field(default_factory=dict)
    known: FromAnalysis | None = None  # by facts about the same program

    @cached_property
    def once(self) -> FromAnalysis:
        """What follows from the analysis alone."""
        return self.known or FromAnalysis(self.analysis)

    def value(self, node: ast.AST | None) -> Value:
        """What an expression can be."""
        return self.analysis.value(node)

    @property
    def effects(self) -> Effects:
        """What calls do."""
        return self.once.effects

    @property
    def holders(self) -> ParameterHolders:
        """What is given a model's parameters, and keeps them."""
        return self.once.holders

    @property
    def sharded(self) -> ShardedTensors:
        """Which tensors are sharded."""
        return self.once.sharded

    @property
    def parts(self) -> Parts:
        """Which modules are parts of a model."""
        return self.once.parts

    @cached_property
    def tensor_ends(self) -> TensorEnds:
        """Where sharded tensors meet what takes none of their kind, and what is done about it."""
        return TensorEnds.of(self.analysis, self.sharded, self.wraps)

    @cached_property
    def by_path(self) -> Mapping[Path, Module]:
        """The modules by their file."""
        return {module.path: module for module in self.analysis.project.modules.values()}

    def plan(self, wrapped: Wrapped) -> WrapPlan | None:
        """What becomes of the constructor call that makes `wrapped`."""
        return self.wraps.get(wrapped.site) if wrapped.site is not None else None

    def models(self, wraps: Iterable[Wrapped]) -> frozenset[str]:
        """The names of the units of migration that `wraps` stand for."""
        return frozenset(unit_name(w.site) for w in wraps if w.site is not None)


def unit_name(site: Site) -> str:
    """The name of the unit of migration around a wrap site."""
    return f"{site.module}:{site.line}:{site.col}"
