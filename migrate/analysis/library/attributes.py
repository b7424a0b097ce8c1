"""What an attribute of an object is: fields and methods of the program, names of libraries."""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.analysis.functions import bound_method
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.inherited import family
from fsdp_migrate.analysis.library.fsdp1 import FSDP_METHODS, inner_of
from fsdp_migrate.analysis.library.modules import (
    ATTRIBUTES,
    DDP,
    LOADERS,
    PARAMETERS,
    SUBMODULES,
    is_torch_module,
)
from fsdp_migrate.analysis.library.namespaces import is_namespace, stored
from fsdp_migrate.analysis.library.optimizers import GROUPS_AND_STATE, of_optimizer
from fsdp_migrate.analysis.library.parameter_dicts import DICT, PRIVATE
from fsdp_migrate.analysis.library.tensors import is_gradient, tensor_attribute
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.scopes import global_name
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Atom,
    Bound,
    Cls,
    Const,
    Func,
    Instance,
    Method,
    ModuleRef,
    Params,
    Partial,
    Result,
    Super,
    Symbol,
    Tensor,
    Unknown,
    Value,
    Wrapped,
    join,
    ordered,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_members import MODULE, UNWRAPPED
from fsdp_migrate.syntax.fsdp1_names import canonical
from fsdp_migrate.syntax.span import Site

IGNORED = ("ignored_modules", "ignored_states", "ignored_parameters")
WEIGHTS = frozenset({"bias", "weight"})  # parameters of PyTorch's layers
MODULE_DICT = "torch.nn.ModuleDict"  # its items are its attributes as well, but for these
OF_DICTS = frozenset({*dir(dict), *MODULE})


def attribute(machine: Machine, atom: Atom, attr: str) -> Value:
    """The attribute `attr` of `atom`."""
    if attr == PRIVATE and (_is_module(machine, atom) or isinstance(atom, Unknown | Method)):
        held: Value = frozenset({Params(atom, DICT)})
        return held | {atom} if isinstance(atom, Unknown) else held
    match atom:
        case Symbol():
            return frozenset({Symbol(canonical(f"{atom.name}.{attr}"))})
        case ModuleRef():
            return global_name(machine, atom.module, attr)
        case Unknown():
            own = [Method(atom, attr)] if attr in PARAMETERS else []
            return frozenset({atom, *own, *_of_possible_models(atom, attr)})
        case Instance():
            return of_instance(machine, atom, attr)
        case Cls():
            return _of_class(machine, atom, attr)
        case Super():
            return _of_super(machine, atom, attr)
        case Wrapped():
            return _of_model(machine, atom, attr)
        case Result():
            return _of_result(machine, atom, attr)
        case Params() | Tensor():
            return tensor_attribute(atom, attr)
        case Method() if atom.name == ATTRIBUTES:
            return frozenset({Method(atom, attr)})
        case Method() if is_gradient(atom):
            return tensor_attribute(atom, attr)
        case Method() if atom.name in SUBMODULES:
            return _of_submodule(atom, attr)
        case Method(receiver=Wrapped()) if attr in WEIGHTS:
            return frozenset({Params(atom.receiver, "one")})
        case Method(receiver=Wrapped() | Result()) if attr in PARAMETERS:  # of a part of a model
            return frozenset({Method(atom, attr)})
        case Bound() | Func() | Partial() | Method():
            return unknown(f"attribute `{attr}` of a function")
        case _:
            return frozenset({Method(atom, attr)})


def _of_submodule(atom: Method, attr: str) -> Value:
    """An attribute of any of the modules in another, whose every one is unknown as well."""
    if attr in WEIGHTS:
        return frozenset({Params(atom, "one")})
    return frozenset({Method(atom, attr)}) if attr in PARAMETERS else unknown("part of a submodule")


def _is_module(machine: Machine, atom: Atom) -> bool:
    if isinstance(atom, Result):
        return is_torch_module(atom.symbol)
    return isinstance(atom, Wrapped) or (
        isinstance(atom, Instance) and machine.classes.is_module(atom)
    )


def _of_possible_models(atom: Unknown, attr: str) -> Iterable[Atom]:
    """What has parameters may be one of the models that it may be."""
    return (Method(Wrapped(site), attr) for site in atom.models if attr in PARAMETERS)


def of_instance(
    machine: Machine, atom: Instance, attr: str, method: FunctionInfo | None = None
) -> Value:
    """The attribute `attr` of an object, which is the `self` of `method` if that is given."""
    heap, classes = machine.heap, machine.classes
    if attr == ATTRIBUTES:
        return frozenset({Method(atom, attr)})
    found: list[Value] = []
    kinds = family(classes, atom.cls, method)
    for site in kinds:
        found.append(heap.read("field", site, attr))
        # Nobody sets those by a name that is computed; and a property can't be hidden.
        if attr not in OF_DICTS and not _is_property(machine, atom.cls, attr):
            of_any_name = heap.read("field", site, ANY)
            if attr in WEIGHTS or classes.method(atom.cls, attr) is not None:
                of_any_name = frozenset(a for a in of_any_name if not _is_module(machine, a))
            found.append(of_any_name)
    named = classes.method(atom.cls, attr)
    if named is not None:
        found.append(_taken_from(machine, atom, heap.read("decorated", named) or {Func(named)}))
    binds = not _is_annotated(machine, atom.cls, attr)
    found.append(_taken_from(machine, atom, _class_level(machine, atom.cls, attr), binds))
    value = join(*found)
    if value:
        return value
    bases = classes.library_bases(atom.cls)
    other = classes.method(atom.cls, "__getattr__")
    if other is not None:
        given = machine.call(Bound(Func(other), atom), Passed([frozenset({Const.of(attr)})]))
        return given - NONE or unknown(f"`{attr}` may come from `__getattr__`")
    if bases or any(isinstance(b, Unknown) for site in kinds for b in classes.bases(site)):
        return frozenset({Method(atom, attr)})
    return machine.solver.lacking(atom.cls, attr)


