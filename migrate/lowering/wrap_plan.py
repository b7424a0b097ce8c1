"""What becomes of one FSDP1 constructor call: made once by the lowering, read by the rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import Wrapped, constants
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import (
    Code,
    Element,
    Kept,
    Part,
    Variable,
    call,
    code,
    parts_of,
    variable,
)
from fsdp_migrate.lowering.condition import Condition
from fsdp_migrate.lowering.sharding_function import KEEP_UNSHARDED, Rows
from fsdp_migrate.syntax.span import Site, Span

MESH = variable("mesh")

# Where the call stands: alone in an assignment or a return, or inside of an expression, out of
# which the sharding may have to be hoisted, or which calls a function for it.
Shape = Literal["assign", "return", "expression", "hoisted", "function"]
# Where that function stands: at the top of the file, right above the statement that needs it, or
# in the place of the statement that gave it a name.
Standing = Literal["top", "above", "instead"]

# How attention layers are listed by size, as the function is told: as all others (""), in the units
# around them, or as the mixed precision has it, without which they are whole.
Attention = Literal["", "whole", "by_precision"]


@dataclass(frozen=True)
class Reshard:
    """Whether weights are given back after the forward pass."""

    after_forward: Part


@dataclass(frozen=True)
class Chosen:
    """A sharding strategy that the run chooses, by an expression of its label."""

    label: Part
    rows: Rows
    calls: frozenset[Site]  # the constructors that are given one of the program's
    is_value: bool = False  # the expression is one of `reshard_after_forward` itself

    @property
    def by_name(self) -> bool:
        """Whether the label is the name of the member."""
        return not self.is_value and all(label == member for label, member in self.rows.rows)


@dataclass(frozen=True)
class Mesh:
    """The device mesh: the program's own, or one that is made where the model is sharded."""

    code: Part
    is_made: bool

    @property
    def name(self) -> Part:
        """What the mesh is called once it is there."""
        return MESH if self.is_made else self.code


@dataclass(frozen=True)
class Device:
    """The device that FSDP1 was given, and that nothing else makes the current one."""

    node: ast.expr
    code: Kept
    has_number: bool  # it is one of several for certain, not just as far as only the run knows


@dataclass(frozen=True)
class Offload:
    """Where parameters live between their uses."""

    policy: Part  # `CPUOffloadPolicy()`, or an expression that chooses


@dataclass(frozen=True)
class ModelCall:
    """A call of a function that takes the model first."""

    function: Part
    more: tuple[Element, ...] = ()  # arguments below the model
    may_be_none: bool = False  # the function, which then lists nothing

    def of(self, model: Part) -> Code:
        """The call for a model."""
        made = call(self.function, model, *self.more)
        if not self.may_be_none:
            return made
        return code("{made} if {function} else []", made=made, function=self.function)


@dataclass(frozen=True)
class Ignored:
    """The parameters that are left alone."""

    parameters: Part | ModelCall


@dataclass(frozen=True)
class Precision:
    """A `mixed_precision=` argument as FSDP2 wants it."""

    policy: Part
    is_name: bool = False  # of a variable, which may be read more than once
    optional: bool = False  # it can be None
    casts: bool = True  # the policy as it is has inputs cast
    children_cast: bool = True  # units below the root cast their inputs
    own_cast: bool = True  # the unit itself does, whether it is the root or not
    buffer_dtype: Part | None = None
    buffers_as: str = ""  # the field of the policy that has their dtype
    given: Part | None = None  # the test of whether there is a precision
    given_by_dtype: bool = False  # the policy has a dtype of parameters where there is one
    node: ast.expr | None = None  # the argument, where it is passed on as it is
    child_policy: Part | None = None  # of the units below the root, if it has to be made apart
    fsdp1: Part | None = None  # the object of FSDP1, where the policies are made of it by the run
    bound: Kept | None = None  # what that is, where it is a variable of the new code
    casts_by_fsdp1: bool = False  # buffers get the dtype that it says
    saves_cast: bool = False  # persistent buffers are saved so, if the model has any
    batch_norm: bool = False  # there may be BatchNorm layers, units of their own in full precision

    @property
    def casts_buffers(self) -> bool:
        """Whether buffers get another dtype."""
        return bool(self.buffers_as) or self.casts_by_fsdp1 or self.buffer_dtype is not None


@dataclass(frozen=True)
class InitialWeights:
    """Weights and buffers that the first rank hands to the others."""

    share_buffers: bool = False  # those that are in no state dict
    empty_elsewhere: bool = False  # ranks but the first may have the model on the meta device
    test: Part | None = None  # whether they are handed out, where only the run knows
    bound: Kept | None = None  # what that is, where it is a variable of the new code
    by_unit: Part | None = None  # the function that hands out what a unit has, before it is sharded
    on_world: bool = False  # it does so between all ranks, and asks for no mesh


@dataclass(frozen=True)
class Materialized:
    """What gives a unit its memory before it is sharded: a statement on each unit."""

    made: ModelCall
    init: Part | None = None  # the function that is called with the modules
    bound: Kept | None = None  # what that is, where it is a variable of the new code


@dataclass(frozen=True)
class Units:
    """Which submodules are units of their own: those that meet a condition, or that are listed."""

    condition: Condition | None = None
    root_matches: bool = False  # it may hold for the root, which no policy makes a unit
    listed: ModelCall | None = None  # gives the units in the order of their sharding, no root
    policy: tuple[Variable, Part] | None = None  # what says it, where that is given a name first
    attention: Attention = ""


