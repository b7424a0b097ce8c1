"""Which variables of a function keep parameters, and which statement makes them do so."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import Bound, Cls, Instance
from fsdp_migrate.lowering.held import (
    Held,
    Parameter,
    Somehow,
    entries,
    item_of,
    joined,
    many,
    owners,
    renamed,
)
from fsdp_migrate.lowering.held_by_value import HeldByValue
from fsdp_migrate.lowering.held_expressions import VALUE_METHODS, Reader
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import children, own_nodes
from fsdp_migrate.syntax.paths import path_of

ROUNDS = 4  # through the statements of a function, for what a loop carries back
DEPTH = 4  # functions that are followed inwards
OUTSIDE = "^"  # in front of a path that is one of the caller's
ADDERS = frozenset({"add", "append", "appendleft", "extend", "insert", "setdefault", "update"})
PROPERTIES = frozenset({"cached_property", "property"})
ADDS_ITEMS = frozenset({"extend", "update"})


@dataclass(frozen=True)
class Summary:
    """What a call of a function gives, and puts into what it is given."""

    returned: Held | None
    filled: Mapping[str, Held]


@dataclass
class Frame:
    """A function, or a module's own statements, with what its variables hold."""

    module: Module
    scope: Scope
    variables: dict[str, Held] = field(default_factory=dict)
    made: dict[ast.stmt, set[str]] = field(default_factory=dict)  # by the statement that does it


