"""Where a value comes from: the expressions that another expression is taken of.

The analysis knows one object for all instances of a class.  Which of two models it is that a name
stands for, only the code says: it is followed back through variables, loops, arguments, attributes
and items.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.library.modules import RETURN_SELF, SUBMODULES
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import (
    Bound,
    Cls,
    Container,
    Instance,
    Result,
    Unknown,
    Value,
    Wrapped,
    symbols,
)
from fsdp_migrate.rule.stores import attribute_stores, item_stores, kept_items
from fsdp_migrate.syntax.module import Function, Module, Scope, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

# Methods of modules, dicts and lists that give parts of what they are called on.
GIVE_PARTS = frozenset({*SUBMODULES, "get_submodule", "get", "items", "pop", "values"})
# Functions that give what they are given, or a part of it.
PASS_ON = frozenset(
    f"builtins.{name}"
    for name in (
        "dict", "enumerate", "getattr", "iter", "list", "next", "reversed", "sorted", "tuple",
    )
)  # fmt: skip
Place = tuple[Module, ast.expr]


class Origins:
    """Answers for one program."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._by_attribute: dict[str, list[tuple[Module, ast.expr, ast.expr]]] | None = None
        self._known: dict[tuple[ast.expr, bool], tuple[Place, ...]] = {}

    def sources(self, module: Module, node: ast.expr, items: bool = True) -> tuple[Place, ...]:
        """The expressions that `node` is taken of.

        With `items`, those that are put into it later are among them: it may be a list of them.
        """
        known = self._known.get((node, items))
        if known is None:
            known = self._known[node, items] = tuple(self._sources(module, node, items))
        return known

    def _sources(self, module: Module, node: ast.expr, items: bool) -> Iterator[Place]:
        if items:
            yield from self._put_into(self._analysis.value(node))
        match node:
            case ast.Attribute():
                yield module, node.value
                yield from self._stored(self._analysis.value(node.value), node.attr)
            case ast.Subscript():
                known = self._items(module, node)
                yield from [(module, node.value)] if known is None else known
            case ast.Starred() | ast.Await() | ast.NamedExpr():
                yield module, node.value
            case ast.IfExp():
                yield from ((module, part) for part in (node.body, node.orelse))
            case ast.BoolOp():
                yield from ((module, part) for part in node.values)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                yield module, node.elt
            case ast.DictComp():
                yield module, node.value
            case ast.List() | ast.Tuple() | ast.Set():
                yield from ((module, part) for part in node.elts)
            case ast.Dict():
                yield from ((module, part) for part in node.values)
            case ast.Call():
                yield from self._called(module, node)
            case ast.Name():
                yield from self._variable(module, node, items)

    # ------------------------------------------------------------------ calls
    def _called(self, module: Module, call: ast.Call) -> Iterator[Place]:
        callee = self._analysis.value(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr in GIVE_PARTS | RETURN_SELF:
            yield module, call.func.value
        names = symbols(callee)
        if names & PASS_ON:
            yield from ((module, argument) for argument in call.args[:1])
        elif names & {"builtins.filter", "builtins.zip"}:
            every = call.args if "builtins.zip" in names else call.args[1:]
            yield from ((module, argument) for argument in every)
        for atom in callee:
            if not isinstance(atom, Cls):
                yield from self._returned(called_function(atom, self._analysis.method))

    def _returned(self, function: Site | None) -> Iterator[Place]:
        """What a function of the program gives."""
        info = self._analysis.functions.get(function) if function is not None else None
        for node in scope_nodes(info.node) if info is not None else ():
            if isinstance(node, ast.Return) and node.value is not None and info is not None:
                yield info.module, node.value

    def _passed(self, module: Module, function: Function, name: str) -> Iterator[Place]:
        """What the calls of `function` pass as its parameter `name`, or else its default."""
        info = self._analysis.functions[module.site(function)]
        graph = self._analysis.call_graph
        for call in graph.callers_of(module.site(function)):
            home, takes_self = graph.module_of(call), self._takes_self(info, call)
            if takes_self and info.positional[0].arg == name:
                if isinstance(call.func, ast.Attribute):
                    yield home, call.func.value
                continue
            names = [arg.arg for arg in info.positional[takes_self:]]
            given = list(given_to(call, names, name, info.node.args.vararg, info.node.args.kwarg))
            yield from ((home, source) for source in given)
        default = _default(function, name)
        if default is not None:
            yield module, default

    def _takes_self(self, info: FunctionInfo, call: ast.Call) -> bool:
        """Whether the first parameter of a method is the object, and no argument of `call`."""
        value = self._analysis.value(call.func)
        return bool(info.positional) and any(isinstance(atom, Bound | Cls) for atom in value)

    # ------------------------------------------------------------------ attributes and items
    def _stored(self, owner: Value, attr: str) -> Iterator[Place]:
        """What is stored as an attribute of an object that is no model."""
        for atom in owner:
            if isinstance(atom, Result) and atom.site in self._analysis.call_nodes:
                call = self._analysis.call_nodes[atom.site]
                home = self._analysis.call_graph.module_of(call)
                yield from ((home, k.value) for k in call.keywords if k.arg == attr)
            if not isinstance(atom, Instance) or self._analysis.is_module(atom):
                continue
            lineage = frozenset(self._analysis.lineage(atom.cls))
            for home, target, value in self._stores().get(attr, ()):
                held = self._analysis.value(target)
                if any(isinstance(a, Instance) and a.cls in lineage for a in held):
                    yield home, value
            yield from self._of_class(atom.cls, attr)

    def _of_class(self, cls: Site, attr: str) -> Iterator[Place]:
        """What a property gives, and what the constructor of a dataclass is given for a field."""
        method = self._analysis.method(cls, attr)
        if method is not None:
            yield from self._returned(method)
        if self._analysis.method(cls, "__init__") is not None:
            return
        bodies = [self._analysis.classes[site].node for site in self._analysis.lineage(cls)[::-1]]
        fields = [
            each.target.id
            for body in bodies
            for each in body.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        graph = self._analysis.call_graph
        for call in self._made.get(cls, ()) if attr in fields else ():
            home = graph.module_of(call)
            yield from ((home, source) for source in given_to(call, fields, attr))

    @cached_property
    def _made(self) -> Mapping[Site, list[ast.Call]]:
        """The calls that make an instance, by its class."""
        found: dict[Site, list[ast.Call]] = {}
        for call in self._analysis.call_nodes.values():
            for atom in self._analysis.value(call.func):
                if isinstance(atom, Cls):
                    found.setdefault(atom.site, []).append(call)
        return found

    def _stores(self) -> Mapping[str, list[tuple[Module, ast.expr, ast.expr]]]:
        """All that is stored as an attribute: where, on which object, and what."""
        if self._by_attribute is None:
            self._by_attribute = {}
            for module in self._analysis.project.modules.values():
                for node in nodes_in(module.tree):
                    for attr, target, value in attribute_stores(node):
                        self._by_attribute.setdefault(attr, []).append((module, target, value))
        return self._by_attribute

    def _items(self, module: Module, node: ast.Subscript) -> list[Place] | None:
        """What `state["model"]` is, where all keys of `state` are written; None where not."""
        if not isinstance(node.slice, ast.Constant) or not isinstance(node.value, ast.Name):
            return None
        for scope in module.ancestors(node):
            if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                continue
            bound = list(_bound(scope, node.value.id, items=False))
            if not bound:
                continue
            if not all(isinstance(each, ast.Dict) and _has_plain_keys(each) for each in bound):
                return None
            kept = [*kept_items(scope, node.value.id, node.slice.value)]
            shown = [
                value
                for each in bound
                if isinstance(each, ast.Dict)
                for key, value in zip(each.keys, each.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == node.slice.value
            ]
            found = [each for each in (*shown, *kept) if not self._is_model(each)]
            return [(module, each) for each in found]
        return None

    def _put_into(self, lists: Value) -> Iterator[Place]:
        """What is put into lists and dicts, under whatever name they are known where that is."""
        for atom in lists:
            if isinstance(atom, Container):
                yield from self._puts.get(atom, ())

    @cached_property
    def _puts(self) -> Mapping[Container, list[Place]]:
        """All that methods of lists and dicts keep, and what is stored as an item."""
        found: dict[Container, list[Place]] = {}
        for module in self._analysis.project.modules.values():
            for node in nodes_in(module.tree):
                for target, value in item_stores(node):
                    for atom in self._analysis.value(target):
                        if isinstance(atom, Container):
                            found.setdefault(atom, []).append((module, value))
        return found

    # ------------------------------------------------------------------ variables
    def _variable(self, module: Module, name: ast.Name, items: bool) -> Iterator[Place]:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
        for scope in module.ancestors(name):
            if not isinstance(scope, kinds) or _is_default(scope, name):
                continue
            # Were it the model that it is bound to, that would be its value here.
            bound = [node for node in _bound(scope, name.id, items) if not self._is_model(node)]
            found = [*bound, *_taken_from(scope, name.id)]
            yield from ((module, source) for source in found)
            if not isinstance(scope, ast.Module):
                passed = list(self._passed(module, scope, name.id))
                known = self._is_known(name) and not _is_self(module, scope, name)
                yield from (p for p in passed if not known or not self._is_model(p[1]))
                if any(arg.arg == name.id for arg in _parameters(scope)):
                    return
            if found:
                return

    def _is_known(self, name: ast.Name) -> bool:
        """Whether all is known that a variable can be here: below a test of its class, say."""
        value = self._analysis.value(name)
        return bool(value) and not any(isinstance(atom, Unknown) for atom in value)

    def _is_model(self, node: ast.expr) -> bool:
        return any(isinstance(atom, Wrapped) for atom in self._analysis.value(node))


def given_to(
    call: ast.Call,
    names: list[str],
    name: str,
    star: ast.arg | None = None,
    keywords: ast.arg | None = None,
) -> Iterator[ast.expr]:
    """What `call` gives the parameter `name` of a function whose positional ones are `names`.

    `star` and `keywords` are its `*args` and `**kwargs`.  Of what is given with stars, all is.
    """
    before = next((i for i, a in enumerate(call.args) if isinstance(a, ast.Starred)), None)
    for i, argument in enumerate(call.args):
        if before is not None and i >= before:
            yield argument
        elif i < len(names):
            if names[i] == name:
                yield argument
        elif star is not None and star.arg == name:
            yield argument
    for keyword in call.keywords:
        more = keywords is not None and keywords.arg == name and keyword.arg not in names
        if keyword.arg == name or more:
            yield keyword.value
        elif keyword.arg is None:
            shown = keyword.value
            if not isinstance(shown, ast.Dict) or not _has_plain_keys(shown):
                yield shown
                continue
            for key, value in zip(shown.keys, shown.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name:
                    yield value


def _parameters(function: Function) -> list[ast.arg]:
    args = function.args
    stars = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *stars]


def _is_self(module: Module, function: Function, name: ast.Name) -> bool:
    """Whether a name is the object of a method: for a model's own, that is the module inside."""
    first = [*function.args.posonlyargs, *function.args.args][:1]
    in_class = isinstance(module.parents[function], ast.ClassDef)
    return in_class and any(arg.arg == name.id for arg in first)


def _default(function: Function, name: str) -> ast.expr | None:
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    named = zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True)
    found = {arg.arg: value for arg, value in named}
    for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if value is not None:
            found[arg.arg] = value
    return found.get(name)


def _is_default(scope: Scope, name: ast.Name) -> bool:
    """Whether a name stands in a default of `scope`, which the scope around it evaluates."""
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    defaults = [*scope.args.defaults, *filter(None, scope.args.kw_defaults)]
    return any(node is name for default in defaults for node in nodes_in(default))


def _has_plain_keys(node: ast.Dict) -> bool:
    return all(isinstance(key, ast.Constant) for key in node.keys)


def _bound(scope: Scope, name: str, items: bool) -> Iterator[ast.expr]:
    """What a variable is bound to in `scope`, and what is stored in it as an item."""
    for node in scope_nodes(scope):
        match node:
            case ast.Assign():
                for target in node.targets:
                    yield from _assigned(target, node.value, name)
            case ast.AnnAssign(value=ast.expr() as value) | ast.NamedExpr(value=value):
                if _binds(node.target, name):
                    yield value
    if items:
        yield from kept_items(scope, name)


def _taken_from(scope: Scope, name: str) -> Iterator[ast.expr]:
    """What a variable is an item of, in a loop of `scope`."""
    for node in scope_nodes(scope):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            if _binds(node.target, name):
                yield node.iter


def _assigned(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    """The part of `value` that an assignment binds to a variable."""
    pair = (ast.Tuple, ast.List)
    if isinstance(target, pair) and isinstance(value, pair) and len(target.elts) == len(value.elts):
        for inner, part in zip(target.elts, value.elts, strict=True):
            yield from _assigned(inner, part, name)
    elif _binds(target, name):
        yield value


def _binds(target: ast.expr, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for node in nodes_in(target)
    )
