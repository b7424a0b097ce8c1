"""Which state-dict context a `with` statement enters, where a condition chooses one.

    with FSDP.state_dict_type(model, ...) if isinstance(model, FSDP) else nullcontext():

A variable may hold what is chosen, or a function return it.  Each of them is a carrier, which
goes with the contexts, if nothing else looks at it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, is_imported, scope_of
from fsdp_migrate.analysis.values import Bound, Func, Method, Symbol
from fsdp_migrate.lowering.context_helpers import (
    GENERATOR,
    callers_alone,
    is_harmless,
    is_listed,
    passed_to,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, reads, touches

CONTEXT = f"{FSDP1}.state_dict_type"
NO_CONTEXT = "contextlib.nullcontext"
# By parameter, what the function around is called with; None: it is the one with the `with`.
Passed: TypeAlias = "Mapping[str, ast.expr] | None"


@dataclass(frozen=True, eq=False)
class Leaf:
    """One of the ways: a call that makes a context; None where nothing is entered."""

    module: Module
    call: ast.Call | None
    passed: Passed


@dataclass(frozen=True, eq=False)
class Choice:
    """A condition, and what is entered either way."""

    module: Module
    test: ast.expr
    passed: Passed
    body: Tree
    orelse: Tree


Tree: TypeAlias = Leaf | Choice
Carrier: TypeAlias = "tuple[Module, ast.FunctionDef | ast.Assign]"


@dataclass(frozen=True, eq=False)
class Entered:
    """A `with` statement, and what it enters."""

    module: Module
    node: ast.expr
    statement: ast.With
    tree: Tree
    carriers: tuple[Carrier, ...]

    @property
    def leaves(self) -> Iterator[Leaf]:
        """All the ways."""
        return leaves_of(self.tree)


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    """All leaves of a tree."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        yield from leaves_of(tree.body)
        yield from leaves_of(tree.orelse)


def entered_contexts(analysis: Analysis) -> list[Entered]:
    """The `with` statements whose contexts are understood, carriers included."""
    found = [
        entered
        for module in analysis.project.modules.values()
        if module.rewrite
        for statement in nodes_in(module.tree)
        if isinstance(statement, ast.With)
        for item in statement.items
        if item.optional_vars is None
        for entered in _entered(analysis, module, statement, item.context_expr)
    ]
    while True:
        fit = [e for e in found if all(_is_closed(analysis, c, found) for c in e.carriers)]
        if len(fit) == len(found):
            return found
        found = fit


def _entered(
    analysis: Analysis, module: Module, statement: ast.With, node: ast.expr
) -> Iterator[Entered]:
    builder = _Builder(analysis, module)
    tree = builder.of(module, node, None)
    if tree is not None and any(leaf.call is not None for leaf in leaves_of(tree)):
        yield Entered(module, node, statement, tree, tuple(dict.fromkeys(builder.carriers)))


def _is_closed(analysis: Analysis, carrier: Carrier, entered: list[Entered]) -> bool:
    """Whether contexts that are `entered` are all that comes of a carrier."""
    module, statement = carrier
    users = [e for e in entered if carrier in e.carriers]
    if isinstance(statement, ast.Assign):
        names = {e.node for e in users}
        target = statement.targets[0]
        assert isinstance(target, ast.Name)
        scope = scope_of(module, target)
        if scope is None or (scope is module.tree and is_imported(analysis, module, target.id)):
            return False
        return all(
            node in names
            for node in nodes_in(scope)
            if isinstance(node, ast.Name)
            and node.id == target.id
            and isinstance(node.ctx, ast.Load)
        )
    callers = callers_alone(analysis, module.site(statement))
    if not callers or is_listed(module, statement):
        return False
    used = {n for e in users for n in nodes_in(e.node)}
    used |= {n for e in users for _, s in e.carriers if s is not statement for n in nodes_in(s)}
    return all(caller in used for caller in callers)


