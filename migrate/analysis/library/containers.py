"""Lists, tuples, sets and dicts: what is put in, and what comes out by key or by iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.fsdp1 import inner_of
from fsdp_migrate.analysis.library.modules import ATTRIBUTES, CHILDREN, RETURN_SELF, SUBMODULES
from fsdp_migrate.analysis.library.namespaces import stored
from fsdp_migrate.analysis.library.parameter_dicts import DICT, PRIVATE
from fsdp_migrate.analysis.library.unfollowed import given, unfollowed
from fsdp_migrate.analysis.machine import COMPUTED, Machine, Passed
from fsdp_migrate.analysis.values import (
    NONE,
    NOTHING,
    Atom,
    Bound,
    Const,
    Container,
    Func,
    Instance,
    Method,
    Params,
    Result,
    Tensor,
    Unknown,
    Value,
    Wrapped,
    constant,
    join,
    ordered,
    unknown,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

UNITS = f"{FSDP1}.fsdp_modules"
KINDS = (dict, list, set, tuple)
NAMED = frozenset({"named_children", "named_modules"})


def store_item(machine: Machine, atom: Atom, key: object, value: Value) -> None:
    """Write an item of a container."""
    if isinstance(atom, Container):
        machine.heap.write(value, "item", atom.site, key)
    elif isinstance(atom, Result):
        machine.heap.write(value, "item", atom.site, ANY)
    elif isinstance(atom, Method) and atom.name == ATTRIBUTES:
        if isinstance(atom.receiver, Instance):
            machine.heap.write(value, "field", atom.receiver.cls, key)
        elif isinstance(atom.receiver, Result):
            machine.heap.write(value, "result", atom.receiver.site, key)


def has_always(machine: Machine, dict_: Container, key: object) -> None:
    """Note a key that a dict has from the start."""
    machine.heap.write(NONE, "always", dict_.site, key)


def takes_out(machine: Machine, dict_: Container, key: object) -> None:
    """Note a key that a dict may lack from then on."""
    machine.heap.write(NONE, "popped", dict_.site, key)


def merge_dict(machine: Machine, made: Container, value: Value, new: bool = False) -> None:
    """`made.update(value)`, of a dict that may be `new`, with nothing in it but this."""
    for atom in ordered(value):
        if isinstance(atom, Container) and atom.kind == "dict":
            for key in machine.heap.item_keys(atom.site):
                store_item(machine, made, key, machine.heap.read("item", atom.site, key))
                if new and len(value) == 1 and machine.heap.has_always(atom.site, key):
                    has_always(machine, made, key)
        elif isinstance(atom, Params) and atom.kind == "named":
            store_item(machine, made, ANY, frozenset({item_of_parameters(atom, 1)}))
        elif isinstance(atom, Params) and atom.kind == DICT:
            store_item(machine, made, ANY, frozenset({item_of_parameters(atom, ANY)}))
        elif isinstance(atom, Method) and atom.name in NAMED:
            store_item(machine, made, ANY, _submodule(atom))
        else:
            store_item(machine, made, ANY, unknown("merged from a dict that isn't known"))


def item(machine: Machine, atom: Atom, key: object) -> Value:
    """What `atom[key]` can be; `ANY` for an index that isn't known."""
    heap = machine.heap
    if isinstance(atom, Container):
        if key == ANY:
            return heap.dict_values(atom)
        return join(heap.read("item", atom.site, key), heap.read("item", atom.site, ANY))
    if isinstance(atom, Result):
        if atom.symbol == UNITS:
            return frozenset({Wrapped(None)})
        found = heap.read("item", atom.site, ANY)
        return found or unfollowed(machine, f"an item of a {atom.symbol}", [frozenset({atom})])
    if isinstance(atom, Params):
        return frozenset({item_of_parameters(atom, key)})
    if isinstance(atom, Unknown | Tensor):
        return frozenset({atom})
    if isinstance(atom, Method) and atom.name == ATTRIBUTES:
        return _attribute_of(machine, atom.receiver, key)
    if isinstance(atom, Method) and atom.name in SUBMODULES:
        return _item_of_submodules(atom, key)
    if isinstance(atom, Instance):
        method = machine.classes.method(atom.cls, "__getitem__")
        if method is not None:
            return machine.call(Bound(Func(method), atom), Passed([COMPUTED]))
        if "typing.NamedTuple" in machine.classes.library_bases(atom.cls):
            order = machine.program.classes[atom.cls].field_order
            names = order if not isinstance(key, int) else order[key : key + 1]
            return join(*(machine.heap.read("field", atom.cls, name) for name in names))
    if isinstance(atom, Wrapped) and atom.site in machine.record.wraps:
        return join(*(item(machine, a, key) for a in ordered(inner_of(machine, atom))))
    return COMPUTED


def _attribute_of(machine: Machine, owner: Atom, key: object) -> Value:
    """What `vars(owner)[key]` can be."""
    if key == PRIVATE:
        return frozenset({Params(owner, DICT)})
    found = NOTHING
    if isinstance(owner, Instance):
        found = machine.heap.read("field", owner.cls, key)
    elif isinstance(owner, Result):
        found = stored(machine, owner, key)
    held = [frozenset({owner})]
    return found or unfollowed(machine, "an attribute of an object", held)


