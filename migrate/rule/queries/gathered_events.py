"""What a program does to the weights of FSDP models: gathers them, puts them away, reads them.

A forward pass of an FSDP2 model leaves the root's parameters gathered, as plain tensors, until a
backward pass or `reshard()`.  What may read parameters counts as if it did.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from fsdp_migrate.analysis.library.modules import (
    PARAMETERS,
    RETURN_SELF,
    is_torch_module,
)
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Container,
    Func,
    Instance,
    Method,
    Params,
    Partial,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
)
from fsdp_migrate.lowering.model_parts import LOADERS
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.asked_alike import asked_alike
from fsdp_migrate.rule.queries.optimized import models_optimized_by
from fsdp_migrate.rule.queries.parameter_use import gathers
from fsdp_migrate.rule.queries.summon_forms import native_summons
from fsdp_migrate.rule.uses import held
from fsdp_migrate.syntax.fsdp1_names import is_fsdp1, short

DSD = "torch.distributed.checkpoint.state_dict"
# Functions that put the weights away before they look at them; FSDP1's own go through the shim,
# which does.
RESHARDING = frozenset({f"{DSD}.get_model_state_dict", f"{DSD}.get_state_dict"})
# Methods of a model that look at no parameter.
QUIET_METHODS = frozenset(
    {
        "add_module", "buffers", "check_is_root", "children", "compile", "eval", "extra_repr",
        "fsdp_modules", "get_buffer", "get_state_dict_type", "get_submodule",
        "gradient_checkpointing_enable", "modules", "named_buffers", "named_children",
        "named_modules", "no_sync", "register_buffer", "register_comm_hook",
        "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
        "set_state_dict_type", "set_submodule", "state_dict_type", "train",
    }
)  # fmt: skip
QUIET_FUNCTIONS = frozenset(
    {
        "builtins.callable", "builtins.getattr", "builtins.hasattr", "builtins.id",
        "builtins.isinstance", "builtins.len", "builtins.print", "builtins.repr", "builtins.str",
        "builtins.super", "builtins.type", "torch.compile", "typing.cast",
    }
)  # fmt: skip
RESHARDING_METHODS = frozenset(
    {
        "full_optim_state_dict", "optim_state_dict", "reshard",
        "scatter_full_optim_state_dict", "sharded_optim_state_dict", "state_dict",
        "summon_full_params",
    }
)  # fmt: skip
# Methods of every module that look at its parameters, and compute nothing with them.
OF_PARAMETERS = frozenset(
    {
        "clip_grad_norm_", "get_parameter", "load_state_dict", "reset_parameters", "state_dict",
        "tie_weights", "zero_grad",
        *PARAMETERS, *(RETURN_SELF - QUIET_METHODS),
    }
)  # fmt: skip
# Those that modules alone have.
ASKED = frozenset({"get_parameter", "load_state_dict", "zero_grad", *PARAMETERS})
WEIGHTS = frozenset({"_parameters", "bias", "weight"})
# FSDP1's functions after which parameters are looked at.
READING = (".optim_state_dict_to_load", "._get_fsdp_handles")
TENSORS = frozenset({"data", "detach"})


class Kind(Enum):
    """What happens to the weights."""

    FORWARD = "they are gathered"
    PERHAPS_FORWARD = "they may be gathered, by code that isn't followed"
    BACKWARD = "they are put away, of every model that takes part"
    RESHARD = "they are put away"
    READ = "they are read"
    WRITE = "other values are written into the shards"


@dataclass(frozen=True)
class Event:
    """One thing that evaluating an expression does."""

    kind: Kind
    models: frozenset[Wrapped]
    node: ast.expr


class Events:
    """Tells what the expressions of a program do to weights."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._known: dict[ast.expr, tuple[Event, ...]] = {}
        self._models: dict[Value, frozenset[Wrapped]] = {}

    def of(self, node: ast.expr) -> tuple[Event, ...]:
        """What evaluating `node` itself does, the expressions in it apart."""
        if node not in self._known:
            found: Iterator[Event] = iter(())
            if isinstance(node, ast.Call):
                found = self._call(node)
            elif isinstance(node, ast.Attribute):
                found = self._attribute(node)
            self._known[node] = tuple(found)
        return self._known[node]

    # ------------------------------------------------------------------ models and their parts
    @cached_property
    def _whole(self) -> dict[Atom, frozenset[Wrapped]]:
        """The modules that are wrapped, which are the models themselves after the migration."""
        found: dict[Atom, frozenset[Wrapped]] = {}
        for site, fact in self.facts.analysis.wraps.items():
            for atom in fact.inner:
                if isinstance(atom, Instance | Result):
                    found[atom] = found.get(atom, frozenset()) | {Wrapped(site)}
        return found

    @cached_property
    def _part(self) -> dict[Atom, frozenset[Wrapped]]:
        """The modules and containers inside of what is wrapped."""
        found: dict[Atom, frozenset[Wrapped]] = {}
        for site, fact in self.facts.analysis.wraps.items():
            seen: set[Atom] = set()
            todo = list(fact.inner)
            while todo:
                for atom in self.facts.analysis.parts(todo.pop()):
                    if atom not in seen and self._may_be_module(atom):
                        seen.add(atom)
                        todo.append(atom)
            for atom in seen:
                found[atom] = found.get(atom, frozenset()) | {Wrapped(site)}
        return found

    def whole(self, value: Value) -> frozenset[Wrapped]:
        """The FSDP models that `value` can be, or hold inside of a plain module."""
        known = self._models.get(value)
        if known is None:
            known = self._models[value] = self._whole_of(value)
        return known

    def _whole_of(self, value: Value) -> frozenset[Wrapped]:
        found = self.itself(value)
        modules = frozenset(a for a in value if self.facts.analysis.is_module(a))
        return found | (held(self.facts.analysis, modules) if modules else frozenset())

    def itself(self, value: Value) -> frozenset[Wrapped]:
        """The FSDP models that `value` can be.

        A module that several wraps may be given, by one factory, stands for the model at hand.
        """
        found = frozenset(atom for atom in value if isinstance(atom, Wrapped))
        owners = (self._whole.get(atom, frozenset()) for atom in value)
        return found.union(*(wraps for wraps in owners if not wraps & found))

    def perhaps(self, value: Value) -> frozenset[Wrapped]:
        """The FSDP models that have come to where nobody knows what `value` is."""
        unknown = [atom for atom in value if isinstance(atom, Unknown)]
        if len(unknown) < len(value):
            return frozenset()
        return frozenset(Wrapped(site) for atom in unknown for site in atom.models)

    def part(self, value: Value) -> frozenset[Wrapped]:
        """The FSDP models that `value` can be a part of."""
        found: set[Wrapped] = set()
        for atom in value:
            if isinstance(atom, Method):  # `model.modules()`, `model.head` of a library's class
                while isinstance(atom, Method):
                    atom = atom.receiver
                found |= self.whole(frozenset({atom}))
            found |= self._part.get(atom, frozenset())
        return frozenset(found)

    def made_by(self, node: ast.Call) -> frozenset[Wrapped]:
        """The FSDP models whose modules `node` makes, which are not wrapped yet."""
        found: set[Wrapped] = set()
        for atom in self.facts.value(node.func):
            if isinstance(atom, Cls):
                found |= self._whole.get(Instance(atom.site), frozenset())
        for site, fact in self.facts.analysis.wraps.items():
            if any(isinstance(a, Result) and self._is_at(a, node) for a in fact.inner):
                found.add(Wrapped(site))
        return frozenset(found)

    def _is_at(self, made: Result, node: ast.Call) -> bool:
        return self.facts.analysis.call_nodes.get(made.site) is node

    def _may_be_module(self, atom: Atom) -> bool:
        """Whether what a module holds may be one, or a list of some."""
        if isinstance(atom, Result):
            name = atom.symbol
            own = is_torch_module(name) or name.startswith(LOADERS)
            return own or not name.startswith(("torch.", "builtin"))
        return isinstance(atom, Container) or self.facts.analysis.is_module(atom)

    def any_of(self, value: Value) -> frozenset[Wrapped]:
        """The FSDP models that `value` can be, hold, or be a part of."""
        return self.whole(value) | self.part(value)

    # ------------------------------------------------------------------ calls
    def _call(self, node: ast.Call) -> Iterator[Event]:
        called = self.facts.value(node.func)
        if node in native_summons(self.facts):  # what is done inside tells
            return
        if _runs_backward(node.func) and not self.is_followed(called):
            yield Event(Kind.BACKWARD, frozenset(), node)
            return
        run = self._run_as_models(node.func, called)
        if run:
            yield Event(Kind.FORWARD, run, node)
            return
        if node in self._constructors:
            yield Event(Kind.RESHARD, frozenset({self._constructors[node]}), node)
            return
        if isinstance(node.func, ast.Attribute):
            yield from self._method(node, node.func, called)
            written = self._written(node.func)
            if written:
                yield Event(Kind.WRITE, written, node)
        if not self.is_followed(called):
            yield from self._given(node, called)

    def _run_as_models(self, func: ast.expr, called: Value) -> frozenset[Wrapped]:
        """The models that are run; a method of what isn't known is none."""
        run = self.whole(frozenset(a for a in called if not isinstance(a, Symbol)))
        of_unknown = isinstance(func, ast.Attribute) and self.perhaps(self.facts.value(func.value))
        return run or (self.perhaps(called) if not of_unknown else frozenset())

    @cached_property
    def _constructors(self) -> dict[ast.Call, Wrapped]:
        """The calls that wrap a model, whose parameters are sharded from there on."""
        return {fact.node: Wrapped(site) for site, fact in self.facts.analysis.wraps.items()}

    def wrapped_by(self, node: ast.expr) -> Wrapped | None:
        """The model that `node` wraps, if it does."""
        return self._constructors.get(node) if isinstance(node, ast.Call) else None

    def _method(self, node: ast.Call, func: ast.Attribute, called: Value) -> Iterator[Event]:
        """A method of a model, or of a part of one."""
        owner = self.facts.value(func.value)
        whole = self.whole(owner)
        models = whole or self.part(owner) or self._named(node, func)
        if not models and func.attr in ASKED:
            models = self.perhaps(owner)
        if not models:
            return
        if func.attr == "forward" or (whole and gathers(self.facts, func)):
            yield Event(Kind.FORWARD, models, node)
        elif whole and func.attr in RESHARDING_METHODS:
            yield Event(Kind.RESHARD, models, node)
        elif func.attr in OF_PARAMETERS:
            if node not in self._asked_alike:
                yield Event(Kind.READ, models, node)
        elif (
            whole
            and func.attr not in QUIET_METHODS
            and all(isinstance(atom, Method | Unknown) for atom in called)
        ):
            yield Event(Kind.READ, models, node)
            yield Event(Kind.PERHAPS_FORWARD, models, node)

    def _named(self, call: ast.Call, func: ast.Attribute) -> frozenset[Wrapped]:
        """The models that what is asked for its parameters may be inside of, by its name."""
        if func.attr not in OF_PARAMETERS:
            return frozenset()
        module = self.facts.analysis.call_graph.module_of(call)
        return self.facts.sharded.inside(module, func)

    def _written(self, func: ast.Attribute) -> frozenset[Wrapped]:
        """The models whose parameters `optimizer.step` or `p.copy_` writes."""
        if func.attr == "step":
            return models_optimized_by(self.facts, func.value)
        if func.attr.endswith("_") and not func.attr.startswith(("_", "requires_grad")):
            return self._of_parameters(self.facts.value(func.value))
        return frozenset()

    def _of_parameters(self, value: Value) -> frozenset[Wrapped]:
        """The models of which `value` can be a parameter, or its data."""
        found: set[Wrapped] = set()
        for atom in value:
            if isinstance(atom, Method) and atom.name in TENSORS:
                atom = atom.receiver
            if isinstance(atom, Params):
                found |= self.any_of(frozenset({atom.owner}))
                found |= self._unknown.get(atom.owner, frozenset())
                found |= self.facts.sharded.named(atom)
        return frozenset(found)

    @cached_property
    def _unknown(self) -> dict[Atom, frozenset[Wrapped]]:
        """What is wrapped without anybody knowing what it is."""
        found: dict[Atom, frozenset[Wrapped]] = {}
        for site, fact in self.facts.analysis.wraps.items():
            for atom in fact.inner:
                if isinstance(atom, Unknown):
                    found[atom] = found.get(atom, frozenset()) | {Wrapped(site)}
        return found

    def _given(self, node: ast.Call, called: Value) -> Iterator[Event]:
        """A function that isn't followed, and is given models."""
        names = {atom.name for atom in called if isinstance(atom, Symbol)}
        known = bool(names) and len(names) == len(called)
        if known and all(map(_is_quiet, names)):
            return
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        values = [self.facts.value(a.value if isinstance(a, ast.Starred) else a) for a in arguments]
        models = frozenset().union(*map(self.whole, values))
        loads = any(name.endswith(READING) for name in names)
        if known and models and loads:  # DCP's function looks for sharded parameters
            yield Event(Kind.READ, models, node)
        elif known and models and (names & RESHARDING or all(map(is_fsdp1, names))):
            yield Event(Kind.RESHARD, models, node)
        elif models:
            yield Event(Kind.READ, models, node)
            yield Event(Kind.PERHAPS_FORWARD, models, node)

    def is_followed(self, called: Value) -> bool:
        """Whether all that can be called is of the program, so that its own body tells."""
        return bool(called) and all(
            isinstance(a, Func | Bound | Cls | Partial) or self._calls_own(a) for a in called
        )

    def _calls_own(self, atom: Atom) -> bool:
        """Whether it is an object whose class has a `__call__` of the program's."""
        analysis = self.facts.analysis
        return (
            isinstance(atom, Instance)
            and not analysis.is_module(atom)
            and analysis.method(atom.cls, "__call__") is not None
        )

    # ------------------------------------------------------------------ attributes
    @cached_property
    def _asked_alike(self) -> frozenset[ast.AST]:
        return asked_alike(self.facts)

    def _attribute(self, node: ast.Attribute) -> Iterator[Event]:
        value = self.facts.value(node)
        owner = self.facts.value(node.value)
        if not isinstance(node.ctx, ast.Load):
            written = self._of_parameters(owner) if node.attr == "data" else frozenset()
            if written:
                yield Event(Kind.WRITE, written, node)
            return
        is_weight = node.attr in WEIGHTS or any(
            isinstance(a, Result) and a.symbol == "torch.nn.Parameter" for a in value
        )
        of_object = is_weight and not any(isinstance(a, Params) for a in owner)
        if of_object and node not in self._asked_alike:
            models = self.any_of(owner)
            if models:
                yield Event(Kind.READ, models, node)


def _is_quiet(name: str) -> bool:
    """Whether a library's function looks at no parameter of what it is given, nor moves any."""
    if name in QUIET_FUNCTIONS or is_torch_module(name):
        return True
    return is_fsdp1(name) and short(name) in QUIET_METHODS


def _runs_backward(func: ast.expr) -> bool:
    """Whether a call of `func`, in whatever library, runs a backward pass."""
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    return name == "backward" or name.endswith("_backward")