class _Builder:
    """Builds one tree; `carriers` are met on the way."""

    def __init__(self, analysis: Analysis, module: Module) -> None:
        self.analysis = analysis
        self.module = module  # which the `with` statement is in
        self.carriers: list[Carrier] = []

    def of(self, module: Module, node: ast.expr, passed: Passed) -> Tree | None:
        """What `node` enters."""
        if isinstance(node, ast.IfExp):
            body, orelse = (self.of(module, n, passed) for n in (node.body, node.orelse))
            return _choice(module, node.test, passed, body, orelse)
        if isinstance(node, ast.Name) and passed is None:
            return self._variable(node)
        if not isinstance(node, ast.Call):
            return None
        names = {_library_name(atom) for atom in self.analysis.value(node.func)}
        if names == {CONTEXT}:
            return Leaf(module, node, passed)
        if names == {NO_CONTEXT} and not node.args and not node.keywords:
            return Leaf(module, None, passed)
        return self._called(node) if passed is None else None

    # ------------------------------------------------------------------ functions
    def _called(self, call: ast.Call) -> Tree | None:
        sites = {
            atom.func.site if isinstance(atom, Bound) else atom.site
            for atom in self.analysis.value(call.func)
            if isinstance(atom, Bound | Func)
        }
        info = self.analysis.functions.get(next(iter(sites))) if len(sites) == 1 else None
        function = info.node if info is not None else None
        if info is None or not isinstance(function, ast.FunctionDef) or not info.module.rewrite:
            return None
        given = passed_to(function, call, self.analysis, info.module.site(function))
        kinds = self._decorators(function)
        if given is None or kinds not in (set(), {GENERATOR}):
            return None
        ends = ast.Yield if kinds else ast.Return
        tree = self._block(info.module, function.body, given, ends)
        if tree is not None:
            self.carriers.append((info.module, function))
        return tree

    def _decorators(self, function: ast.FunctionDef) -> set[str]:
        values = [self.analysis.value(decorator) for decorator in function.decorator_list]
        return {_library_name(atom) for value in values for atom in value}

    def _block(
        self, module: Module, body: list[ast.stmt], passed: Passed, ends: type[ast.AST]
    ) -> Tree | None:
        """What the function hands over from `body` on."""
        for index, statement in enumerate(body):
            if is_harmless(statement):
                continue
            after = body[index + 1 :]
            if isinstance(statement, ast.If):
                if ends is ast.Yield and (after or not statement.orelse):
                    return None
                blocks = (statement.body, [*statement.orelse, *after])
                trees = (self._block(module, block, passed, ends) for block in blocks)
                return _choice(module, statement.test, passed, *trees)
            if ends is ast.Return and isinstance(statement, ast.Return):
                return self.of(module, statement.value, passed) if statement.value else None
            return None if ends is ast.Return or after else self._yielded(module, statement, passed)
        return None

    def _yielded(self, module: Module, statement: ast.stmt, passed: Passed) -> Tree | None:
        if _is_yield(statement):
            return Leaf(module, None, passed)
        if not isinstance(statement, ast.With) or len(statement.items) != 1:
            return None
        item = statement.items[0]
        if len(statement.body) != 1 or not _is_yield(statement.body[0]) or item.optional_vars:
            return None
        return self.of(module, item.context_expr, passed)

    # ------------------------------------------------------------------ variables
    def _variable(self, name: ast.Name) -> Tree | None:
        """What was given to a variable above, on every way."""
        module, scope = self.module, scope_of(self.module, name)
        bound = set(bindings(scope, name.id)) if scope is not None else set()
        made = {module.parents[each] for each in bound if isinstance(each, ast.Name)}
        before = len(self.carriers)
        tree = self._above(module.statement(name), name)
        seen = {statement for _, statement in self.carriers[before:]}
        if len(made) != len(bound) or not made <= seen:
            return None
        plain = all(isinstance(each, ast.Assign) and len(each.targets) == 1 for each in made)
        return tree if plain else None

    def _above(self, statement: ast.stmt, name: ast.Name) -> Tree | None:
        """What the statements above `statement` give the variable, inside out."""
        block = self.module.block(statement)
        found = self._given(block[: block.index(statement)], name, [statement])
        around = self.module.parents[statement]
        if found is None and isinstance(around, ast.If | ast.With | ast.Try):
            return self._above(around, name)
        return found

    def _given(
        self, block: list[ast.stmt], name: ast.Name, below: list[ast.stmt], base: Tree | None = None
    ) -> Tree | None:
        """What `block` gives the variable; `base` where it gives nothing."""
        for index, statement in reversed(list(enumerate(block))):
            if name.id not in binds(statement):
                continue
            after = [*block[index + 1 :], *below]
            if isinstance(statement, ast.Assign):
                self.carriers.append((self.module, statement))
                return self.of(self.module, statement.value, None)
            if not isinstance(statement, ast.If):
                return None
            bound = frozenset().union(*map(binds, [*statement.body, *statement.orelse, *after]))
            if touches(bound, reads(statement.test)):
                return None
            earlier = self._given(block[:index], name, [], base)
            trees = (self._given(b, name, [], earlier) for b in (statement.body, statement.orelse))
            return _choice(self.module, statement.test, None, *trees)
        return base


def _choice(
    module: Module, test: ast.expr, passed: Passed, body: Tree | None, orelse: Tree | None
) -> Tree | None:
    if body is None or orelse is None:
        return None
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _choice(module, test.operand, passed, orelse, body)
    return Choice(module, test, passed, body, orelse)


def _is_yield(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Yield)
        and statement.value.value is None
    )


def _library_name(atom: object) -> str:
    """The canonical name of a function, or of the static method that a model forwards."""
    if isinstance(atom, Symbol):
        return atom.name
    return f"{FSDP1}.{atom.name}" if isinstance(atom, Method) else ""
