"""What the analysis knows of Python's and PyTorch's own functions and objects."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Protocol

from fsdp_migrate.analysis.solver import ANY, Solver
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Bound,
    Cls,
    Const,
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
    unknown,
)
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.syntax.fsdp1_names import CONFIGS, FSDP1, ROOT, canonical, is_fsdp1, short
from fsdp_migrate.syntax.span import Site

if TYPE_CHECKING:
    from fsdp_migrate.analysis.expressions import Frame


class Classes(Protocol):
    """What is known of the classes of a program."""

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""


# Methods of an nn.Module that give the module back.
RETURN_SELF = frozenset(
    {
        "apply", "bfloat16", "compile", "cpu", "cuda", "double", "eval", "float", "half",
        "requires_grad_", "share_memory", "to", "to_empty", "train", "type", "unwrap",
    }
)  # fmt: skip
PARAMETERS = frozenset({"named_parameters", "parameters"})
SUBMODULES = frozenset({"children", "modules", "named_children", "named_modules"})
# What FullyShardedDataParallel itself defines, and nn.Module methods that it overrides.
FSDP_METHODS = frozenset(
    {
        "check_is_root", "clip_grad_norm_", "flatten_sharded_optim_state_dict", "fsdp_modules",
        "full_optim_state_dict", "get_state_dict_type", "load_state_dict", "named_buffers",
        "named_parameters", "no_sync", "optim_state_dict", "optim_state_dict_to_load",
        "register_comm_hook", "rekey_optim_state_dict", "scatter_full_optim_state_dict",
        "set_state_dict_type", "shard_full_optim_state_dict", "sharded_optim_state_dict",
        "state_dict", "state_dict_type", "summon_full_params", "parameters", "buffers", "modules",
        "forward", "named_modules", "children", "named_children", *RETURN_SELF,
    }
)  # fmt: skip
# Methods that FSDP1 models have and plain modules do not.
OWN_METHODS = frozenset({"clip_grad_norm_", "no_sync"})
# Functions that give back a module that they were given (in whatever wrapping).
PASS_THROUGH = frozenset(
    {
        "torch.compile",
        "copy.copy",
        "copy.deepcopy",
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.checkpoint_wrapper",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
        "typing.cast",
        "builtins.list",
        "builtins.tuple",
        "builtins.sorted",
        "builtins.reversed",
        "builtins.set",
        "builtins.iter",
        "builtins.filter",
        "itertools.chain",
    }
)
SET_MODE = f"{FSDP1}.set_state_dict_type"
STATE_DICT_CONTEXTS = frozenset({f"{FSDP1}.state_dict_type", SET_MODE})
WRAP_PARAMETERS = (
    "module",
    "process_group",
    "sharding_strategy",
    "cpu_offload",
    "auto_wrap_policy",
    "backward_prefetch",
    "mixed_precision",
    "ignored_modules",
    "param_init_fn",
    "device_id",
    "sync_module_states",
    "forward_prefetch",
    "limit_all_gathers",
    "use_orig_params",
    "ignored_states",
    "device_mesh",
)
DDP = "torch.nn.parallel.DistributedDataParallel"
OTHER_WRAPPERS = frozenset({DDP, "torch.nn.DataParallel", "torch.nn.parallel.DataParallel"})


# ---------------------------------------------------------------------- attributes
def attribute(frame: Frame, atom: Atom, attr: str) -> Value:
    """The attribute `attr` of `atom`."""
    solver = frame.solver
    if isinstance(atom, Symbol):
        return frozenset({Symbol(canonical(f"{atom.name}.{attr}"))})
    if isinstance(atom, ModuleRef):
        return frame.global_name(atom.module, attr)
    if isinstance(atom, Unknown):
        return frozenset({atom})
    if isinstance(atom, Instance):
        return _instance_attribute(frame, atom, attr)
    if isinstance(atom, Cls):
        return _class_attribute(frame, atom, attr)
    if isinstance(atom, Super):
        return _super_attribute(frame, atom, attr)
    if isinstance(atom, Wrapped):
        return _wrapped_attribute(frame, atom, attr)
    if isinstance(atom, Result):
        if atom.symbol == DDP and attr == "module":
            args, kwargs = solver.calls.get(atom.site, ([], {}))
            return args[0] if args else kwargs.get("module", NOTHING)
        stored = solver.read("result", atom.site, attr)
        return stored or frozenset({Method(atom, attr)})
    if isinstance(atom, Bound | Func | Partial | Method):
        return unknown(f"attribute `{attr}` of a function")
    return frozenset({Method(atom, attr)})


def _instance_attribute(frame: Frame, atom: Instance, attr: str) -> Value:
    solver = frame.solver
    found: list[Value] = []
    family = [*solver.lineage(atom.cls), *solver.descendants(atom.cls)]
    for site in family:
        found.append(solver.read("field", site, attr))
        found.append(solver.read("field", site, ANY))
    method = solver.method(atom.cls, attr)
    if method is not None:
        found.append(frame.bind(Func(method), atom))
    else:
        for site in solver.lineage(atom.cls):
            level = solver.read("class", site, attr)
            if level:
                found.append(level)
                break
    value = join(*found)
    if value:
        return value
    bases = solver.library_bases(atom.cls)
    forwarded = solver.method(atom.cls, "__getattr__")
    if forwarded is not None:
        return unknown(f"`{attr}` may come from `__getattr__`")
    if bases or any(isinstance(b, Unknown) for s in family for b in solver.bases(s)):
        return frozenset({Method(atom, attr)})
    return NOTHING


def _class_attribute(frame: Frame, atom: Cls, attr: str) -> Value:
    solver = frame.solver
    method = solver.method(atom.site, attr)
    if method is not None:
        decorators = solver.functions[method].decorators
        if "classmethod" in decorators:
            return frozenset({Bound(Func(method), atom)})
        return frozenset({Func(method)})
    for site in solver.lineage(atom.site):
        level = solver.read("class", site, attr)
        if level:
            return level
    if any(isinstance(b, Symbol) for s in solver.lineage(atom.site) for b in solver.bases(s)):
        bases = sorted(solver.library_bases(atom.site))
        return frozenset({Symbol(canonical(f"{bases[0]}.{attr}"))}) if bases else NOTHING
    return NOTHING


def _super_attribute(frame: Frame, atom: Super, attr: str) -> Value:
    solver = frame.solver
    lineage = solver.lineage(atom.receiver.cls) if isinstance(atom.receiver, Instance) else []
    rest = lineage[lineage.index(atom.cls) + 1 :] if atom.cls in lineage else []
    if not rest:
        rest = solver.lineage(atom.cls)[1:]
    for site in rest:
        method = solver.classes[site].methods.get(attr)
        if method is not None:
            return frame.bind(Func(method), atom.receiver)
    return frozenset({Method(atom, attr)})


def _wrapped_attribute(frame: Frame, atom: Wrapped, attr: str) -> Value:
    solver = frame.solver
    fact = solver.wraps.get(atom.site) if atom.site is not None else None
    inner = fact.inner - {atom} if fact is not None else NOTHING
    if attr == "module":
        return frozenset({atom}) | frozenset(i for i in inner if isinstance(i, Instance))
    if attr in FSDP_METHODS:
        return frozenset({Method(atom, attr)})
    found = join(*(attribute(frame, i, attr) for i in inner if isinstance(i, Instance | Wrapped)))
    return found or frozenset({Method(atom, attr)})


# ---------------------------------------------------------------------- calls
def call(
    frame: Frame,
    callee: Atom,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.Call | None,
) -> Value:
    """What calling something that is not a function or class of the project gives."""
    if isinstance(callee, Symbol):
        return _call_symbol(frame, callee.name, args, kwargs, node)
    if isinstance(callee, Partial):
        return _call_partial(frame, callee, args, kwargs, node)
    if isinstance(callee, Method):
        return _call_method(frame, callee, args, kwargs, node)
    if isinstance(callee, Wrapped):
        fact = frame.solver.wraps.get(callee.site) if callee.site is not None else None
        for inner in (fact.inner if fact else NOTHING) - {callee}:
            if isinstance(inner, Instance):
                frame.call(inner, args, kwargs, node)
        return unknown("the output of a model")
    if isinstance(callee, Unknown):
        return frozenset({callee})
    return unknown("the result of a call")


def _call_symbol(
    frame: Frame, name: str, args: list[Value], kwargs: dict[str, Value], node: ast.Call | None
) -> Value:
    if node is None:
        return unknown("the result of a call")
    site = frame.module.site(node)
    first = args[0] if args else NOTHING
    if name == FSDP1:
        return _wrap(frame, node, args, kwargs, direct=True)
    if name == f"{ROOT}.wrap.wrap":
        return _wrap(frame, node, args, kwargs, direct=False)
    if name in {"functools.partial", "functools.partialmethod"}:
        return frozenset({Partial(site)})
    if name == "builtins.super":
        return frame.super_of()
    if name == "builtins.dict":
        made = frame.container(node, "dict")
        for value in args:
            frame.merge_dict(made, value)
        for key, value in kwargs.items():
            frame.store_item(made, key, value)
        return frozenset({made})
    if name == "builtins.getattr" and len(args) >= 2:
        return _getattr(frame, node, args)
    if name == "builtins.setattr" and len(args) == 3:
        _setattr(frame, args)
        return NOTHING
    if name == "builtins.vars" or name == "dataclasses.asdict":
        return unknown("the attributes of an object as a dict")
    if name in {"builtins.zip", "builtins.enumerate"}:
        return _zip(frame, node, name, args)
    if name in {"dataclasses.field", "dataclasses.replace", "torch.nn.parallel.parallel_apply"}:
        if "default_factory" in kwargs:
            return join(*(frame.call(f, [], {}, node) for f in kwargs["default_factory"]))
        return join(first, kwargs.get("default", NOTHING))
    if name in {"torch.multiprocessing.spawn", "torch.multiprocessing.start_processes"}:
        _spawn(frame, args, kwargs, node)
    if name in PASS_THROUGH:
        if name == "typing.cast" and len(args) == 2:
            return args[1]
        if first:
            return first
        return frozenset({Result(name, site)})
    if name.startswith("torch.nn.") and name[9:10].isupper():
        # a module of torch: what it contains are the modules that it is given
        for value in [*args, *kwargs.values()]:
            frame.solver.write(_modules(frame, value), "item", site, ANY)
    return frozenset({Result(name, site)})


def _modules(frame: Frame, value: Value) -> Value:
    """The modules in `value`, or in the list that it is."""
    found: set[Atom] = set()
    for atom in value:
        if isinstance(atom, Container):
            found |= {
                a
                for a in frame.elements(frozenset({atom}))
                if isinstance(a, Instance | Wrapped | Result)
            }
        elif isinstance(atom, Instance | Wrapped | Result):
            found.add(atom)
    return frozenset(found)


def _wrap(
    frame: Frame, node: ast.Call, args: list[Value], kwargs: dict[str, Value], direct: bool
) -> Value:
    site = frame.module.site(node)
    fact = frame.solver.wraps.get(site)
    if fact is None:
        fact = frame.solver.wraps[site] = WrapFact(site, frame.module, node, direct)
    nodes: dict[str, ast.expr] = dict(zip(WRAP_PARAMETERS, node.args, strict=False))
    nodes |= {k.arg: k.value for k in node.keywords if k.arg is not None}
    passed = {**dict(zip(WRAP_PARAMETERS, args, strict=False)), **kwargs}
    fact.opaque = fact.opaque or ANY in passed
    for name, value in passed.items():
        if name != ANY:
            old = fact.arguments.get(name)
            value = join(value, old.value) if old else value
            fact.arguments[name] = Argument(nodes.get(name) if direct else None, value)
    frame.solver.write(fact.inner, "inner", site)
    return frozenset({Wrapped(site)})


def _call_partial(
    frame: Frame,
    callee: Partial,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.Call | None,
) -> Value:
    bound_args, bound_kwargs = frame.solver.calls.get(callee.site, ([], {}))
    if not bound_args or node is None:
        return unknown("the result of a partial")
    results: list[Value] = []
    for function in bound_args[0]:
        given = [*bound_args[1:], *args]
        named = {**bound_kwargs, **kwargs}
        if function == Symbol(FSDP1):
            results.append(_wrap(frame, node, given, named, direct=False))
        else:
            results.append(frame.call(function, given, named, node))
    return join(*results)


def _call_method(
    frame: Frame,
    callee: Method,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.Call | None,
) -> Value:
    receiver, name = callee.receiver, callee.name
    if isinstance(receiver, Container):
        return _container_method(frame, receiver, name, args, kwargs, node)
    if isinstance(receiver, Super):
        return unknown("a method of a library class")
    if name in PARAMETERS:
        return frozenset({Params(receiver)})
    if isinstance(receiver, Params):
        return frozenset({receiver})
    if name in SUBMODULES:
        return frozenset({Method(receiver, name)})
    is_module = isinstance(receiver, Wrapped | Result) or frame.solver.is_module(receiver)
    if name in RETURN_SELF and is_module:
        return frozenset({receiver})
    if name == "enter_context" and args:
        return args[0]
    if node is None:
        return unknown("the result of a call")
    if isinstance(receiver, Wrapped):
        return frozenset({Result(f"{FSDP1}.{name}", frame.module.site(node))})
    return unknown(f"the result of `{name}`")


def _container_method(
    frame: Frame,
    receiver: Container,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.Call | None,
) -> Value:
    key = constant(args[0]) if args else None
    index: object = key.value if key else ANY
    if name in {"get", "pop", "setdefault"}:
        if name == "setdefault" and len(args) == 2:
            frame.store_item(receiver, index, args[1])
        if not args:
            return frame.elements(frozenset({receiver}))
        default = args[1] if len(args) > 1 else frozenset({Const.of(None)})
        found = frame.item(receiver, index) if receiver.kind == "dict" else NOTHING
        known = ("item", receiver.site, index) in frame.solver.heap and index != ANY
        return found if known else join(found, default)
    if name == "update":
        for value in args:
            frame.merge_dict(receiver, value)
        for word, value in kwargs.items():
            frame.store_item(receiver, word, value)
        return NOTHING
    if name in {"append", "add", "extend", "insert"} and args:
        value = frame.elements(args[-1]) if name == "extend" else args[-1]
        frame.store_item(receiver, ANY, value)
        return NOTHING
    if name in {"values", "items", "copy", "keys"} and node is not None:
        if name == "copy":
            return frozenset({receiver})
        every = frame.solver.dict_values(receiver)
        made = frame.container(node, "list")
        if name == "values":
            frame.store_item(made, ANY, every)
        elif name == "items":
            pair = Container(frame.module.site(node.func), "tuple")
            frame.store_item(pair, 0, unknown("a key"))
            frame.store_item(pair, 1, every)
            frame.store_item(made, ANY, frozenset({pair}))
        else:
            frame.store_item(made, ANY, frame.elements(frozenset({receiver})))
        return frozenset({made})
    return unknown("the result of a method of a container")


def _getattr(frame: Frame, node: ast.Call, args: list[Value]) -> Value:
    key = constant(args[1])
    found: list[Value] = [args[2]] if len(args) > 2 else []
    for atom in args[0]:
        if key is not None and isinstance(key.value, str):
            found.append(frame.attribute(atom, key.value))
        elif isinstance(atom, Symbol):
            found.append(frozenset({Result(atom.name, frame.module.site(node))}))
        else:
            found.append(unknown("an attribute whose name is computed"))
    return join(*found)


def _setattr(frame: Frame, args: list[Value]) -> None:
    key = constant(args[1])
    for atom in args[0]:
        if isinstance(atom, Instance):
            name = key.value if key is not None else ANY
            value = args[2] if key is not None else join(args[2], unknown("set by `setattr`"))
            frame.solver.write(value, "field", atom.cls, name)
        elif isinstance(atom, Cls):
            for name in frame.solver.classes[atom.site].field_order:
                frame.solver.write(unknown("set by `setattr`"), "field", atom.site, name)


def _zip(frame: Frame, node: ast.Call, name: str, args: list[Value]) -> Value:
    pair = Container(frame.module.site(node.func), "tuple")
    columns = [frame.elements(value) for value in args]
    if name == "builtins.enumerate":
        columns = [unknown("an index"), *columns[:1]]
    for index, column in enumerate(columns):
        frame.store_item(pair, index, column)
    made = frame.container(node, "list")
    frame.store_item(made, ANY, frozenset({pair}))
    return frozenset({made})


def _spawn(frame: Frame, args: list[Value], kwargs: dict[str, Value], node: ast.Call) -> None:
    function = args[0] if args else kwargs.get("fn", NOTHING)
    given = args[1] if len(args) > 1 else kwargs.get("args", NOTHING)
    passed: list[Value] = [unknown("the rank that spawn passes")]
    for atom in given:
        if isinstance(atom, Container):
            count = len(frame.solver.item_keys(atom.site) - {ANY})
            passed += [frame.item(atom, index) for index in range(count)]
    for atom in function:
        if isinstance(atom, Func | Bound | Partial):
            frame.call(atom, passed, {}, node)


def elements(frame: Frame, atom: Atom) -> Value:
    """What iterating over an object of a library gives."""
    if isinstance(atom, Result):
        if atom.symbol == f"{FSDP1}.fsdp_modules":
            return frozenset({Wrapped(None)})
        found = frame.solver.read("item", atom.site, ANY)
        return found or unknown(f"an item of {short(atom.symbol)}")
    if isinstance(atom, Params | Unknown):
        return frozenset({atom})
    if isinstance(atom, Method) and atom.name in SUBMODULES:
        return unknown("a submodule")
    return unknown("an item")


# ---------------------------------------------------------------------- contexts and classes
def entered(ambient: frozenset[Site | None], context: Value) -> frozenset[Site | None]:
    """The state-dict contexts that are open after entering `context`."""
    opened = {
        atom.site
        for atom in context
        if isinstance(atom, Result) and atom.symbol in STATE_DICT_CONTEXTS
    }
    if not opened:
        return ambient
    certain = all(isinstance(a, Result) and a.symbol in STATE_DICT_CONTEXTS for a in context)
    return frozenset(opened) if certain else ambient | opened


def sets_mode(value: Value) -> bool:
    """Whether `value` is what a call that sets the state-dict mode for good gives."""
    return any(isinstance(atom, Result) and atom.symbol == SET_MODE for atom in value)


def class_name(atom: Atom) -> str | Site | None:
    """The class that `atom` is, for `isinstance`; None if it isn't known to be one."""
    if isinstance(atom, Symbol):
        return atom.name
    if isinstance(atom, Cls):
        return atom.site
    return None


