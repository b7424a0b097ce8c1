"""What calling an object gives, and what the functions of Python and PyTorch do to values."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.functions import call_function, call_instance, instantiate, super_of
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library import fsdp1
from fsdp_migrate.analysis.library.attributes import attribute
from fsdp_migrate.analysis.library.containers import (
    container_method,
    elements,
    item,
    merge_dict,
    store_item,
)
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.library.modules import (
    PARAMETERS,
    RETURN_SELF,
    SUBMODULES,
    is_torch_module,
)
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

RESULT = unknown("the result of a call")
BY_SETATTR = unknown("set by `setattr`")

models = Models(fsdp1.models)


# ---------------------------------------------------------------------- by kind of object
def call(machine: Machine, callee: Atom, passed: Passed) -> Value:
    """What calling one object gives."""
    match callee:
        case Func():
            return call_function(machine, callee, None, passed)
        case Bound():
            return call_function(machine, callee.func, callee.receiver, passed)
        case Cls():
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
        case Unknown():
            return frozenset({callee})
        case _:
            return RESULT


def _call_symbol(machine: Machine, name: str, passed: Passed) -> Value:
    node = passed.node
    if node is None:
        return RESULT
    model = models.get(name)
    value = model(machine, node, passed) if model is not None else None
    if value is not None:
        return value
    site = machine.module.site(node)
    if is_torch_module(name):  # what it contains are the modules that it is given
        for given in [*passed.args, *passed.kwargs.values()]:
            machine.heap.write(_modules(machine, given), "item", site, ANY)
    return frozenset({Result(name, site)})


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
        given = Passed([*args[1:], *passed.args], {**kwargs, **passed.kwargs}, node)
        if function == Symbol(FSDP1):
            results.append(fsdp1.make_wrap(machine, node, given, direct=False))
        else:
            results.append(machine.call(function, given))
    return join(*results)


def _call_method(machine: Machine, callee: Method, passed: Passed) -> Value:
    receiver, name = callee.receiver, callee.name
    if isinstance(receiver, Container):
        return container_method(machine, receiver, name, passed)
    if isinstance(receiver, Super):
        return unknown("a method of a library class")
    if name in PARAMETERS:
        return frozenset({Params(receiver)})
    if isinstance(receiver, Params):
        return frozenset({receiver})
    if name in SUBMODULES:
        return frozenset({Method(receiver, name)})
    is_module = isinstance(receiver, Wrapped | Result) or machine.classes.is_module(receiver)
    if name in RETURN_SELF and is_module:
        return frozenset({receiver})
    if name == "enter_context" and passed.args:
        return passed.args[0]
    if passed.node is None:
        return RESULT
    if isinstance(receiver, Wrapped):
        return frozenset({Result(f"{FSDP1}.{name}", machine.module.site(passed.node))})
    return unknown(f"the result of `{name}`")


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


@models("builtins.dict")
def make_dict(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """`dict(other, key=value)`."""
    made = machine.container(node, "dict")
    for value in passed.args:
        merge_dict(machine, made, value)
    for key, value in passed.kwargs.items():
        store_item(machine, made, key, value)
    return frozenset({made})


@models("builtins.getattr")
def get_attribute(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """`getattr(object, name, default)`."""
    if len(passed.args) < 2:
        return None
    key = constant(passed.args[1])
    found: list[Value] = [passed.args[2]] if len(passed.args) > 2 else []
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
    return NOTHING


@models("builtins.vars", "dataclasses.asdict")
def attributes_of(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The attributes of an object as a dict, which nothing follows."""
    return unknown("the attributes of an object as a dict")


@models("builtins.zip")
def zip_columns(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of tuples with an item out of each argument."""
    return _rows(machine, node, [elements(machine, value) for value in passed.args])


@models("builtins.enumerate")
def enumerate_items(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """A list of pairs of an index and an item."""
    columns = [elements(machine, value) for value in passed.args]
    return _rows(machine, node, [unknown("an index"), *columns[:1]])


def _rows(machine: Machine, node: ast.Call, columns: list[Value]) -> Value:
    row = machine.container(node.func, "tuple")
    for index, column in enumerate(columns):
        store_item(machine, row, index, column)
    made = machine.container(node, "list")
    store_item(machine, made, ANY, frozenset({row}))
    return frozenset({made})


@models("dataclasses.field", "dataclasses.replace", "torch.nn.parallel.parallel_apply")
def first_or_default(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The first argument, or the default of a field."""
    if "default_factory" in passed.kwargs:
        factories = ordered(passed.kwargs["default_factory"])
        return join(*(machine.call(factory, Passed(node=node)) for factory in factories))
    first = passed.args[0] if passed.args else NOTHING
    return join(first, passed.kwargs.get("default", NOTHING))


@models("torch.multiprocessing.spawn", "torch.multiprocessing.start_processes")
def spawn(machine: Machine, node: ast.Call, passed: Passed) -> None:
    """Calls the function with a rank and the arguments."""
    arguments: list[Value] = [unknown("the rank that spawn passes")]
    for atom in ordered(passed.argument(1, "args")):
        if isinstance(atom, Container):
            count = len(machine.heap.item_keys(atom.site) - {ANY})
            arguments += [item(machine, atom, index) for index in range(count)]
    for atom in ordered(passed.argument(0, "fn")):
        if isinstance(atom, Func | Bound | Partial):
            machine.call(atom, Passed(arguments, {}, node))


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
    "builtins.filter",
    "itertools.chain",
)
def given_back(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """A function that gives back (in whatever wrapping) the module or items that it is given."""
    return passed.args[0] or None if passed.args else None
