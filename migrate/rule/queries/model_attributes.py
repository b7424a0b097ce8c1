"""What FSDP1 kept on a model for others to read, and where the same value comes from now."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import bindings, definition, scope_of
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.modules import DDP
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Const,
    Instance,
    Result,
    Symbol,
    Value,
    Wrapped,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.findings.code import Kept, Literal, Part, call, code, qualified
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.queries.running import runs
from fsdp_migrate.rule.queries.values import library_name, literals, models
from fsdp_migrate.syntax.fsdp1_members import UNWRAPPED
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes

DISTRIBUTED = "torch.distributed"
GET_RANK = qualified(f"{DISTRIBUTED}.get_rank")
GET_WORLD_SIZE = qualified(f"{DISTRIBUTED}.get_world_size")
WORLD = qualified(f"{DISTRIBUTED}.group.WORLD")
DEFAULT_GROUP = frozenset({f"{DISTRIBUTED}.group.WORLD", f"{DISTRIBUTED}.GroupMember.WORLD"})
DESTROY = Symbol(f"{DISTRIBUTED}.destroy_process_group")
DEVICE = qualified("torch.device")
CURRENT_DEVICE = qualified("torch.cuda.current_device")
# What FSDP1's constructor takes where it is not given the argument.
FLAGS = {"forward_prefetch": False, "limit_all_gathers": True}
FIELDS = {
    "mixed_precision": (f"{ROOT}.MixedPrecision", ("param_dtype", "reduce_dtype", "buffer_dtype")),
    "cpu_offload": (f"{ROOT}.CPUOffload", ("offload_params",)),
}
ASKING = frozenset({"builtins.getattr", "builtins.hasattr", "builtins.setattr"})
OF_DDP = frozenset({"mixed_precision", "process_group"})
FIELD_DEFAULTS: Mapping[str, bool | None] = {"offload_params": False}
# What to take instead, where the value can't be had.
ADVICE = {
    "rank": "use `torch.distributed.get_rank()`, with the group that the model is sharded over",
    "world_size": (
        "use `torch.distributed.get_world_size()`, with the group that the model is sharded over"
    ),
    "process_group": "use the group, or the mesh, that the model is sharded over",
    "compute_device": "use the device that the model's mesh is on",
    "sharding_strategy": (
        "keep what you gave to the constructor in a variable of your own (on one rank FSDP1 "
        "made it NO_SHARD)"
    ),
    "mixed_precision": "keep what you gave to the constructor in a variable of your own",
    "cpu_offload": "keep what you gave to the constructor in a variable of your own",
    "backward_prefetch": "FSDP2 has no such setting",
    "forward_prefetch": "see `set_modules_to_forward_prefetch`",
    "limit_all_gathers": "FSDP2 has no such setting",
    "params": "use `model.parameters()`: they are DTensors, and not flat",
}


@dataclass(frozen=True)
class Group:
    """The ranks that a model is sharded over: the default group, one of the program, or a mesh."""

    group: Part | None = None
    mesh: Part | None = None
    dim: int = 0

    @property
    def values(self) -> Mapping[str, Part]:
        """The group itself, this process's rank in it, and its size."""
        if self.mesh is not None:
            holes = {"mesh": self.mesh, "dim": Literal(self.dim)}
            return {
                "process_group": code("{mesh}.get_group({dim})", **holes),
                "rank": code("{mesh}.get_local_rank({dim})", **holes),
                "world_size": code("{mesh}.size({dim})", **holes),
            }
        given = () if self.group is None else (self.group,)
        return {
            "process_group": WORLD if self.group is None else self.group,
            "rank": call(GET_RANK, *given),
            "world_size": call(GET_WORLD_SIZE, *given),
        }


def value_now(
    facts: Facts, module: Module, at: ast.AST, wraps: frozenset[Wrapped], path: tuple[str, ...]
) -> Part | None:
    """Where the value of an attribute (or of a field of it) of the models comes from now.

    `at` is the place that reads it; None if that isn't the same for all models, or not known.
    """
    found = _facts_of(facts, wraps)
    if not found:
        return None
    answers = {_value(facts, module, at, fact, path) for fact in found}
    return answers.pop() if len(answers) == 1 else None