@dataclass(frozen=True)
class Function:
    """A function of the program's that shards what it is given, and returns it."""

    name: Variable
    model: Variable
    more: tuple[tuple[Variable, Part], ...]  # what else it is given, or has from where it stands
    place: ast.expr  # which calls it, or where it is meant itself
    standing: Standing = "top"
    called: bool = True  # the place becomes a call
    body: WrapPlan | None = None  # whose arguments it has, where those of several are alike


@dataclass(frozen=True)
class Parts:
    """What the arguments of a call become, each in its own terms."""

    sharding: Part | None = None  # keyword arguments: the mesh, and when weights are given back
    chosen: Chosen | None = None  # until it is known whether there is a mesh
    reshard: Reshard | None = None
    mesh: Mesh | None = None
    device: Device | None = None
    offload: Offload | None = None
    ignored: Ignored | None = None
    precision: Precision | None = None
    initial: InitialWeights | None = None
    units: Units | None = None
    materialized: Materialized | None = None
    attributes: frozenset[str] = frozenset()  # set on parameters, and to be copied to the new ones
    tied: frozenset[str] = frozenset()  # those of them that hold parameters, which nobody can copy
    comm_hook: ast.Call | None = None  # a compression hook that became a reduce_dtype
    absorbed: tuple[Definition, ...] = ()  # what may go with the call
    replaced: tuple[tuple[ast.expr, Part], ...] = ()  # what becomes of expressions elsewhere
    residues: tuple[Residue, ...] = ()
    defined: tuple[Code, ...] = ()  # functions that are written into the file


@dataclass(frozen=True)
class Residue:
    """An argument that only the run knows, made FSDP2's by a function of the runtime."""

    parameter: str
    function: str
    words: str  # why it is known only then
    origin: str = ""  # where the value comes from, between parentheses


@dataclass(frozen=True)
class Reason:
    """Why there is no native form: the parameter ("" for the call itself), and the words."""

    parameter: str
    words: str


@dataclass(frozen=True, eq=False)
class WrapPlan:
    """What becomes of one constructor call."""

    fact: WrapFact
    shape: Shape
    members: frozenset[str]  # the sharding strategies that it can have
    device_type: str
    arguments: Mapping[str, Argument]  # those of a dict that is written out with them
    parts: Parts
    reasons: tuple[Reason, ...]
    unknown: tuple[str, ...]  # arguments that FSDP1 doesn't have
    has_ignored: bool  # parameters may be left out of the sharding
    casts_buffers: bool  # FSDP1 may keep buffers in another dtype than it saves them in
    left_out: tuple[str, ...] = ()  # arguments that are off as the program is configured
    function: Function | None = None  # that the call is made of, where it needs one
    calls: tuple[WrapFact, ...] = ()  # that make models by a partial, which this is the plan of
    through: WrapPlan | None = None  # the plan of the partial by which the call makes a model

    @property
    def native(self) -> bool:
        """Whether it becomes plain `fully_shard` calls, values that only the run knows aside."""
        return not self.reasons

    def leaves(self, parameter: str) -> bool:
        """Whether an argument keeps FSDP1's value, as that of another argument or of the shim."""
        return not self.native or any(r.parameter == parameter for r in self.parts.residues)

    @property
    def reason(self) -> str:
        """The first reason why it isn't plain PyTorch as a whole."""
        words = [*(r.words for r in self.reasons), *(r.words for r in self.parts.residues)]
        return words[0] if words else ""

    @property
    def models(self) -> tuple[Wrapped, ...]:
        """The FSDP1 models that the call makes, or those that do it by the partial."""
        return tuple(Wrapped(fact.site) for fact in self.calls or (self.fact,))

    @property
    def model(self) -> ast.expr | None:
        """The module that is wrapped, where that can be seen."""
        argument = self.arguments.get("module")
        return argument.node if argument is not None else None

    @property
    def sets_device(self) -> bool:
        """Whether the device is made the current one above the model, as far as it has a number."""
        return self.parts.device is not None and self.shape != "expression"

    @property
    def keeps_unsharded(self) -> bool | None:
        """Whether weights stay gathered until the backward pass; None if only the run knows."""
        if not self.members:
            return None
        inside = self.members & KEEP_UNSHARDED
        return bool(inside) if inside in (set(), self.members) else None

    @property
    def flat_parameters(self) -> bool:
        """Whether FSDP1 may have run with `use_orig_params=False`."""
        argument = self.fact.arguments.get("use_orig_params")
        return argument is None or constants(argument.value) != [True]

    @property
    def kept(self) -> frozenset[Span]:
        """The places of what the new code keeps."""
        if self.through is not None:
            return frozenset()
        return frozenset(span for part in kept_parts(self.parts) for span in part.spans[:1])


def kept_parts(parts: Parts) -> Iterator[Kept]:
    """The expressions of the file that what arguments have become keeps."""
    for made in _codes(parts):
        yield from (part for part in parts_of(made) if isinstance(part, Kept))


def _codes(value: object) -> Iterator[Part]:
    """The pieces of code in `value`, a part of a plan."""
    if isinstance(value, Code | Kept | Variable):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _codes(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _codes(getattr(value, field.name))