def item_of_parameters(params: Params, key: object) -> Params:
    """What `params[key]` can be: of a pair of a name and a parameter, the one or the other."""
    if params.kind in {"", DICT}:
        return replace(params, kind="one")
    if params.kind != "named" or key not in (0, 1):
        return params
    return replace(params, kind="name" if key == 0 else "one")


def _next_of(params: Params) -> Params:
    return replace(params, kind="name") if params.kind == DICT else item_of_parameters(params, ANY)


def elements(machine: Machine, value: Value) -> Value:
    """What iterating over `value` gives."""
    return join(*(_elements(machine, atom) for atom in ordered(value)))


def _elements(machine: Machine, atom: Atom) -> Value:
    if isinstance(atom, Container):
        if atom.kind == "dict":
            return _key_values(machine.heap.item_keys(atom.site)) or COMPUTED
        return machine.heap.dict_values(atom)
    if isinstance(atom, Result):
        if atom.symbol == UNITS:
            return frozenset({Wrapped(None)})
        found = machine.heap.read("item", atom.site, ANY)
        what = f"an item of {short(atom.symbol)}"
        return found or unfollowed(machine, what, [frozenset({atom})])
    if isinstance(atom, Params):
        return frozenset({_next_of(atom)})
    if isinstance(atom, Unknown | Tensor):
        return frozenset({atom})
    if isinstance(atom, Method) and atom.name in SUBMODULES:
        return _item_of_submodules(atom, ANY)
    if isinstance(atom, Instance):
        return _iterated(machine, atom)
    return unknown("an item")


def _item_of_submodules(atom: Method, key: object) -> Value:
    """What `modules()[key]` or `named_modules()[key]` gives: these give pairs, as methods of it."""
    if isinstance(atom.receiver, Method) and atom.receiver.name == atom.name:  # a pair
        return COMPUTED if key == 0 else _submodule(atom.receiver)
    return frozenset({Method(atom, atom.name)}) if atom.name in NAMED else _submodule(atom)


def _submodule(atom: Method) -> Value:
    """Any of the modules that `atom` gives: it stands for them where their parameters are taken."""
    return unknown("a child" if atom.name in CHILDREN else "a submodule") | {atom}


def _iterated(machine: Machine, atom: Instance) -> Value:
    """What iterating over an object of the project's own gives."""
    for name, again in (("__iter__", True), ("__aiter__", True), ("__getitem__", False)):
        method = machine.classes.method(atom.cls, name)
        if method is not None:
            given = machine.call(Bound(Func(method), atom), Passed([] if again else [COMPUTED]))
            return elements(machine, given - {atom}) if again else given
    return unknown("an item")


def _key_values(keys: Iterable[object]) -> Value:
    return frozenset(Const.of(k) for k in keys if isinstance(k, str | int) and k != ANY)


# ---------------------------------------------------------------------- methods
def container_method(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value:
    """What a method of a list, tuple, set or dict gives, and does to it."""
    if name in RETURN_SELF and not any(hasattr(kind, name) for kind in KINDS):
        return NOTHING  # `.eval()` of what is one of several things, a module among them
    model = METHODS.get(name)
    found = model(machine, receiver, name, passed) if model is not None else None
    if found is not None:
        return found
    held: Value = frozenset({receiver})
    return unfollowed(machine, "the result of a method of a container", [held, *given(passed)])


def _get(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value:
    args = passed.args
    key = constant(args[0]) if args else None
    index: object = key.value if key else ANY
    if name == "setdefault" and len(args) == 2:
        store_item(machine, receiver, index, args[1])
    if not args:
        return elements(machine, frozenset({receiver}))
    default = args[1] if len(args) > 1 else NONE
    found = item(machine, receiver, index) if receiver.kind == "dict" else NOTHING
    known = index != ANY and machine.heap.has_always(receiver.site, index)
    if name == "pop":
        known = known or bool(machine.heap.read("always", receiver.site, index))
        takes_out(machine, receiver, index)
    return found if found and known else join(found, default)


def _empty(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value | None:
    takes_out(machine, receiver, ANY)
    return None


def _update(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value:
    for value in passed.args:
        merge_dict(machine, receiver, value)
    for word, value in passed.kwargs.items():
        store_item(machine, receiver, word, value)
    return NOTHING


def _append(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value | None:
    if not passed.args:
        return None
    value = elements(machine, passed.args[-1]) if name == "extend" else passed.args[-1]
    store_item(machine, receiver, ANY, value)
    return NOTHING


def _copy(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value | None:
    return frozenset({receiver}) if passed.node is not None else None


def _view(machine: Machine, receiver: Container, name: str, passed: Passed) -> Value | None:
    if passed.node is None:
        return None
    made = machine.container(passed.node, "list")
    if name == "keys":
        held = elements(machine, frozenset({receiver}))
    else:
        held = machine.heap.dict_values(receiver)
    if name == "items":
        pair = machine.container(passed.node.func, "tuple")
        store_item(machine, pair, 0, unknown("a key"))
        store_item(machine, pair, 1, held)
        held = frozenset({pair})
    store_item(machine, made, ANY, held)
    return frozenset({made})


METHODS: dict[str, Callable[[Machine, Container, str, Passed], Value | None]] = {
    "get": _get, "pop": _get, "setdefault": _get, "update": _update, "append": _append,
    "add": _append, "extend": _append, "insert": _append, "copy": _copy, "values": _view,
    "items": _view, "keys": _view, "popleft": _get, "result": _get, "appendleft": _append,
    "clear": _empty, "popitem": _empty,
}  # fmt: skip
