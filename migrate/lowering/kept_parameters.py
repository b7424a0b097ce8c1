"""Variables and attributes that keep parameters, and whether they are read after a wrap."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Instance
from fsdp_migrate.lowering.held import Held, Parameter, owners
from fsdp_migrate.lowering.parameter_flow import ParameterFlow
from fsdp_migrate.lowering.running_order import runs_only_before
from fsdp_migrate.lowering.steps import Step, named_outside
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, path_of

COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


@dataclass(frozen=True)
class Kept:
    """A statement after which some variables or attributes keep parameters of a model."""

    module: Module
    statement: ast.stmt
    paths: frozenset[str]  # the variables and attributes
    owners: frozenset[str]  # the models, as they are called there


class KeptParameters:
    """Finds the statements that make something keep parameters."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.flow = ParameterFlow(analysis)

    def in_scope(self, module: Module, scope: Scope) -> Iterator[Kept]:
        """The statements of `scope` that do."""
        frame = self.flow.frame(module, scope)
        for statement, paths in frame.made.items():
            if isinstance(statement, ast.For) and not _is_filled(statement, paths):
                continue
            kept = frozenset(p for p in paths if self._keeps(frame.variables[p], statement, p))
            whose = frozenset().union(*(owners(frame.variables[p]) for p in kept))
            if kept and whose:
                yield Kept(module, statement, kept, whose)

    def in_attributes(self) -> Iterator[Kept]:
        """The statements of all functions that make an attribute of their object keep some."""
        for info in self.analysis.functions.values():
            if isinstance(info.node, ast.Lambda) or not info.positional or info.cls is None:
                continue
            own = f"{info.positional[0].arg}."
            for kept in self.in_scope(info.module, info.node):
                paths = frozenset(path for path in kept.paths if path.startswith(own))
                if paths:
                    yield Kept(kept.module, kept.statement, paths, kept.owners)

    def held(self, kept: Kept, path: str) -> Held | None:
        """How `path` keeps them."""
        return self.flow.frame(kept.module, kept.module.scope(kept.statement)).variables.get(path)

    def _keeps(self, held: Held, statement: ast.stmt, path: str) -> bool:
        """Whether what is stored is not what the module itself replaces: a parameter of its own."""
        if "." not in path or not isinstance(held, Parameter) or held.is_id:
            return True
        for target in getattr(statement, "targets", ()):
            if isinstance(target, ast.Attribute) and path_of(target) == path:
                value = self.analysis.value(target.value)
                return bool(value) and all(
                    isinstance(a, Instance) and not self.analysis.is_module(a) for a in value
                )
        return False


def _is_filled(loop: ast.For, paths: set[str]) -> bool:
    return not paths <= binds(loop.target)


def is_read_after(
    analysis: Analysis, kept: Kept, path: str, wrap: Step, wrapping: Sequence[Step]
) -> bool:
    """Whether `path`, bound where `kept` is, may be read when the wrap has been done.

    `wrap` is the statement of that function that wraps, and `wrapping` the whole way to the wrap.
    """
    if "." in path:
        return _attribute_is_read(analysis, kept, path, wrapping)
    module, below = kept.module, wrap.statement
    scope = module.scope(kept.statement)
    for node in nodes_in(scope):
        if not isinstance(node, ast.Name) or node.id != path or not isinstance(node.ctx, ast.Load):
            continue
        own = module.scope(node)
        if own is not scope:
            if _is_of_another(module, node, own, scope):
                continue
            if not runs_only_before(analysis.call_graph, module, node, wrapping):
                return True
        elif module.statement(node) is below:
            if _is_read_inside(wrap, path):
                return True
        elif _is_below(node, below) and not is_bound_anew(module, node, below):
            return True
    return False


def _is_read_inside(wrap: Step, path: str) -> bool:
    """Whether the function that wraps gets the variable, and reads it when it has wrapped."""
    inner = wrap.inner
    if inner is None or not isinstance(inner.scope, ast.FunctionDef):
        return False
    for argument in [*inner.scope.args.args, *inner.scope.args.kwonlyargs]:
        if named_outside(inner, argument.arg, wrap) == path:
            nodes = [n for n in nodes_in(inner.scope) if isinstance(n, ast.Name)]
            if any(n.id == argument.arg and _is_below(n, inner.statement) for n in nodes):
                return True
            if _is_read_inside(inner, argument.arg):
                return True
    return False


def _is_of_another(module: Module, node: ast.Name, own: ast.AST, scope: ast.AST) -> bool:
    """Whether a name in a nested function is a variable of that function."""
    while own is not scope:
        if isinstance(own, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {a.arg for a in nodes_in(own.args) if isinstance(a, ast.arg)}
            if node.id in names | frozenset().union(*map(binds, own.body)):
                return True
        own = module.scope(own)
    return False


def _attribute_is_read(analysis: Analysis, kept: Kept, path: str, wrapping: Sequence[Step]) -> bool:
    name = path.rpartition(".")[2]
    for module in analysis.project.modules.values():
        for node in nodes_in(module.tree):
            if not isinstance(node, ast.Attribute) or node.attr != name:
                continue
            if not isinstance(node.ctx, ast.Load) or module.statement(node) is kept.statement:
                continue
            if not runs_only_before(analysis.call_graph, module, node, wrapping):
                return True
    return False


def _is_below(node: ast.Name, below: ast.stmt) -> bool:
    """Whether a name stands after `below`."""
    return node.lineno > (below.end_lineno or below.lineno)


def is_bound_anew(module: Module, node: ast.Name, below: ast.stmt) -> bool:
    """Whether the name got another value after `below`, before it is read at `node`."""
    inside: ast.AST = node
    for around in module.ancestors(node):
        if isinstance(around, COMPREHENSIONS):
            targets = [generator.target for generator in around.generators]
            if any(node.id in binds(target) for target in targets):
                return True
        if (
            isinstance(around, ast.For)
            and inside in around.body
            and node.id in binds(around.target)
        ):
            return True
        if isinstance(inside, ast.stmt):
            block = module.block(inside)
            for earlier in block[: block.index(inside)]:
                if earlier.lineno > below.lineno and _binds_whole(earlier, node.id):
                    return True
        inside = around
    return False


def _binds_whole(statement: ast.stmt, name: str) -> bool:
    """Whether a statement gives a variable another value, whatever it held."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    names = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    return any(isinstance(t, ast.Name) and t.id == name for t in names)
