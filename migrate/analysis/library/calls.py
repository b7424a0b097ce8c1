"""What calling an object gives, and what the functions of Python and PyTorch do to values."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.functions import (
    call_function,
    call_instance,
    initialised,
    instantiate,
    loaded,
    super_of,
)
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library import concurrency, fsdp1, iteration, namespaces
from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.containers import (
    container_method,
    elements,
    has_always,
    item,
    merge_dict,
    store_item,
)
from fsdp_migrate.analysis.library.contexts import enter, inside
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.library.modules import (
    ATTRIBUTES,
    PARAMETERS,
    RETURN_SELF,
    SUBMODULES,
    is_torch_module,
)
from fsdp_migrate.analysis.library.namespaces import is_namespace
from fsdp_migrate.analysis.library.optimizers import made_by_super, set_up
from fsdp_migrate.analysis.library.parameter_dicts import kept_in_dict, of_dict
from fsdp_migrate.analysis.library.tensors import (
    OF_DTENSORS,
    is_gradient,
    is_sharded,
    tensor_function,
    tensor_method,
)
from fsdp_migrate.analysis.library.unfollowed import given, keep, unfollowed
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Bound,
    Cls,
    Container,
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
    constant,
    join,
    ordered,
    symbols,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, canonical

RESULT = "the result of a call"
UNBOUND = "torch.nn.Module."  # `nn.Module.parameters(net)`
BY_SETATTR = unknown("set by `setattr`")

models = Models({**fsdp1.models, **iteration.models, **concurrency.models, **namespaces.models})


# ---------------------------------------------------------------------- by kind of object
def call(machine: Machine, callee: Atom, passed: Passed) -> Value:
    """What calling one object gives."""
    match callee:
        case Func():
            return call_function(machine, callee, None, passed)
        case Bound():
            return call_function(machine, callee.func, callee.receiver, passed)
        case Cls():
            if machine.classes.method(callee.site, "__init__") is None:
                set_up(machine, Instance(callee.site), passed)
            return instantiate(machine, callee, passed)
        case Instance():
            return call_instance(machine, callee, passed)
        case Symbol():
            return _call_symbol(machine, callee.name, passed)
        case Partial():
            return _call_partial(machine, callee, passed)
        case Method():
            return _call_method(machine, callee, passed)
        case Wrapped():
            for inner in ordered(fsdp1.inner_of(machine, callee)):
                if isinstance(inner, Instance):
                    call_instance(machine, inner, passed)
            return unknown("the output of a model")
        case Result() if callee.symbol == namespaces.NAMED_TUPLE:
            made = namespaces.make_named_tuple(machine, callee, passed)
            return made or unfollowed(machine, RESULT, given(passed))
        case Unknown():
            return unfollowed(machine, callee.reason, [frozenset({callee}), *given(passed)])
        case _:
            return unfollowed(machine, RESULT, [frozenset({callee}), *given(passed)])


def _call_symbol(machine: Machine, name: str, passed: Passed) -> Value:
    node = passed.node
    if node is None:
        return unfollowed(machine, RESULT, given(passed))
    model = models.get(name)
    value = model(machine, node, passed) if model is not None else None
    if value is not None:
        return value
    value = tensor_function(machine, name, passed)
    if value is not None:
        return value
    if name.startswith(UNBOUND) and passed.args and name.removeprefix(UNBOUND) in PARAMETERS:
        methods = [
            attribute(machine, a, name.removeprefix(UNBOUND)) for a in ordered(passed.args[0])
        ]
        return join(*(machine.call(a, Passed(passed.args[1:])) for a in ordered(join(*methods))))
    site = machine.module.site(node)
    if is_torch_module(name):  # what it contains are the modules that it is given
        for value in given(passed):
            machine.heap.write(_modules(machine, value), "item", site, ANY)
    made = Result(name, site)
    keep(machine, made, passed)
    return frozenset({made})


def new_object(machine: Machine, passed: Passed) -> Value:
    """The object that the `__new__` of a library's class makes, of the class that it is given."""
    classes = passed.args[0] if passed.args else NOTHING
    made: Value = frozenset(Instance(a.site) for a in classes if isinstance(a, Cls))
    return made or unknown("an object of a class that isn't known")


def _modules(machine: Machine, value: Value) -> Value:
    """The modules in `value`, or in the list that it is."""
    found: set[Atom] = set()
    for atom in ordered(value):
        held = elements(machine, frozenset({atom})) if isinstance(atom, Container) else {atom}
        found |= {a for a in held if isinstance(a, Instance | Wrapped | Result)}
    return frozenset(found)