def _facts_of(facts: Facts, wraps: Iterable[Wrapped]) -> list[WrapFact]:
    """The constructor calls of the models; any of the program where an annotation says no more."""
    known = facts.analysis.wraps
    sites = {wrapped.site for wrapped in wraps}
    return [fact for site, fact in known.items() if site in sites or None in sites]


def _value(
    facts: Facts, module: Module, at: ast.AST, fact: WrapFact, path: tuple[str, ...]
) -> Part | None:
    name, *fields = path
    if name in ("rank", "world_size", "process_group"):
        group = None if fields else group_of(facts, module, at, fact)
        return group.values[name] if group is not None else None
    if name == "compute_device":
        plan = facts.wraps.get(fact.site)
        return None if fields or plan is None else DEVICES.get(plan.device_type)
    if name in FLAGS:
        return None if fields else _flag(fact, name)
    if name in FIELDS and len(fields) == 1:
        return _field(facts, fact, name, fields[0])
    return None


DEVICES: Mapping[str, Part] = {
    "cuda": call(DEVICE, Literal("cuda"), call(CURRENT_DEVICE)),
    "cpu": call(DEVICE, Literal("cpu")),
}


# ---------------------------------------------------------------------- the ranks
def group_of(facts: Facts, module: Module, at: ast.AST, fact: WrapFact) -> Group | None:
    """The ranks that the model made by a call is sharded over, as `at` can name them."""
    plan = facts.wraps.get(fact.site)
    if fact.opaque or plan is None or not plan.members:
        return None
    hybrid = plan.members <= HYBRID
    if plan.members & HYBRID and not hybrid:
        return None
    mesh, group = _given(fact, "device_mesh"), _given(fact, "process_group")
    if mesh is not None:
        named = _named(module, at, fact, "device_mesh")
        return Group(mesh=named, dim=int(hybrid)) if named is not None else None
    if hybrid:
        return None
    if group is None:
        return Group()
    named = _named(module, at, fact, "process_group")
    return Group(group=named) if named is not None else None


def _given(fact: WrapFact, name: str) -> Value | None:
    """What is given for an argument, where it is not what it would be without it."""
    argument = fact.arguments.get(name)
    if argument is None or all(
        atom in NONE or (isinstance(atom, Symbol) and atom.name in DEFAULT_GROUP)
        for atom in argument.value
    ):
        return None if argument is None or argument.value else argument.value
    return argument.value


def _named(module: Module, at: ast.AST, fact: WrapFact, name: str) -> Part | None:
    """The variable that an argument is, if it is the same variable at another place."""
    argument = fact.arguments[name]
    node = argument.node
    if fact.module is not module or not isinstance(node, ast.Name) or argument.value & NONE:
        return None
    scope = scope_of(module, node)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
    seen = next(
        (s for s in module.ancestors(at) if isinstance(s, kinds) and any(bindings(s, node.id))),
        None,
    )
    if scope is None or seen is not scope or len(list(bindings(scope, node.id))) != 1:
        return None
    return Kept(module.span(node))


def ends_distributed(facts: Facts, module: Module, at: ast.AST) -> bool:
    """Whether the process group may be gone where `at` runs: nobody can be asked for the rank."""
    todo, seen = [(module, at)], set[ast.AST]()
    while todo:
        home, place = todo.pop()
        scope = home.scope(place)
        if any(
            _destroys(facts, node) and _is_above(home, node, place) for node in own_nodes(scope)
        ):
            return True
        if scope not in seen:
            seen.add(scope)
            todo += runs(facts, home, scope)
    return False