class ParameterFlow:
    """Follows parameters through the variables, attributes and functions of a program."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._frames: dict[ast.AST, Frame] = {}
        self._summaries: dict[tuple[object, ...], Summary] = {}
        self._open: set[object] = set()
        self._by_value = HeldByValue(analysis)

    def frame(self, module: Module, scope: Scope) -> Frame:
        """What the variables of `scope` hold, its own parameters being unknown."""
        known = self._frames.get(scope)
        if known is None:
            known = self._frames[scope] = Frame(module, scope)
            self._run(known, 0)
        return known

    def held(self, module: Module, node: ast.expr) -> Held | None:
        """What an expression holds of parameters."""
        return self._reader(self.frame(module, module.scope(node)), 0).of(node)

    def held_in_calls(self, module: Module, node: ast.expr) -> Iterator[Held]:
        """What an expression of a function holds when it is given what its callers pass."""
        function = module.function(node)
        info = self.analysis.functions.get(module.site(function)) if function is not None else None
        if info is None:
            return
        for call in self.analysis.call_graph.callers_of(module.site(info.node)):
            home = self.analysis.call_graph.module_of(call)
            outside = self._reader(self.frame(home, home.scope(call)), 0)
            for callee, binding in self._callees(call):
                given = _given(outside, binding) if callee is info else {}
                if given and not isinstance(info.node, ast.Lambda):
                    inside = Frame(module, info.node, dict(given))
                    self._run(inside, 1)
                    held = self._reader(inside, 1).of(node)
                    if held is not None:
                        yield held

    # ------------------------------------------------------------------ statements
    def _reader(self, frame: Frame, depth: int) -> Reader:
        return Reader(
            self.analysis,
            frame.module,
            frame.variables,
            lambda call: self._called(frame, call, depth),
            lambda node: self._property(node, depth),
            lambda node: self._by_value.of(frame.module, node),
        )

    def _run(self, frame: Frame, depth: int) -> None:
        body = own_nodes(frame.scope)
        statements = [n for n in body if isinstance(n, ast.stmt) and n is not frame.scope]
        statements.sort(key=lambda statement: statement.lineno)
        for _ in range(ROUNDS):
            before = dict(frame.variables)
            for statement in statements:
                self._follow(frame, statement, depth)
            if frame.variables == before:
                return

    def _follow(self, frame: Frame, statement: ast.stmt, depth: int) -> None:
        """Note what `statement` makes variables hold."""
        reader = self._reader(frame, depth)
        for target, held in _bound(reader, statement):
            _store(frame, statement, target, held)
            if isinstance(statement, ast.AugAssign):  # a list is filled
                for each in _same_objects(frame.scope, target, DEPTH):
                    _store(frame, statement, each, held)
        for node in own_parts(statement):
            if isinstance(node, ast.NamedExpr):
                _store(frame, statement, node.target, reader.of(node.value))
            elif isinstance(node, ast.Call):
                for target, held in self._filled(reader, frame, node, depth):
                    for each in (target, *_same_objects(frame.scope, target, DEPTH)):
                        _store(frame, statement, each, held)

    def _filled(
        self, reader: Reader, frame: Frame, call: ast.Call, depth: int
    ) -> Iterator[tuple[ast.expr, Held | None]]:
        """What a call puts parameters into."""
        if isinstance(call.func, ast.Attribute) and call.func.attr in ADDERS:
            given = [reader.of(argument) for argument in call.args]
            if call.func.attr in ADDS_ITEMS:
                given = [g if g is None or not isinstance(g, Parameter) else None for g in given]
                yield call.func.value, joined(*given)
            elif call.func.attr == "setdefault":
                yield call.func.value, entries(given[0], joined(*given[1:])) if given else None
            else:
                yield call.func.value, many(joined(*given))
        for info, binding in self._callees(call):
            given_names = _given(reader, binding)
            for name, held in self._summary(info, given_names, depth).filled.items():
                argument = binding.get(name)
                if argument is not None:
                    yield argument, renamed(held, _outwards(binding))

    # ------------------------------------------------------------------ calls
    def _called(self, frame: Frame, call: ast.Call, depth: int) -> Held | None:
        """What a call of the program's own functions gives."""
        reader = self._reader(frame, depth)
        found: list[Held | None] = []
        for info, binding in self._callees(call):
            done = self._summary(info, _given(reader, binding), depth)
            found.append(renamed(done.returned, _outwards(binding)))
            if info.name == "__init__":
                kept = self._given_to(info, done)
                inside = joined(*(renamed(h, _outwards(binding)) for h in kept))
                found.append(Somehow(owners(inside)) if inside is not None else None)
        return joined(*found)

    def _given_to(self, info: FunctionInfo, done: Summary) -> list[Held]:
        """What an object keeps of what its `__init__` is given, rather than takes from a model."""
        own = f"{info.positional[0].arg}." if info.positional else "self."
        taken = self.frame(info.module, info.node).variables
        return [
            held for path, held in done.filled.items() if path.startswith(own) and path not in taken
        ]

    def _property(self, node: ast.Attribute, depth: int) -> Held | None:
        """What a property gives."""
        found: list[Held | None] = []
        for atom in self.analysis.value(node.value):
            site = self.analysis.method(atom.cls, node.attr) if isinstance(atom, Instance) else None
            info = self.analysis.functions[site] if site is not None else None
            if info is not None and info.decorators & PROPERTIES and info.positional:
                done = self._summary(info, {}, depth)
                binding = {info.positional[0].arg: node.value}
                found.append(renamed(done.returned, _outwards(binding)))
        return joined(*found)

    def _callees(self, call: ast.Call) -> Iterator[tuple[FunctionInfo, Mapping[str, ast.expr]]]:
        """The functions of the program that `call` runs, with what it passes for their names."""
        for atom in self.analysis.value(call.func):
            site = called_function(atom, self.analysis.method)
            if site is None:
                continue
            info = self.analysis.functions[site]
            names = [argument.arg for argument in info.positional]
            binding: dict[str, ast.expr] = {}
            if isinstance(atom, Bound | Cls) and names and not info.is_static:
                receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
                if isinstance(atom, Bound) and receiver is not None:
                    binding[names[0]] = receiver
                names = names[1:]
            for name, argument in zip(names, call.args, strict=False):
                if isinstance(argument, ast.Starred):
                    break
                binding[name] = argument
            binding |= {k.arg: k.value for k in call.keywords if k.arg is not None}
            yield info, binding

    def _summary(self, info: FunctionInfo, given: Mapping[str, Held], depth: int) -> Summary:
        key = (info.node, tuple(sorted(given.items(), key=lambda pair: pair[0])))
        known = self._summaries.get(key)
        if known is not None:
            return known
        if depth >= DEPTH or info.node in self._open:
            return Summary(None, {})
        self._open.add(info.node)
        done = self._summaries[key] = self._summarised(info, given, depth)
        self._open.discard(info.node)
        return done

    def _summarised(self, info: FunctionInfo, given: Mapping[str, Held], depth: int) -> Summary:
        inside = Frame(info.module, info.node, dict(given))
        reader = self._reader(inside, depth + 1)
        if isinstance(info.node, ast.Lambda):
            return Summary(reader.of(info.node.body), {})
        self._run(inside, depth + 1)
        nodes = list(own_nodes(info.node))
        found = [reader.of(n.value) for n in nodes if isinstance(n, ast.Return) and n.value]
        found += [many(reader.of(n.value)) for n in nodes if isinstance(n, ast.Yield) and n.value]
        found += [reader.of(n.value) for n in nodes if isinstance(n, ast.YieldFrom)]
        names = {argument.arg for argument in info.positional}
        filled = {
            path: held
            for path, held in inside.variables.items()
            if path.partition(".")[0] in names and given.get(path) != held
        }
        return Summary(joined(*found), filled)


