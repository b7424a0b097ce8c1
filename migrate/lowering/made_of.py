"""What a model may have been made of: `net` is in `outer` after `outer = Outer(net)`.

A model need not be wrapped under the name under which its parameters were taken.  What it was
made of is followed by name: through what binds it, through what is put into it, and through the
calls that lead to its wrap.  That says "maybe": what a function does with its arguments isn't
looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Cls, Const, Func, ModuleRef, Symbol, Value, symbols
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.steps import Step, path_outside, steps_outwards
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import children, own_nodes
from fsdp_migrate.syntax.paths import overlap, path_of
from fsdp_migrate.syntax.span import Site

ROUNDS = 6  # things that are made of one another
NO_MODULES = (Cls, Const, Func, ModuleRef, Symbol)
# Methods that put an argument into the object: `net.add_module("head", head)`.
PUTS = frozenset(
    {
        "__setattr__", "__setitem__", "add_module", "append", "extend", "insert",
        "register_module", "set_submodule", "setdefault", "update",
    }
)  # fmt: skip


class MadeOf:
    """Answers for one program, of what its models may be made."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._sources: dict[tuple[Site, Step], frozenset[str]] = {}
        self._pairs: dict[Scope, dict[str, set[str]]] = {}

    def inside(self, module: Module, node: ast.AST, path: str) -> Iterator[WrapFact]:
        """The wraps of what may be made of that which `path` is at `node`."""
        calls = self._analysis.call_graph
        for step in steps_outwards(calls, module, node, frozenset({path})):
            for fact, paths in self._by_scope.get(step.scope, ()):
                if any(overlap(path, made) for path in step.paths for made in paths):
                    yield fact

    @cached_property
    def _by_scope(self) -> dict[Scope, list[tuple[WrapFact, frozenset[str]]]]:
        """What models are made of, by the functions that lead to their wraps."""
        found: dict[Scope, list[tuple[WrapFact, frozenset[str]]]] = {}
        for fact in self._analysis.wraps.values():
            argument = fact.arguments.get("module")
            path = path_of(argument.node) if argument and argument.node is not None else None
            named = frozenset({path} if path is not None else ())
            calls = self._analysis.call_graph
            for step in steps_outwards(calls, fact.module, fact.node, named):
                found.setdefault(step.scope, []).append((fact, self.sources(fact, step)))
        return found

    def sources(self, fact: WrapFact, step: Step) -> frozenset[str]:
        """The paths of what the model of `fact` may be made of, where `step` to its wrap stands."""
        known = self._sources.get((fact.site, step))
        if known is None:
            known = self._sources[fact.site, step] = self._sources_of(fact, step)
        return known

    def _sources_of(self, fact: WrapFact, step: Step) -> frozenset[str]:
        found = set(step.paths)
        if step.inner is None:
            argument = fact.arguments.get("module")
            if argument is not None and argument.node is not None:
                found |= set(_mentioned(self._analysis, argument.node))
        elif step.call is not None:
            inside = self.sources(fact, step.inner)
            outside = (path_outside(path, step.inner, step.call, step.module) for path in inside)
            found |= {path for path in outside if path is not None}
        left = dict(self._made_in(step.scope))
        fresh = found
        for _ in range(ROUNDS):
            reached = [made for made in left if any(overlap(made, path) for path in fresh)]
            fresh = set().union(*(left.pop(made) for made in reached)) - found
            if not fresh:
                break
            found |= fresh
        return frozenset(found)

    def _made_in(self, scope: Scope) -> dict[str, set[str]]:
        """What is made or filled in a function, each with the paths that it is made of."""
        known = self._pairs.get(scope)
        if known is None:
            known = self._pairs[scope] = {}
            for made, path in _made(self._analysis, scope):
                known.setdefault(made, set()).add(path)
        return known


def _made(analysis: Analysis, scope: Scope) -> Iterator[tuple[str, str]]:
    """What is made or filled in `scope`, with each path that it is made of."""
    for node in own_nodes(scope):
        targets: list[ast.expr] = []
        given: list[ast.expr] = []
        match node:
            case ast.Assign(targets=several, value=value):
                targets, given = several, [value]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                targets, given = [target], [value]
            case (
                ast.AugAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
            ):
                targets, given = [target], [value]
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                targets, given = [target], [value]
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if method in PUTS:
                targets, given = [owner], [*node.args, *(k.value for k in node.keywords)]
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, *rest]):
                targets, given = [owner], rest
        names = [path for target in targets for path in _bound(target)]
        for path in (p for each in given for p in _mentioned(analysis, each)):
            yield from ((name, path) for name in names if name != path)


def _bound(target: ast.expr) -> Iterator[str]:
    """The paths that a target is, or puts something into."""
    match target:
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            for element in elts:
                yield from _bound(element)
        case ast.Starred(value=value) | ast.Subscript(value=value):
            yield from _bound(value)
        case _:
            path = path_of(target)
            if path is not None:
                yield path


def _mentioned(analysis: Analysis, node: ast.AST) -> Iterator[str]:
    """The paths in an expression that may be modules, or may hold some."""
    if isinstance(node, ast.Compare) or copies(analysis, node):
        return  # true or false; parameters of its own
    if isinstance(node, ast.expr):
        path = path_of(node)
        if path is not None:
            if _may_be_module(analysis.value(node)):
                yield path
            return
    for child in children(node):
        if isinstance(node, ast.Call) and child is node.func:
            owner = child.value if isinstance(child, ast.Attribute) else None
            if owner is not None:
                yield from _mentioned(analysis, owner)  # `net.to(device)`, `self.build()`
            continue
        yield from _mentioned(analysis, child)


def copies(analysis: Analysis, node: ast.AST) -> bool:
    """Whether an expression gives a deep copy, whose parameters are others."""
    return isinstance(node, ast.Call) and symbols(analysis.value(node.func)) == {"copy.deepcopy"}


def _may_be_module(value: Value) -> bool:
    return not value or not all(isinstance(atom, NO_MODULES) for atom in value)