def _is_property(machine: Machine, cls: Site, attr: str) -> bool:
    method = machine.classes.method(cls, attr)
    return method is not None and "property" in machine.program.functions[method].decorators


def _is_annotated(machine: Machine, cls: Site, attr: str) -> bool:
    """Whether the body of a class declares `attr`: what a dataclass has there, its objects get."""
    classes = machine.program.classes
    return any(attr in classes[site].field_order for site in machine.classes.lineage(cls))


def _taken_from(
    machine: Machine, receiver: Instance, level: Iterable[Atom], binds: bool = True
) -> Value:
    """What is in a class, taken from an object of it: functions are bound, descriptors asked."""
    found: list[Value] = []
    for atom in level:
        get = machine.classes.method(atom.cls, "__get__") if isinstance(atom, Instance) else None
        if get is not None:
            passed = Passed([frozenset({receiver}), frozenset({Cls(receiver.cls)})])
            found.append(machine.call(Bound(Func(get), atom), passed))
        elif isinstance(atom, Func) and binds:
            found.append(bound_method(machine, atom, receiver))
        else:
            found.append(frozenset({atom}))
    return join(*found)


def _class_level(machine: Machine, cls: Site, attr: str) -> Value:
    """What the body of a class or of its bases assigns to `attr`, the nearest one."""
    for site in machine.classes.lineage(cls):
        level = machine.heap.read("class", site, attr)
        if level:
            return level
    return NOTHING


def _of_class(machine: Machine, atom: Cls, attr: str) -> Value:
    classes = machine.classes
    method = classes.method(atom.site, attr)
    if method is not None:
        if "classmethod" in machine.program.functions[method].decorators:
            return frozenset({Bound(Func(method), atom)})
        return frozenset({Func(method)})
    level = _class_level(machine, atom.site, attr)
    bases = sorted(classes.library_bases(atom.site))
    if level or not bases:
        return level
    if attr in LOADERS and classes.is_module(Instance(atom.site)):
        return frozenset({Method(atom, attr)})
    return frozenset({Symbol(canonical(f"{bases[0]}.{attr}"))})


def _of_super(machine: Machine, atom: Super, attr: str) -> Value:
    classes = machine.classes
    lineage = classes.lineage(atom.receiver.cls) if isinstance(atom.receiver, Instance) else []
    rest = lineage[lineage.index(atom.cls) + 1 :] if atom.cls in lineage else []
    for site in rest or classes.lineage(atom.cls)[1:]:
        method = machine.program.classes[site].methods.get(attr)
        if method is not None:
            return bound_method(machine, Func(method), atom.receiver)
    return frozenset({Method(atom, attr)})


def _of_model(machine: Machine, atom: Wrapped, attr: str) -> Value:
    """An FSDP model forwards what it doesn't define itself to the module that it wraps."""
    inner = inner_of(machine, atom)
    if attr in UNWRAPPED:
        return frozenset({atom}) | frozenset(i for i in inner if isinstance(i, Instance))
    if attr in FSDP_METHODS:
        return frozenset({Method(atom, attr)})
    objects = [i for i in ordered(inner) if isinstance(i, Instance | Wrapped)]
    found = join(*(attribute(machine, i, attr) for i in objects))
    layers = [i for i in inner if isinstance(i, Result) and is_torch_module(i.symbol)]
    is_own = (attr in WEIGHTS and layers and not found) or any(map(_is_parameter, found))
    if is_own and not _ignores(machine, atom):
        found |= {Params(atom, "one")}
    return found or frozenset({Method(atom, attr)})


def _ignores(machine: Machine, model: Wrapped) -> bool:
    """Whether some of a model's parameters may not be sharded."""
    fact = machine.record.wraps.get(model.site) if model.site is not None else None
    return fact is None or fact.opaque or any(name in fact.arguments for name in IGNORED)


def _is_parameter(atom: Atom) -> bool:
    return isinstance(atom, Result) and atom.symbol == "torch.nn.Parameter"


def _of_result(machine: Machine, atom: Result, attr: str) -> Value:
    """What was stored on an object of a library, or a method of it."""
    if atom.symbol == DDP and attr == "module":
        args, kwargs = machine.record.calls.get(atom.site, ([], {}))
        return args[0] if args else kwargs.get("module", NOTHING)
    if attr == ATTRIBUTES and is_namespace(atom):
        return frozenset({Method(atom, attr)})
    found = stored(machine, atom, attr)
    if attr in GROUPS_AND_STATE and not found:
        found = of_optimizer(machine, atom, attr)
    if attr in WEIGHTS and not found and is_torch_module(atom.symbol):
        return frozenset({Params(atom, "one")})
    if atom.symbol == MODULE_DICT and not attr.startswith("_") and attr not in OF_DICTS:
        found = join(found, machine.heap.read("item", atom.site, ANY))
    return found or frozenset({Method(atom, attr)})