def _destroys(facts: Facts, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and DESTROY in facts.value(node.func)


def _is_above(module: Module, node: ast.AST, place: ast.AST) -> bool:
    return module.span(node).line < module.span(place).line


# ---------------------------------------------------------------------- settings
def _flag(fact: WrapFact, name: str) -> Part | None:
    """A flag of the constructor, where it is one literal."""
    argument = fact.arguments.get(name)
    if argument is None:
        return None if fact.opaque else Literal(FLAGS[name])
    known = literals(argument.value)
    return Literal(known[0]) if known in ([True], [False]) else None  # type: ignore[arg-type]


def _field(facts: Facts, fact: WrapFact, name: str, field: str) -> Part | None:
    """A field of the object that an argument is, where that is written out."""
    cls, fields = FIELDS[name]
    if field not in fields or fact.opaque:
        return None
    argument = fact.arguments.get(name)
    value = argument.value if argument is not None else NONE
    answers = {_field_of(facts, atom, cls, fields.index(field), field) for atom in value}
    return answers.pop() if len(answers) == 1 else None


def _field_of(facts: Facts, atom: object, cls: str, index: int, field: str) -> Part | None:
    default = Literal(FIELD_DEFAULTS.get(field))
    if atom in NONE:
        return default
    if not isinstance(atom, Result) or atom.symbol != cls:
        return None
    args, kwargs = facts.analysis.calls.get(atom.site, ([], {}))
    if field not in kwargs and len(args) <= index:
        return default
    given = kwargs[field] if field in kwargs else args[index]
    known = literals(given)
    if known in ([None], [True], [False]):
        return Literal(known[0])  # type: ignore[arg-type]
    (one,) = given if len(given) == 1 else (None,)
    return qualified(one.name) if isinstance(one, Symbol) else None


# ---------------------------------------------------------------------- whom it is asked of
def may_have(facts: Facts, atom: Atom, name: str) -> bool:
    """Whether what is no FSDP model may have an attribute of that name."""
    if isinstance(atom, Const):
        return False
    if isinstance(atom, Result) and atom.symbol.startswith("torch.nn."):
        return atom.symbol == DDP and name in OF_DDP
    if not isinstance(atom, Instance):
        return True
    analysis = facts.analysis
    family = [*analysis.lineage(atom.cls), *analysis.descendants(atom.cls)]
    if any(analysis.method(site, name) or analysis.method(site, "__getattr__") for site in family):
        return True
    return (
        not analysis.is_module(atom)
        or bool(analysis.library_bases(atom.cls) - {"torch.nn.Module"})
        or any(analysis.heap.read("field", site, key) for site in family for key in (name, ANY))
        or any(analysis.heap.read("class", site, name) for site in family)
    )


def is_of_inner(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is the module that a model wraps, which has attributes of its own."""
    if isinstance(node, ast.Name):
        found = definition(module, node)
        if found is None or isinstance(found.value, ast.Name):
            return False
        node = found.value
    return (
        isinstance(node, ast.Attribute)
        and node.attr in UNWRAPPED
        and bool(models(facts.value(node.value)))
    )


def is_repeatable(node: ast.expr) -> bool:
    """Whether evaluating `node` once more, or not at all, does nothing but read."""
    kinds = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.expr_context)
    return all(isinstance(inner, kinds) for inner in nodes_in(node))


def own_attributes(facts: Facts, value: Value, name: str) -> frozenset[Atom]:
    """Those of the other things that `value` can be which may have the attribute themselves."""
    return frozenset(atom for atom in value if may_have(facts, atom, name))


@dataclass(frozen=True, eq=False)
class AskedByName:
    """A call that asks a model for an attribute by a string: `getattr(model, "rank")`."""

    module: Module
    call: ast.Call
    function: str
    name: str
    is_only_name: bool  # and not one of several
    wraps: frozenset[Wrapped]
    others: frozenset[Atom]  # what else may be asked, and may have the attribute


def asked_by_name(facts: Facts, names: Collection[str]) -> Iterator[AskedByName]:
    """The calls that ask models for one of `names`."""
    for module, asking in calls(facts):
        function = library_name(facts.value(asking.func))
        if function not in ASKING or len(asking.args) < 2:
            continue
        value, word = facts.value(asking.args[0]), facts.value(asking.args[1])
        found = models(value)
        if not found or is_of_inner(facts, module, asking.args[0]):
            continue
        for name in names:
            if Const.of(name) in word:
                others = own_attributes(facts, value - found, name)
                is_only = len(word) == 1 and is_repeatable(asking.args[0])
                yield AskedByName(module, asking, short(function), name, is_only, found, others)