def _call_partial(machine: Machine, callee: Partial, passed: Passed) -> Value:
    args, kwargs = machine.record.calls.get(callee.site, ([], {}))
    node = passed.node
    if not args or node is None:
        return unknown("the result of a partial")
    results: list[Value] = []
    for function in ordered(args[0]):
        all_given = Passed([*args[1:], *passed.args], {**kwargs, **passed.kwargs}, node)
        results.append(fsdp1.call_back(machine, function, all_given, callee.site))
    return join(*results)


def _of_attributes(machine: Machine, receiver: Method, name: str, passed: Passed) -> Value:
    """A method of `obj.__dict__`."""
    if name == "update":
        for word, value in passed.kwargs.items():
            store_item(machine, receiver, word, value)
        dicts = [a for v in passed.args for a in ordered(v) if isinstance(a, Container)]
        for atom in dicts:
            for key in machine.heap.item_keys(atom.site):
                store_item(machine, receiver, key, item(machine, atom, key))
    known = constant(passed.args[0]) if passed.args else None
    if name in {"get", "pop", "setdefault"} and known is not None:
        return join(item(machine, receiver, known.value), *passed.args[1:])
    return unfollowed(machine, f"the result of `{name}`", given(passed))


def _call_method(machine: Machine, callee: Method, passed: Passed) -> Value:
    receiver, name = callee.receiver, callee.name
    if isinstance(receiver, Container):
        return container_method(machine, receiver, name, passed)
    if isinstance(receiver, Cls):
        return loaded(machine, receiver, name, passed)
    if isinstance(receiver, Super):
        if name == "__new__":
            return new_object(machine, passed)
        if name == "__call__" and isinstance(receiver.receiver, Cls):
            return initialised(machine, receiver.receiver, passed)
        made_by_super(machine, receiver, name, passed)
        return unfollowed(machine, "a method of a library class", given(passed))
    if isinstance(receiver, Method) and receiver.name == ATTRIBUTES:
        return _of_attributes(machine, receiver, name, passed)
    viewed = of_dict(receiver, name)
    if viewed is not None:
        return viewed
    if isinstance(receiver, Params | Tensor) or is_gradient(receiver):
        return tensor_method(machine, receiver, name, passed)
    of_module = _call_module(machine, receiver, name, passed)
    if of_module is not None:
        return of_module
    if name in {"enter_async_context", "enter_context"} and passed.args:
        enter(machine, passed.args[0])
        return inside(machine, passed.args[0])
    if isinstance(receiver, Wrapped) and passed.node is not None:
        return frozenset({Result(f"{FSDP1}.{name}", machine.module.site(passed.node))})
    if isinstance(receiver, Result):
        keep(machine, receiver, passed)
        run = concurrency.run_on_pool(machine, receiver.symbol, name, passed)
        if run is None:
            run = concurrency.passed_through_queue(machine, receiver, name, passed)
        if run is not None:
            return run
    held: Value = frozenset({receiver}) if isinstance(receiver, Result) else NOTHING
    return unfollowed(machine, f"the result of `{name}`", [held, *given(passed)])


def _call_module(machine: Machine, receiver: Atom, name: str, passed: Passed) -> Value | None:
    """A method of PyTorch's modules; None for others."""
    if name in PARAMETERS:
        of_part = unknown("parameters of a part") if isinstance(receiver, Method) else NOTHING
        kind = "named" if name == "named_parameters" else ""
        return frozenset({Params(receiver, kind), *of_part})
    if name in SUBMODULES:
        return frozenset({Method(receiver, name)})
    if not _is_a_module(machine, receiver):
        return None
    if name == "get_parameter":
        return frozenset({Params(receiver, "one")})
    if name in RETURN_SELF:
        if name == "apply" and passed.args and not isinstance(receiver, Wrapped):
            _applied(machine, receiver, passed)
        return frozenset({receiver})
    return kept_in_dict(receiver, name, passed) if not isinstance(receiver, Wrapped) else None


def _applied(machine: Machine, module: Atom, passed: Passed) -> None:
    """Call the function that `module.apply` is given, with the module and all that is in it."""
    inside = elements(machine, frozenset({Method(module, "modules")}))
    for function in ordered(passed.args[0]):
        machine.call(function, Passed([inside | {module}]))


def _is_a_module(machine: Machine, receiver: Atom) -> bool:
    return isinstance(receiver, Wrapped | Result) or machine.classes.is_module(receiver)


