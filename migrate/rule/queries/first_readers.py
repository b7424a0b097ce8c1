"""Whether the first of all processes alone reads what a call gives, wherever it is carried."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.definitions import bindings, is_imported, scope_of
from fsdp_migrate.analysis.values import Func, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.first_ranks import runs_on_first_of_all, shards_over_all
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

HOLDERS = (ast.Dict, ast.List, ast.Tuple, ast.Starred, ast.IfExp, ast.Subscript)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_for_first_of_all(
    facts: Facts, module: Module, call: ast.Call, wraps: Iterable[Wrapped]
) -> bool:
    """Whether the first of all processes alone has a use for what `call` takes of models.

    Models that are wrapped where nobody sees it count as wrapped as FSDP1 does by itself.
    """
    plans = [plan for plan in map(facts.plan, wraps) if plan is not None]
    if all(shards_over_all(facts.analysis, plan) for plan in plans):
        return True
    return read_on_first_of_all(facts, module, call)


def read_on_first_of_all(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether every reader of what `call` gives stands behind a test for the first of all ranks.

    It is followed through displays, variables, items of local dicts, and out of functions.
    """
    return _Readers(facts).only_first(module, call)


class _Readers:
    """Follows one value; what isn't understood counts as a reader on every rank."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.seen: set[tuple[ast.AST, str]] = set()

    def only_first(self, module: Module, node: ast.expr) -> bool:
        """Whether what `node` gives, or is part of, is read by the first rank alone."""
        parent = module.parents[node]
        if isinstance(parent, ast.keyword):
            parent = module.parents[parent]
        if isinstance(parent, ast.Call):
            return self._given(module, parent, node)
        if isinstance(parent, HOLDERS):
            return self._read(module, parent)
        if isinstance(parent, ast.Assign):
            return all(self._kept_in(module, target) for target in parent.targets)
        if isinstance(parent, ast.AnnAssign):
            return self._kept_in(module, parent.target)
        if isinstance(parent, ast.Return):
            return self._returned(module, parent)
        return isinstance(parent, ast.Expr)

    def _read(self, module: Module, node: ast.expr) -> bool:
        return runs_on_first_of_all(self.facts, module, node) or self.only_first(module, node)

    def _given(self, module: Module, call: ast.Call, node: ast.expr) -> bool:
        """What is given to `dict(...)` is in the dict; what else is called may read."""
        if isinstance(call.func, ast.Name) and call.func.id == "dict" and call.func is not node:
            if "dict" not in module.bound_names:
                return self._read(module, call)
        return False

    def _kept_in(self, module: Module, target: ast.expr) -> bool:
        """Whether the variable, or the local dict, that takes the value is read so."""
        if isinstance(target, ast.Tuple | ast.List):
            return all(self._kept_in(module, part) for part in target.elts)
        if isinstance(target, ast.Subscript):
            target = target.value
        if not isinstance(target, ast.Name):
            return False
        return self._variable(module, target)

    def _variable(self, module: Module, name: ast.Name) -> bool:
        scope = scope_of(module, name)
        if scope is None or (scope, name.id) in self.seen:
            return scope is not None
        self.seen.add((scope, name.id))
        if any(isinstance(binding, ast.arg) for binding in bindings(scope, name.id)):
            return False  # the caller has the dict, too
        if isinstance(scope, ast.Module) and is_imported(self.facts.analysis, module, name.id):
            return False
        named = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name.id]
        named = [n for n in named if not _is_bound_anew(module, name, n)]
        reads = [n for n in named if isinstance(n.ctx, ast.Load) and not _is_filled(module, n)]
        return bool(reads) and all(self._read(module, node) for node in reads)

    def _returned(self, module: Module, statement: ast.Return) -> bool:
        """Whether all callers of the function around `statement` treat the value so."""
        function = module.function(statement)
        if not isinstance(function, FUNCTIONS) or (function, "") in self.seen:
            return isinstance(function, FUNCTIONS)
        self.seen.add((function, ""))
        site = module.site(function)
        callers = self.facts.analysis.call_graph.callers_of(site)
        return (
            bool(callers)
            and not self._taken_as_value(module, site)
            and all(
                self._read(self.facts.analysis.call_graph.module_of(caller), caller)
                for caller in callers
            )
        )

    def _taken_as_value(self, home: Module, site: Site) -> bool:
        """Whether the function is handed around, so that not all of its callers are known."""
        return any(
            Func(site) in self.facts.value(node)
            and not (
                isinstance(parent := module.parents.get(node), ast.Call) and parent.func is node
            )
            for module in self.facts.analysis.project.modules.values()
            for node in nodes_in(module.tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        )


def _is_bound_anew(module: Module, bound: ast.Name, read: ast.Name) -> bool:
    """Whether another assignment in the block of the one that binds `bound` lies before `read`."""
    block = module.block(module.statement(bound))
    later = block[block.index(module.statement(bound)) + 1 :]
    return any(
        isinstance(statement, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == bound.id for t in statement.targets)
        and all(node is not read for node in nodes_in(statement))
        and (statement.lineno, statement.col_offset) < (read.lineno, read.col_offset)
        for statement in later
    )


def _is_filled(module: Module, node: ast.Name) -> bool:
    """Whether `node` is named to store into it: `state["step"] = 3`, or to delete of it."""
    parent = module.parents[node]
    return (
        isinstance(parent, ast.Subscript)
        and parent.value is node
        and not isinstance(parent.ctx, ast.Load)
    )
