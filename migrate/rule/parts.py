"""Which FSDP1 model an expression is a part of: `model.encoder`, a child in a loop, `getattr`.

A part is a plain module to the eye: values say what it is, not where it comes from.  So the code is
followed back, through variables, loops, arguments and attributes, to the model that it is taken of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.library.modules import OTHER_WRAPPERS, SUBMODULES, is_torch_module
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Bound,
    Instance,
    Method,
    Result,
    Unknown,
    Value,
    Wrapped,
    symbols,
)
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.syntax.module import Function, Module, Scope, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

Models = frozenset[Wrapped]
NO_MODEL: Models = frozenset()
# Methods of modules, dicts and lists that give parts of what they are called on.
GIVE_PARTS = frozenset({*SUBMODULES, "get_submodule", "get", "items", "pop", "values"})
# Functions that give what they are given, or a part of it.
PASS_ON = frozenset(
    f"builtins.{name}"
    for name in (
        "dict", "enumerate", "getattr", "iter", "list", "next", "reversed", "sorted", "tuple",
    )
)  # fmt: skip
DEPTH = 8
MOST = 60  # expressions that one is followed back to
Place = tuple[Module, ast.expr]


class Parts:
    """Answers for one program."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._sharded = ShardedTensors(analysis)
        self._makers: dict[ast.AST, frozenset[ast.expr]] = {}

    def owners(self, module: Module, node: ast.expr) -> Models:
        """The models that `node` is a part of; none if it is one itself, or no module at all."""
        value = self._analysis.value(node)
        if any(isinstance(atom, Wrapped) for atom in value):
            return NO_MODEL
        if not all(map(self._may_be_module, value - NONE)):
            return NO_MODEL
        found = self._models((module, node), frozenset())
        return found or self._of_wrapped((module, node))

    def _of_wrapped(self, place: Place) -> Models:
        """The models that have what `place` is, or is a part of, inside of them.

        That is `net.encoder`, or a name for it, below `model = FSDP(net)`; and `net` itself.
        """
        origins = [place, *self._origins(place)]
        return frozenset(
            Wrapped(fact.site)
            for fact in self._analysis.wraps.values()
            if any(
                self._is_inside_of(fact, origin) and self._is_below(place, origin, fact)
                for origin in origins
            )
        )

    def _is_below(self, place: Place, origin: Place, fact: WrapFact) -> bool:
        """Whether a place runs after the wrap of what comes from `origin`.

        Where both are steps of one function their order is known; the wrap may have others to do.
        """
        home, node = origin
        function = home.function(node)
        wraps = [
            wrap.lineno
            for module, wrap in self._sharded.places(fact)
            if module is home and module.function(wrap) is function and isinstance(wrap, ast.expr)
        ]
        steps = list(self._steps_in(function, *place, DEPTH)) if wraps else []
        if steps:
            return max(steps) > min(wraps)
        return self._sharded.is_below(*place, fact)

    def _steps_in(
        self, home: Scope | None, module: Module, node: ast.expr, depth: int
    ) -> Iterator[int]:
        """The lines of the function `home` where `node` is run from."""
        function = module.function(node)
        if function is home:
            yield node.lineno
        elif function is not None and depth:
            graph = self._analysis.call_graph
            for call in graph.callers_of(module.site(function)):
                yield from self._steps_in(home, graph.module_of(call), call, depth - 1)

    def _is_other_wrapper(self, node: ast.expr) -> bool:
        value = self._analysis.value(node) - NONE
        return bool(value) and all(
            isinstance(atom, Result) and atom.symbol in OTHER_WRAPPERS for atom in value
        )

    def _is_inside_of(self, fact: WrapFact, place: Place) -> bool:
        """Whether an expression is the module that a wrap was given."""
        module, node = place
        given = fact.arguments.get("module")
        if given is None or given.node is None:
            return False
        if node is given.node or (isinstance(node, ast.Call) and node in self._made(fact)):
            return True
        return (
            path_of(node) is not None
            and path_of(node) == path_of(given.node)
            and module.function(node) is fact.module.function(fact.node)
        )

    def _made(self, fact: WrapFact) -> frozenset[ast.expr]:
        """The calls that make the module that a wrap was given."""
        known = self._makers.get(fact.node)
        if known is None:
            given = fact.arguments["module"].node
            assert given is not None
            known = self._makers[fact.node] = frozenset(
                node
                for _, node in [(fact.module, given), *self._origins((fact.module, given))]
                if isinstance(node, ast.Call) and fact.inner & self._analysis.value(node)
            )
        return known

    def _origins(self, place: Place) -> Iterator[Place]:
        """All that an expression is taken of, however far."""
        found, todo = {place[1]}, [place]
        while todo and len(found) < MOST:
            for source in self._sources(*todo.pop()):
                if source[1] not in found and not self._is_other_wrapper(source[1]):
                    found.add(source[1])
                    todo.append(source)
                    yield source

    def _may_be_module(self, atom: Atom) -> bool:
        if isinstance(atom, Instance):
            return self._analysis.is_module(atom)
        if isinstance(atom, Result):
            if atom.symbol.startswith("builtins."):
                return True  # an item of something
            return is_torch_module(atom.symbol) and atom.symbol not in OTHER_WRAPPERS
        return isinstance(atom, Unknown | Method)

    def _models(self, place: Place, seen: frozenset[ast.expr]) -> Models:
        """The models that an expression is, or is a part of."""
        _, node = place
        value = self._analysis.value(node)
        found = frozenset(a for a in value if isinstance(a, Wrapped))
        if found or node in seen or len(seen) > DEPTH:
            return found
        if value and all(isinstance(a, Result) and a.symbol in OTHER_WRAPPERS for a in value):
            return NO_MODEL
        sources = self._sources(*place)
        every = [self._models(source, seen | {node}) for source in sources]
        if not all(every) and self._holds_each(node):
            return NO_MODEL
        return NO_MODEL.union(*every)

    def _holds_each(self, node: ast.expr) -> bool:
        """Whether each of the sources of `node` may be what is taken out of it."""
        if isinstance(node, ast.Call):
            return "builtins.zip" in symbols(self._analysis.value(node.func))
        return isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict)

    def _sources(self, module: Module, node: ast.expr) -> Iterator[Place]:
        """The expressions that `node` is taken of."""
        match node:
            case ast.Attribute():
                yield module, node.value
                yield from self._stored(self._analysis.value(node.value), node.attr)
            case ast.Subscript() | ast.Starred() | ast.Await() | ast.NamedExpr():
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
                yield from self._variable(module, node)

    def _called(self, module: Module, call: ast.Call) -> Iterator[Place]:
        callee = self._analysis.value(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr in GIVE_PARTS:
            yield module, call.func.value
        names = symbols(callee)
        if names & PASS_ON:
            yield from ((module, argument) for argument in call.args[:1])
        elif names & {"builtins.filter", "builtins.zip"}:
            every = call.args if "builtins.zip" in names else call.args[1:]
            yield from ((module, argument) for argument in every)
        for atom in callee:
            site = called_function(atom, self._analysis.method)
            info = self._analysis.functions.get(site) if site is not None else None
            for node in scope_nodes(info.node) if info is not None else ():
                if isinstance(node, ast.Return) and node.value is not None and info is not None:
                    yield info.module, node.value

    def _stored(self, owner: Value, attr: str) -> Iterator[Place]:
        """What the methods of a class of the program store as `self.attr`."""
        for atom in owner:
            if not isinstance(atom, Instance) or self._analysis.is_module(atom):
                continue
            for site in self._analysis.lineage(atom.cls):
                info = self._analysis.classes[site]
                for node in nodes_in(info.node):
                    if isinstance(node, ast.Assign):
                        for target in node.targets:
                            for value in _assigned(target, node.value, attr, as_attribute=True):
                                yield info.module, value

    # ------------------------------------------------------------------ variables
    def _variable(self, module: Module, name: ast.Name) -> Iterator[Place]:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
        for scope in module.ancestors(name):
            if not isinstance(scope, kinds):
                continue
            # Were it the model that it is bound to, that would be its value here.
            bound = [node for node in _bound(scope, name.id) if not self._is_model(node)]
            found = [*bound, *_taken_from(scope, name.id)]
            yield from ((module, source) for source in found)
            if not isinstance(scope, ast.Module):
                passed = list(self._passed(module, scope, name.id))
                yield from passed
                found += [node for _, node in passed]
            if found:
                return

    def _is_model(self, node: ast.expr) -> bool:
        return any(isinstance(atom, Wrapped) for atom in self._analysis.value(node))

    def _passed(self, module: Module, function: Function, name: str) -> Iterator[Place]:
        """What the calls of `function` pass as its parameter `name`."""
        info = self._analysis.functions[module.site(function)]
        names = [arg.arg for arg in info.positional]
        graph = self._analysis.call_graph
        for call in graph.callers_of(module.site(function)):
            home = graph.module_of(call)
            bound = any(isinstance(atom, Bound) for atom in self._analysis.value(call.func))
            given = dict(zip(names[1:] if bound else names, call.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
            if name in given:
                yield home, given[name]
            elif bound and names[:1] == [name] and isinstance(call.func, ast.Attribute):
                yield home, call.func.value


def _bound(scope: Scope, name: str) -> Iterator[ast.expr]:
    """What a variable is bound to in `scope`."""
    for node in scope_nodes(scope):
        match node:
            case ast.Assign():
                for target in node.targets:
                    yield from _assigned(target, node.value, name)
            case ast.AnnAssign(value=ast.expr() as value) | ast.NamedExpr(value=value):
                if _binds(node.target, name):
                    yield value


def _taken_from(scope: Scope, name: str) -> Iterator[ast.expr]:
    """What a variable is an item of, in a loop of `scope`."""
    for node in scope_nodes(scope):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            if _binds(node.target, name):
                yield node.iter


def _assigned(
    target: ast.expr, value: ast.expr, name: str, as_attribute: bool = False
) -> Iterator[ast.expr]:
    """The part of `value` that a statement binds to a variable, or sets as an attribute."""
    pair = (ast.Tuple, ast.List)
    if isinstance(target, pair) and isinstance(value, pair) and len(target.elts) == len(value.elts):
        for inner, part in zip(target.elts, value.elts, strict=True):
            yield from _assigned(inner, part, name, as_attribute)
    elif as_attribute:
        if isinstance(target, ast.Attribute) and target.attr == name:
            yield value
    elif _binds(target, name):
        yield value


def _binds(target: ast.expr, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for node in nodes_in(target)
    )