def is_instance(solver: Solver, atom: Atom, classes: set[str | Site | None]) -> bool | None:
    """Whether `atom` is an instance of one of `classes`; None if that isn't known."""
    if isinstance(atom, Wrapped):
        if FSDP1 in classes or "torch.nn.Module" in classes:
            return True
        return None if classes - OTHER_WRAPPERS else False
    if isinstance(atom, Const):
        return None
    if isinstance(atom, Instance):
        if set(solver.lineage(atom.cls)) & classes or solver.library_bases(atom.cls) & classes:
            return True
        if FSDP1 in classes and len(classes) == 1:
            return False
        return None
    if isinstance(atom, Result):
        if atom.symbol in classes:
            return True
        if atom.symbol == DDP and not classes - {FSDP1}:
            return False
        return False if atom.symbol.startswith("torch.nn.") and FSDP1 in classes else None
    return None


def has_method(solver: Classes, atom: Atom, name: str) -> bool | None:
    """Whether `atom` has one of FSDP1's own methods; None if that isn't known."""
    if isinstance(atom, Wrapped):
        return True
    if isinstance(atom, Instance) and solver.is_module(atom):
        return solver.method(atom.cls, name) is not None
    if isinstance(atom, Result) and atom.symbol.startswith("torch.nn."):
        return atom.symbol == DDP and name == "no_sync"
    return None


def is_config(name: str) -> bool:
    """Whether a canonical name is one of FSDP1's enums or configuration classes."""
    return is_fsdp1(name) and name[len(ROOT) + 1 :].split(".")[0] in CONFIGS