def _given(reader: Reader, binding: Mapping[str, ast.expr]) -> Mapping[str, Held]:
    """What the arguments of a call hold, with the caller's paths marked as such."""
    found = {
        name: renamed(reader.of(node), lambda p: f"{OUTSIDE}{p}") for name, node in binding.items()
    }
    return {name: held for name, held in found.items() if held is not None}


def _outwards(binding: Mapping[str, ast.expr]) -> Callable[[str], str | None]:
    """How the caller calls what the callee calls by a path."""

    def rename(path: str) -> str | None:
        if path.startswith(OUTSIDE):
            return path.removeprefix(OUTSIDE)
        head, _, rest = path.partition(".")
        outer = path_of(binding[head]) if head in binding else None
        if outer is None:
            return None
        return f"{outer}.{rest}" if rest else outer

    return rename


def own_parts(statement: ast.stmt) -> Iterator[ast.AST]:
    """What is in a statement, the statements inside of it apart."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            todo.extend(n for n in children(node) if not isinstance(n, ast.stmt))


def _bound(reader: Reader, statement: ast.stmt) -> Iterator[tuple[ast.expr, Held | None]]:
    """What a statement binds itself, and what that holds."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, reader.of(value)) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, reader.of(value)
        case ast.AugAssign(target=target, value=value):
            yield target, reader.of(value)
        case ast.For(target=target, iter=iterated):
            yield target, item_of(reader.of(iterated))
        case ast.With(items=items):
            for item in items:
                if item.optional_vars is not None:
                    yield item.optional_vars, reader.of(item.context_expr)


def _store(frame: Frame, statement: ast.stmt, target: ast.expr, held: Held | None) -> None:
    """Note that `statement` makes `target` hold something."""
    if held is None:
        return
    match target:
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            for index, element in enumerate(elts):
                part = held.items[index] if _fits(held, elts) else item_of(held)  # type: ignore[union-attr]
                _store(frame, statement, element, part)
        case ast.Starred(value=value):
            _store(frame, statement, value, many(held))
        case ast.Subscript(value=value, slice=key):
            literal = isinstance(key, ast.Constant) and isinstance(key.value, int)
            _store(frame, statement, value, many(held) if literal else entries(None, held))
        case ast.IfExp(body=body, orelse=orelse):
            _store(frame, statement, body, held)
            _store(frame, statement, orelse, held)
        case ast.Call(func=ast.Attribute(value=value)):  # `groups.setdefault(...).append(p)`
            _store(frame, statement, value, entries(None, held))
        case _:
            path = path_of(target)
            if path is not None:
                frame.variables[path] = joined(frame.variables.get(path), held) or held
                frame.made.setdefault(statement, set()).add(path)


def _same_objects(scope: Scope, target: ast.expr, depth: int) -> Iterator[ast.expr]:
    """What else is filled when `target` is: after `chosen = a if test else b`, both of these."""
    if depth == 0:
        return
    if isinstance(target, ast.Subscript):
        for around in _same_objects(scope, target.value, depth):
            yield ast.Subscript(around, target.slice, target.ctx)
    if not isinstance(target, ast.Name):
        return
    for node in own_nodes(scope):
        value: ast.expr | None = None
        if isinstance(node, ast.Assign) and any(_is_name(t, target.id) for t in node.targets):
            value = node.value
        elif isinstance(node, ast.For) and _is_name(node.target, target.id):
            value = ast.Subscript(node.iter, ast.Constant(0), target.ctx)  # an item of it
        value = _taken_out(value) if isinstance(value, ast.Call) else value
        if isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.IfExp):
            yield value
            yield from _same_objects(scope, value, depth - 1)


def _taken_out(call: ast.Call) -> ast.expr:
    """The item that a call gives of a dict: `groups[key]` of `groups.setdefault(key, [])`."""
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr in VALUE_METHODS:
        return ast.Subscript(func.value, ast.Constant(0), ast.Load())
    return call


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _fits(held: Held, elements: Iterable[ast.expr]) -> bool:
    """Whether `held` is a tuple with an item for each of `elements`."""
    items = getattr(held, "items", None)
    elements = list(elements)
    return (
        isinstance(items, tuple)
        and len(items) == len(elements)
        and not any(isinstance(element, ast.Starred) for element in elements)
    )
