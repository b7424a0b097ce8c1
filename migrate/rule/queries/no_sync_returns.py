"""Functions that return a `no_sync` context, or one that does nothing, for others to enter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import Bound, Func
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.no_sync_contexts import Choice, find_choice, is_null
from fsdp_migrate.rule.queries.running import callers
from fsdp_migrate.syntax.module import Module, scope_nodes
from fsdp_migrate.syntax.span import Site

Function = ast.FunctionDef | ast.Lambda


@dataclass(frozen=True, eq=False)
class Entry:
    """A `with` statement that enters what a function returns, right where it is called."""

    module: Module
    statement: ast.With
    call: ast.Call


@dataclass(frozen=True, eq=False)
class Provider:
    """A function that does nothing with a `no_sync` context but return it.

    `tail` are the statements at its end that choose what it returns; a lambda has none.
    `entries` are the `with` statements with its calls, where every call is the context of one and
    no other function can be meant there; otherwise there are none.
    """

    choice: Choice
    function: Function
    tail: tuple[ast.stmt, ...]
    entries: tuple[Entry, ...]

    @property
    def use(self) -> Use:
        """The use of `no_sync`."""
        return self.choice.use

    @property
    def can_manage(self) -> bool:
        """Whether it can be made a context manager as it stands, which a lambda can't."""
        return isinstance(self.function, ast.FunctionDef) and not self.choice.shared

    @property
    def can_set_flags(self) -> bool:
        """Whether it can set the flags where it is called: a lambda sets one, and of one model."""
        choice = self.choice
        one = not (choice.keeps_unsharded or choice.released or choice.shared)
        return one or isinstance(self.function, ast.FunctionDef)

    @property
    def statements(self) -> list[ast.With]:
        """The `with` statements that enter what the function returns."""
        return [entry.statement for entry in self.entries]


def find_provider(use: Use, facts: Facts) -> Provider | None:
    """The function that returns the context of `use`, as all that it gives."""
    choice = find_choice(use, facts)
    if choice is None or use.call is None:
        return None
    module, context = use.module, choice.context
    parent = module.parents[context]
    if isinstance(parent, ast.Lambda) and parent.body is context:
        return Provider(choice, parent, (), _entries(facts, module, parent))
    function = module.function(context)
    if not isinstance(parent, ast.Return) or not isinstance(function, ast.FunctionDef):
        return None
    found = _tail(facts, choice, function, parent)
    if found is None or function.decorator_list or _yields(function):
        return None
    return Provider(found[0], function, found[1], _entries(facts, module, function))


def _yields(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in scope_nodes(function))


def _tail(
    facts: Facts, choice: Choice, function: ast.FunctionDef, returned: ast.Return
) -> tuple[Choice, tuple[ast.stmt, ...]] | None:
    """The statements that return, and the choice that they make together."""
    every = [node for node in scope_nodes(function) if isinstance(node, ast.Return)]
    body = function.body
    if every == [returned]:
        return (choice, (returned,)) if body[-1] is returned else None
    if len(every) != 2 or choice.test is not None:
        return None
    (other,) = [node for node in every if node is not returned]
    if other.value is None or not is_null(other.value, facts):
        return None
    last = body[-1]
    branch = last if isinstance(last, ast.If) else (body[-2:-1] or [last])[0]
    if not isinstance(branch, ast.If) or len(branch.body) != 1:
        return None
    rest = branch.orelse if branch is last else [last]
    if {*branch.body, *rest} != {returned, other} or (branch is not last and branch.orelse):
        return None
    chosen = replace(choice, test=branch.test, negated=branch.body == [returned])
    return chosen, (branch,) if branch is last else (branch, last)


# ---------------------------------------------------------------------- who enters it
def _entries(facts: Facts, module: Module, function: Function) -> tuple[Entry, ...]:
    calls = callers(facts, module, function)
    found = [_entry(home, call) for home, call in calls]
    entries = [entry for entry in found if entry is not None]
    if len(entries) < len(calls) or not calls:
        return ()
    if any(len(facts.value(call.func)) > 1 for _, call in calls):
        return ()
    callees = {call.func for _, call in calls}
    return tuple(entries) if set(_mentions(facts, module.site(function))) <= callees else ()


def _entry(module: Module, call: ast.Call) -> Entry | None:
    item = module.parents[call]
    if not isinstance(item, ast.withitem) or item.optional_vars is not None:
        return None
    statement = module.parents[item]
    return Entry(module, statement, call) if isinstance(statement, ast.With) else None


def _mentions(facts: Facts, site: Site) -> Iterator[ast.AST]:
    """The expressions that can be the function at `site`, but for its definition."""
    for node, value in facts.analysis.values.items():
        if isinstance(node, ast.Lambda) or isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        functions = [atom.func if isinstance(atom, Bound) else atom for atom in value]
        if any(isinstance(atom, Func) and atom.site == site for atom in functions):
            if isinstance(node, ast.expr):
                yield node