# ---------------------------------------------------------------------- by name
@models("functools.partial", "functools.partialmethod")
def make_partial(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A partial; what it is called with is noted with the call."""
    return frozenset({Partial(machine.module.site(node))})


@models("builtins.__import__", "importlib.import_module", "pytest.importorskip")
def import_module(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`import_module("torch")`: the module, if its name is written out."""
    name = constant(passed.args[0]) if passed.args else None
    if name is None or not isinstance(name.value, str) or name.value.startswith("."):
        return None
    dotted = name.value
    if symbols(machine.evaluate(node.func)) == {"builtins.__import__"}:
        dotted = dotted.partition(".")[0]
    found = machine.project.resolve(machine.module, dotted)
    return frozenset({ModuleRef(found) if found else Symbol(canonical(dotted))})


@models("builtins.super")
def make_super(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`super()`."""
    return super_of(machine)


@models("builtins.object.__new__")
def make_object(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`object.__new__(cls)`."""
    return new_object(machine, passed)


@models("builtins.dict")
def make_dict(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`dict(other, key=value)`."""
    made = machine.container(node, "dict")
    for value in passed.args:
        merge_dict(machine, made, value, new=True)
    for key, value in passed.kwargs.items():
        store_item(machine, made, key, value)
    for keyword in node.keywords:
        if keyword.arg is not None:
            has_always(machine, made, keyword.arg)
    return frozenset({made})


@models("builtins.getattr")
def get_attribute(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`getattr(object, name, default)`."""
    if len(passed.args) < 2:
        return None
    key = constant(passed.args[1])
    found: list[Value] = [passed.args[2]] if len(passed.args) > 2 else []
    if found and key is not None and key.value in OF_DTENSORS:
        found = [frozenset(atom for atom in found[0] if not is_sharded(atom))]
    for atom in ordered(passed.args[0]):
        if key is not None and isinstance(key.value, str):
            found.append(attribute(machine, atom, key.value))
        elif isinstance(atom, Symbol):
            found.append(frozenset({Result(atom.name, machine.module.site(node))}))
        else:
            found.append(unknown("an attribute whose name is computed"))
    return join(*found)


@models("builtins.setattr")
def set_attribute(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`setattr(object, name, value)`."""
    if len(passed.args) != 3:
        return None
    target, key, value = passed.args[0], constant(passed.args[1]), passed.args[2]
    for atom in ordered(target):
        if isinstance(atom, Instance):
            given = value if key is not None else join(value, BY_SETATTR)
            machine.heap.write(given, "field", atom.cls, key.value if key is not None else ANY)
        elif isinstance(atom, Cls):
            for name in machine.program.classes[atom.site].field_order:
                machine.heap.write(BY_SETATTR, "field", atom.site, name)
        elif isinstance(atom, Result):
            machine.heap.write(value, "result", atom.site, key.value if key is not None else ANY)
    return NOTHING


@models("builtins.vars", "dataclasses.asdict")
def attributes_of(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The attributes of an object as a dict."""
    objects = passed.args[0] if passed.args else NOTHING
    followed: Value = frozenset(
        Method(a, ATTRIBUTES)
        for a in objects
        if isinstance(a, Instance) or is_namespace(a) or _is_submodule(a)
    )
    lost = len(followed) < len(objects) or not objects
    reason = "the attributes of an object as a dict"
    return join(unfollowed(machine, reason, given(passed)) if lost else NOTHING, followed)


def _is_submodule(atom: Atom) -> bool:
    return isinstance(atom, Method) and atom.name in SUBMODULES


@models("dataclasses.field", "dataclasses.replace", "torch.nn.parallel.parallel_apply")
def first_or_default(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The first argument, or the default of a field."""
    if "default_factory" in passed.kwargs:
        factories = ordered(passed.kwargs["default_factory"])
        return join(*(machine.call(factory, Passed(node=node)) for factory in factories))
    first = passed.args[0] if passed.args else NOTHING
    return join(first, passed.kwargs.get("default", NOTHING))


@models("typing.cast")
def cast(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`cast(type, value)`."""
    return passed.args[1] if len(passed.args) == 2 else given_back(machine, node, passed)


@models(
    "torch.compile",
    "copy.copy",
    "copy.deepcopy",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.checkpoint_wrapper",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "builtins.list",
    "builtins.tuple",
    "builtins.sorted",
    "builtins.reversed",
    "builtins.set",
    "builtins.iter",
    "builtins.aiter",
    "functools.cache",
    "functools.lru_cache",
    "itertools.cycle",
    "itertools.islice",
    "random.sample",
    "weakref.proxy",
)
def given_back(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """A function that gives back (in whatever wrapping) the module or items that it is given."""
    return passed.args[0] or None if passed.args else None
