"""What an expression holds of parameters, given what the variables around it hold."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import is_torch_module
from fsdp_migrate.analysis.values import Atom, Method, Result, Symbol, Unknown, Wrapped, symbols
from fsdp_migrate.lowering.held import (
    Entries,
    Held,
    Items,
    Parameter,
    Row,
    Somehow,
    entries,
    entry_of,
    item_of,
    joined,
    many,
    owners,
    pair_of,
    row,
)
from fsdp_migrate.lowering.module_names import module_paths
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

# What gives the items of its arguments again, in a list, a set or an iterator.
SAME_ITEMS = frozenset(
    {
        "builtins.frozenset", "builtins.iter", "builtins.list", "builtins.reversed",
        "builtins.set", "builtins.sorted", "builtins.tuple", "collections.deque",
        "itertools.chain", "itertools.cycle", "itertools.islice", "weakref.WeakSet",
        "torch.nn.ParameterList",
    }
)  # fmt: skip
SAME_METHODS = frozenset(
    {"copy", "difference", "intersection", "symmetric_difference", "union", "__iter__"}
)
VALUE_METHODS = frozenset({"get", "pop", "popitem", "setdefault", "__getitem__"})
WEIGHTS = frozenset({"weight", "bias", "in_proj_weight", "in_proj_bias"})
PARAMETER = "torch.nn.Parameter"
OWN_OBJECTS = frozenset({"self", "cls"})  # they hold much else


@dataclass
class Reader:
    """Reads the expressions of one function."""

    analysis: Analysis
    module: Module
    variables: Mapping[str, Held]
    called: Callable[[ast.Call], Held | None]  # what a call of the program's functions gives
    property_of: Callable[[ast.Attribute], Held | None]  # what a property of the program's gives
    by_value: Callable[[ast.expr | None], Held | None]  # what the analysis has followed there

    def of(self, node: ast.expr | None) -> Held | None:
        """What `node` holds."""
        return self._shown(node) or self.by_value(node)

    def _shown(self, node: ast.expr | None) -> Held | None:
        """What the text of `node` shows."""
        match node:
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Call():
                return self._call(node)
            case ast.List(elts=elts) | ast.Set(elts=elts):
                return many(joined(*map(self._element, elts)))
            case ast.Tuple(elts=elts):
                if any(isinstance(e, ast.Starred) for e in elts):
                    return many(joined(*map(self._element, elts)))
                return row(map(self.of, elts))
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                inside = self._inside(node.generators)
                return many(inside.of(node.elt))
            case ast.DictComp():
                inside = self._inside(node.generators)
                return entries(inside.of(node.key), inside.of(node.value))
            case ast.Subscript(value=value, slice=key):
                held = self.of(value)
                if isinstance(key, ast.Slice):
                    return many(item_of(held))
                return entry_of(held, key.value if isinstance(key, ast.Constant) else None)
            case ast.BinOp(left=left, right=right):
                return joined(*map(_collection, map(self.of, (left, right))))
            case ast.BoolOp(values=values):
                return joined(*map(self.of, values))
            case ast.IfExp(body=body, orelse=orelse):
                return joined(self.of(body), self.of(orelse))
            case ast.NamedExpr(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                return self.of(value)
            case ast.Lambda():
                return self._closure(node)
        return None

    # ------------------------------------------------------------------ names
    def _named(self, node: ast.Name | ast.Attribute) -> Held | None:
        path = path_of(node)
        known = self.variables.get(path) if path is not None else None
        if known is not None:
            return known
        inside = [h for name, h in self.variables.items() if path and name.startswith(f"{path}.")]
        if inside and path not in OWN_OBJECTS:
            return Somehow(frozenset().union(*map(owners, inside)))
        if isinstance(node, ast.Name):
            return None
        computed = self.property_of(node)
        if computed is not None:
            return computed
        held = self.of(node.value)
        if isinstance(held, Somehow):
            return held
        if held is not None:
            return None
        if self._is_parameter(node):
            return Parameter(frozenset(module_paths(node.value)))
        return None

    def _is_parameter(self, node: ast.Attribute) -> bool:
        """Whether `node` reads a parameter of a module by its name."""
        value = self.analysis.value(node)
        if any(isinstance(a, Result) and a.symbol == PARAMETER for a in value):
            return True
        around = self.analysis.value(node.value)
        return node.attr in WEIGHTS and any(map(self._may_be_module, around))

    def _may_be_module(self, atom: Atom) -> bool:
        """Whether an object may be a module, as far as it is known."""
        if isinstance(atom, Method):
            return self._may_be_module(atom.receiver)
        if isinstance(atom, Result):
            return is_torch_module(atom.symbol) or not atom.symbol.startswith(
                ("torch.", "builtins.")
            )
        return isinstance(atom, Unknown | Wrapped) or self.analysis.is_module(atom)

    def _closure(self, node: ast.Lambda) -> Held | None:
        """What a lambda reads from around it, or has as a default."""
        defaults = [self.of(value) for value in (*node.args.defaults, *node.args.kw_defaults)]
        own = {argument.arg for argument in node.args.args}
        read = [n for n in nodes_in(node.body) if isinstance(n, ast.Name) and n.id not in own]
        kept = [held for n in read if (held := self.variables.get(n.id)) is not None]
        kept += [held for held in defaults if held is not None]
        return Somehow(frozenset().union(*map(owners, kept))) if kept else None

    # ------------------------------------------------------------------ displays
    def _element(self, node: ast.expr) -> Held | None:
        return item_of(self.of(node.value)) if isinstance(node, ast.Starred) else self.of(node)

    def _dict(self, keys: list[ast.expr | None], values: list[ast.expr]) -> Held | None:
        found: list[Held | None] = []
        for key, value in zip(keys, values, strict=True):
            held = self.of(value)
            found.append(held if key is None else entries(self.of(key), held))
        return joined(*found)

    def _inside(self, generators: list[ast.comprehension]) -> Reader:
        """The reader of what a comprehension computes for each item."""
        reader = self
        for generator in generators:
            bound = dict(reader.variables)
            bind(bound, generator.target, item_of(reader.of(generator.iter)))
            reader = self._with(bound)
        return reader

    def _with(self, variables: Mapping[str, Held]) -> Reader:
        return replace(self, variables=variables)

    # ------------------------------------------------------------------ calls
    def _call(self, node: ast.Call) -> Held | None:
        own = self.called(node)
        if own is not None:
            return own
        if isinstance(node.func, ast.Attribute):
            found = self._method(node, node.func)
            if found is not None:
                return found
        for name in sorted(symbols(self.analysis.value(node.func))):
            found = self._library(name, node)
            if found is not None:
                return found
        return None

    def _method(self, node: ast.Call, func: ast.Attribute) -> Held | None:
        whose = frozenset(module_paths(func.value))
        if func.attr == "parameters":
            return Items(Parameter(whose))
        if func.attr == "named_parameters":
            return Items(Row((None, Parameter(whose))))
        if func.attr == "get_parameter":
            return Parameter(whose)
        held = self.of(func.value)
        if held is None or isinstance(held, Parameter):
            return None
        key, value = pair_of(held) if isinstance(held, Entries) else (None, item_of(held))
        if func.attr == "items":
            return many(row((key, value)))
        if func.attr == "keys":
            return many(key)
        if func.attr == "values":
            return many(value)
        if func.attr in VALUE_METHODS:
            return value
        if func.attr in SAME_METHODS:
            return joined(held, *map(self.of, node.args))
        return held if isinstance(held, Somehow) else None

    def _library(self, name: str, node: ast.Call) -> Held | None:
        """What a library's function gives of what it is given."""
        given = [self._element(a) if isinstance(a, ast.Starred) else self.of(a) for a in node.args]
        first = given[0] if given else None
        if name == "builtins.id":
            return Parameter(first.owners, is_id=True) if isinstance(first, Parameter) else None
        if name in SAME_ITEMS:
            return many(joined(*map(item_of, given)))
        match name:
            case "itertools.chain.from_iterable":
                return many(item_of(item_of(first)))
            case "builtins.filter":
                return many(item_of(given[1])) if len(given) > 1 else None
            case "builtins.map":
                return self._map(node, given[1:])
            case "builtins.dict" | "collections.OrderedDict" | "collections.defaultdict":
                named = [self.of(keyword.value) for keyword in node.keywords]
                pairs = [entries(*pair_of(g)) for g in given]
                return joined(*pairs, entries(None, joined(*named)))
            case "builtins.dict.fromkeys":
                return entries(item_of(first), given[1] if len(given) > 1 else None)
            case "builtins.enumerate":
                return many(row((None, item_of(first))))
            case "builtins.zip":
                return many(row(map(item_of, given)))
            case "builtins.next":
                return item_of(first)
            case "builtins.sum":
                return item_of(first)
            case "builtins.vars" | "builtins.getattr":
                return first if isinstance(first, Somehow) else None
            case "functools.partial" | "types.MethodType" | "weakref.ref" | "weakref.proxy":
                kept = joined(*given, *(self.of(keyword.value) for keyword in node.keywords))
                return Somehow(owners(kept)) if kept is not None else None
        return None

    def _map(self, node: ast.Call, given: list[Held | None]) -> Held | None:
        """What `map(function, ...)` gives."""
        function = node.args[0]
        items = [item_of(held) for held in given]
        if isinstance(function, ast.Lambda):
            bound = dict(self.variables)
            for argument, item in zip(function.args.args, items, strict=False):
                bind(bound, ast.Name(argument.arg), item)
            return many(self._with(bound).of(function.body))
        if Symbol("builtins.id") in self.analysis.value(function):
            first = items[0] if items else None
            return (
                many(Parameter(first.owners, is_id=True)) if isinstance(first, Parameter) else None
            )
        if any(not isinstance(a, Symbol) for a in self.analysis.value(function)):
            found = frozenset().union(*map(owners, items))
            return many(Somehow(found)) if any(items) else None
        return None


def bind(variables: dict[str, Held], target: ast.expr, held: Held | None) -> None:
    """Give the variables of a comprehension what they are bound to."""
    if isinstance(target, ast.Tuple | ast.List):
        fits = isinstance(held, Row) and len(held.items) == len(target.elts)
        for index, element in enumerate(target.elts):
            part = held.items[index] if fits and isinstance(held, Row) else item_of(held)
            bind(variables, element, part)
    elif isinstance(target, ast.Name):
        variables.pop(target.id, None)
        if held is not None:
            variables[target.id] = held


def _collection(held: Held | None) -> Held | None:
    """What adding, joining or cutting keeps: parameters in a list, not what is computed of one."""
    return None if isinstance(held, Parameter) else held
