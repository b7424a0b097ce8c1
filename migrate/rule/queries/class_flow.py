"""What becomes of a class that is passed on as a value: is it asked for, is it called?

`holds(model, FSDP)` hands the class to a parameter, which goes into `isinstance`, or to the
same function again.  It is followed through parameters, variables, attributes and results.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.functions import DISPATCHING
from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Instance,
    ModuleRef,
    Symbol,
    symbols,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_askers import only_ask
from fsdp_migrate.rule.queries.class_fates import Fate, Fates
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

TESTS = frozenset({"builtins.isinstance", "builtins.issubclass"})
COLLECTED = frozenset({f"builtins.{name}" for name in ("frozenset", "list", "set", "tuple")})
SHOWN = frozenset({"__module__", "__name__", "__qualname__"})
ASSERTIONS = frozenset({"assertIsInstance", "assertNotIsInstance"})
TAKES_OUT = frozenset({"get", "items", "keys", "pop", "values"})
FOLLOWED = ("builtins.", "torch.", "typing.")
PUTS_IN = frozenset({"add", "append", "extend", "insert", "setdefault", "update"})
_CARRIERS = (
    ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Starred, ast.IfExp, ast.BoolOp, ast.BinOp
)  # fmt: skip


def fates(facts: Facts, module: Module, node: ast.expr) -> Fates:
    """All that is done with the class that `node` is."""
    flow = _Flow(facts)
    found = frozenset(flow.of(module, node))
    known = frozenset(fate for fate, is_known in found if is_known)
    others = frozenset(fate for fate, is_known in found if not is_known)
    return Fates(known, others, frozenset(flow.known), flow.is_passed)


Found: TypeAlias = Fate | tuple[Fate, bool]


@dataclass
class _Flow:
    """The places that one class reaches, each looked at once."""

    facts: Facts
    seen: set[ast.AST] = field(default_factory=set)
    known: set[ast.AST] = field(default_factory=set)
    is_passed: bool = False

    def of(self, module: Module, node: ast.AST) -> Iterator[tuple[Fate, bool]]:
        """What is done with the class at `node`, and whether that is known to be this class."""
        if node in self.seen:
            return
        is_known = (
            bool(self.seen)
            and isinstance(node, ast.Name | ast.Attribute)
            and symbol_of(self.facts.value(node)) is not None
        )
        if is_known:
            self.known.add(node)
        self.seen.add(node)
        for fate in self._of(module, node):
            if isinstance(fate, Fate):
                yield fate, is_known
            else:
                yield fate

    def _of(self, module: Module, node: ast.AST) -> Iterator[Found]:
        parent = module.parents[node]
        match parent:
            case ast.Call():
                yield from self._passed(module, parent, node)
            case ast.keyword():
                yield from self._passed(module, module.parents[parent], node)
            case ast.Attribute(attr=attr) if attr in TAKES_OUT:
                yield from self._taken_out(module, parent)
            case ast.Attribute(attr=attr) if attr in PUTS_IN:
                pass
            case ast.Attribute():
                yield Fate.SHOWN if parent.attr in SHOWN else Fate.OTHER
            case ast.Subscript() if parent.value is node:
                if isinstance(parent.ctx, ast.Load) and self._may_be_it(parent):
                    yield from self.of(module, parent)
            case ast.FormattedValue():
                yield Fate.SHOWN
            case ast.MatchClass():
                yield Fate.TESTED
            case ast.Assign() | ast.AnnAssign() if parent.value is node:
                targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
                for target in targets:
                    yield from self._stored(module, target)
            case ast.For() | ast.comprehension() if parent.iter is node:
                yield from self._stored(module, parent.target)
            case ast.arguments():
                yield from self._default(module, parent, node)
            case ast.Return():
                yield from self._returned(module, parent)
            case _ if isinstance(parent, _CARRIERS):
                if isinstance(parent, ast.Dict) and node in parent.keys:
                    yield Fate.KEY
                yield from self.of(module, parent)
            case _:
                yield Fate.OTHER

    # ------------------------------------------------------------------ calls
    def _taken_out(self, module: Module, method: ast.Attribute) -> Iterator[Found]:
        """What becomes of what `kinds.get(name)` gives."""
        call = module.parents[method]
        if isinstance(call, ast.Call) and call.func is method:
            yield from self.of(module, call)
        else:
            yield Fate.OTHER

    def _passed(self, module: Module, call: ast.AST, node: ast.AST) -> Iterator[Found]:
        if not isinstance(call, ast.Call):
            yield Fate.OTHER
            return
        if node is call.func or module.site(call) in self.facts.wraps:
            yield Fate.CALLED  # here, or by a library that makes models by it
            return
        callee = self.facts.value(call.func)
        names = symbols(callee)
        if names and len(names) == len(callee):
            if (names <= TESTS and node in call.args[1:]) or only_ask(names, call, node):
                yield Fate.TESTED
            elif names <= COLLECTED:
                yield from self.of(module, call)
            elif names <= {"functools.partial"}:
                yield from self._bound(call, node)
            elif names <= {"builtins.print", "builtins.str"}:
                yield Fate.SHOWN
            else:
                yield (
                    Fate.OTHER if all(name.startswith(FOLLOWED) for name in names) else Fate.UNSEEN
                )
        elif self._asserts(call):
            yield Fate.TESTED
        elif isinstance(call.func, ast.Attribute) and self._is_container(call.func.value):
            if call.func.attr in PUTS_IN:
                yield from self._stored(module, call.func.value)
            else:
                yield Fate.KEY
        elif not callee:
            yield Fate.OTHER
        else:
            for atom in callee:
                yield from self._into(atom, call, node)

    def _bound(self, call: ast.Call, node: ast.AST) -> Iterator[Found]:
        """What becomes of an argument of `partial(function, ...)`, or of the function itself."""
        if call.args and node is call.args[0]:
            yield Fate.CALLED
            return
        inner = ast.Call(func=call.args[0], args=call.args[1:], keywords=call.keywords)
        functions = self.facts.value(call.args[0])
        if not functions:
            yield Fate.OTHER
        for atom in functions:
            yield from self._into(atom, inner, node)

    def _is_container(self, node: ast.expr) -> bool:
        return any(isinstance(atom, Container) for atom in self.facts.value(node))

    def _asserts(self, call: ast.Call) -> bool:
        """Whether a call registers or asserts something for the objects of a class."""
        if not isinstance(call.func, ast.Attribute):
            return False
        infos = [self._info(atom) for atom in self.facts.value(call.func.value)]
        dispatches = any(info is not None and info.decorators & DISPATCHING for info in infos)
        return call.func.attr in ASSERTIONS or (call.func.attr == "register" and dispatches)

    def _into(self, callee: Atom, call: ast.Call, node: ast.AST) -> Iterator[Found]:
        """What a function of the project does with the argument `node` of `call`."""
        hierarchy = self.facts.analysis.hierarchy
        site, skipped = None, 0
        match callee:
            case Func():
                site = callee.site
            case Bound():
                site, skipped = callee.func.site, 1
            case Cls():
                site, skipped = hierarchy.method(callee.site, "__init__"), 1
            case Instance():
                site, skipped = hierarchy.method(callee.cls, "__call__"), 1
        info = self.facts.analysis.functions.get(site) if site is not None else None
        name = _parameter(info, call, node, skipped) if info is not None else None
        if info is None and isinstance(callee, Cls):
            name = self._field(callee.site, call, node)
            yield from self._attributes(name, {callee.site}) if name else [Fate.OTHER]
        elif info is None or name is None:
            yield Fate.OTHER
        else:
            self.is_passed = True
            yield from self._variable(info.module, info.node, name)

    def _field(self, cls: Site, call: ast.Call, node: ast.AST) -> str | None:
        """The field of a dataclass that gets the argument `node`."""
        info = self.facts.analysis.classes[cls]
        named = [keyword.arg for keyword in call.keywords if keyword.value is node]
        if not info.is_dataclass:
            return None
        if named:
            return named[0]
        index = call.args.index(node) if node in call.args else len(info.field_order)
        return info.field_order[index] if index < len(info.field_order) else None

    def _info(self, atom: Atom) -> FunctionInfo | None:
        return self.facts.analysis.functions.get(atom.site) if isinstance(atom, Func) else None

    def _default(self, module: Module, arguments: ast.arguments, node: ast.AST) -> Iterator[Found]:
        named = [*arguments.posonlyargs, *arguments.args]
        given = dict(zip(reversed(arguments.defaults), reversed(named), strict=False))
        given |= {
            default: argument
            for default, argument in zip(arguments.kw_defaults, arguments.kwonlyargs, strict=True)
            if default is not None
        }
        found = given.get(node) if isinstance(node, ast.expr) else None
        if found is None:
            yield Fate.OTHER
        else:
            yield from self._variable(module, module.parents[arguments], found.arg)

    def _returned(self, module: Module, statement: ast.Return) -> Iterator[Found]:
        function = module.function(statement)
        graph = self.facts.analysis.call_graph
        callers = graph.callers_of(module.site(function)) if function is not None else ()
        if not callers:
            yield Fate.OTHER
        for call in callers:
            yield from self.of(graph.module_of(call), call)

    # ------------------------------------------------------------------ what holds it
    def _stored(self, module: Module, target: ast.expr) -> Iterator[Found]:
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                yield from self._stored(module, element)
        elif isinstance(target, ast.Subscript):
            yield from self._stored(module, target.value)
        elif isinstance(target, ast.Name):
            around = module.scope(target)
            if isinstance(around, ast.ClassDef):
                yield from self._attributes(target.id, {module.site(around)})
            scope = scope_of(module, target) or around
            yield from self._variable(module, scope, target.id)
            if isinstance(scope, ast.Module):
                yield from self._elsewhere(module, target.id)
        elif isinstance(target, ast.Attribute):
            yield from self._attributes(target.attr, self._classes(target.value))
        else:
            yield Fate.OTHER

    def _variable(self, module: Module, scope: ast.AST, name: str) -> Iterator[Found]:
        for node in nodes_in(scope):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                if scope_of(module, node) is scope and self._may_be_it(node):
                    yield from self.of(module, node)

    def _may_be_it(self, node: ast.expr) -> bool:
        """Whether `node` can stand for the class, or hold it: unless it is known to be another."""
        value = self.facts.value(node)
        others = (Bound, Cls, Const, Func, Instance, Symbol)
        return FSDP1 in symbols(value) or not value or not all(isinstance(a, others) for a in value)

    def _elsewhere(self, home: Module, name: str) -> Iterator[Found]:
        """The reads of a variable of the module `home` in other modules."""
        project = self.facts.analysis.project
        for module in project.modules.values():
            for node in module.parents if module is not home else ():
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        target = project.resolve(module, node.module or "", node.level)
                        if alias.name == name and target == home.name:
                            yield from self._variable(module, module.tree, alias.asname or name)

    def _attributes(self, name: str, classes: set[Site]) -> Iterator[Found]:
        """The reads of an attribute of objects of `classes`."""
        found = False
        for module in self.facts.analysis.project.modules.values():
            for node in module.parents:
                if isinstance(node, ast.Attribute) and node.attr == name:
                    if isinstance(node.ctx, ast.Load) and self._classes(node.value) & classes:
                        found = True
                        yield from self.of(module, node)
        if not found:
            yield Fate.OTHER

    def _classes(self, node: ast.expr) -> set[Site]:
        """The classes that an object may be of, with what they derive from."""
        found = {a.cls for a in self.facts.value(node) if isinstance(a, Instance)}
        found |= {a.site for a in self.facts.value(node) if isinstance(a, Cls)}
        return {base for cls in found for base in self.facts.analysis.lineage(cls)}


def _parameter(info: FunctionInfo, call: ast.Call, node: ast.AST, skipped: int) -> str | None:
    """The parameter of a function that gets the argument `node` of `call`."""
    for keyword in call.keywords:
        if keyword.value is node:
            names = {a.arg for a in [*info.positional, *info.node.args.kwonlyargs]}
            return keyword.arg if keyword.arg in names else None
    others = info.node.args.vararg
    if node not in call.args:
        return None
    if any(isinstance(a, ast.Starred) for a in call.args[: call.args.index(node) + 1]):
        return others.arg if others is not None else None
    index = call.args.index(node) + (0 if info.is_static else skipped)
    if index < len(info.positional):
        return info.positional[index].arg
    return others.arg if others is not None else None


def is_read_as_given(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is a variable that gets the class for tests, which is written elsewhere."""
    if is_named(facts, module, node):
        return False
    return any(
        node in found.known and found.is_asked_for
        for use in facts.uses
        if use.name == FSDP1 and use.receiver is None and use.call is None
        if use.node is not node and is_named(facts, use.module, use.node)
        for found in [fates(facts, use.module, use.node)]
    )


def is_named(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is the name of the class, as it is imported."""
    if isinstance(node, ast.Attribute):
        return any(isinstance(atom, Symbol | ModuleRef) for atom in facts.value(node.value))
    if not isinstance(node, ast.Name):
        return False
    scope = scope_of(module, node)
    return scope is None or any(isinstance(b, ast.alias) for b in bindings(scope, node.id))


def is_of_typing(facts: Facts, node: ast.expr) -> bool:
    """Whether a call is one of `typing`, which takes a class for a type."""
    return any(
        isinstance(atom, Symbol) and atom.name.startswith(("typing.", "typing_extensions."))
        for atom in facts.value(node)
    )
