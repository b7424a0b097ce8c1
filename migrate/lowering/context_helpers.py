"""Contexts of state dicts that a function hands to whoever enters them, or a variable.

    def full_state(model, rank0_only=True):
        return FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, ...)

Each `with full_state(model)` has the options that its own arguments stand for, and nothing is left
to be handed over.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import definition, removable
from fsdp_migrate.analysis.values import Atom, Bound, Func, Symbol
from fsdp_migrate.lowering.state_dict_settings import Setting, setting_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

GENERATOR = "contextlib.contextmanager"


@dataclass(frozen=True)
class Entry:
    """A `with` statement that enters the context."""

    module: Module
    call: ast.expr  # what the context comes from there
    statement: ast.With
    setting: Setting | None
    is_choice: bool = False  # whether there may be none

    @property
    def site(self) -> Site:
        """Where it is."""
        return self.module.site(self.call)


@dataclass(frozen=True)
class Helper:
    """What hands the context over, a function or an assignment, and all that enter it."""

    statement: ast.FunctionDef | ast.Assign | None  # None: each `with` makes it itself
    entries: tuple[Entry, ...]

    def entry_around(self, call: ast.Call) -> Entry | None:
        """The innermost `with` of the same function around `call`."""
        found = [entry for entry in self.entries if _is_in_body(entry, call)]
        return max(found, key=lambda entry: entry.site) if found else None


def _is_in_body(entry: Entry, call: ast.Call) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    node: ast.AST = call
    for around in entry.module.ancestors(call):
        if around is entry.statement:
            return node in entry.statement.body
        if isinstance(around, functions):
            return False
        node = around
    return False


def helper_of(
    analysis: Analysis, module: Module, call: ast.Call, given: Mapping[str, ast.expr]
) -> Helper | None:
    """What hands over the context that `call` makes, if all that enter it are known."""
    parent = module.parents[call]
    if isinstance(parent, ast.Assign):
        return _variable(analysis, module, parent, given)
    function = module.function(call)
    if not isinstance(function, ast.FunctionDef) or not _only_hands_over(
        analysis, module, function, call
    ):
        return None
    return _function(analysis, module, function, given)


# ---------------------------------------------------------------------- a variable
def _variable(
    analysis: Analysis, module: Module, statement: ast.Assign, given: Mapping[str, ast.expr]
) -> Helper | None:
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or definition(module, target) is not statement:
        return None
    function = module.function(statement)
    scope = function or module.tree
    readers = [
        node
        for node in nodes_in(scope)
        if isinstance(node, ast.Name) and node.id == target.id and node is not target
    ]
    entered = [statement_entering(module, node) for node in readers]
    if not readers or not removable(analysis, module, statement, set(readers)):
        return None
    setting = setting_of(analysis, module, given)
    entries = [
        Entry(module, node, around, setting)
        for node, around in zip(readers, entered, strict=True)
        if around is not None and module.function(node) is function
    ]
    return Helper(statement, tuple(entries)) if len(entries) == len(readers) else None


def statement_entering(module: Module, node: ast.expr) -> ast.With | None:
    """The `with` statement that enters `node` and binds nothing."""
    item = module.parents[node]
    if not isinstance(item, ast.withitem) or item.optional_vars is not None:
        return None
    statement = module.parents[item]
    return statement if isinstance(statement, ast.With) else None


# ---------------------------------------------------------------------- a function
def _only_hands_over(
    analysis: Analysis, module: Module, function: ast.FunctionDef, call: ast.Call
) -> bool:
    """Whether the function returns the context, or is a context that is nothing but this one."""
    *before, last = function.body
    harmless = all(is_harmless(statement) for statement in before)
    if isinstance(last, ast.Return):
        return last.value is call and harmless and not function.decorator_list
    if not isinstance(last, ast.With) or len(last.items) != 1 or len(last.body) != 1:
        return False
    values = [analysis.value(decorator) for decorator in function.decorator_list]
    names = {a.name for value in values for a in value if isinstance(a, Symbol)}
    inner = last.body[0]
    return (
        harmless
        and len(values) == 1
        and names == {GENERATOR}
        and last.items[0].context_expr is call
        and isinstance(inner, ast.Expr)
        and isinstance(inner.value, ast.Yield)
        and inner.value.value is None
    )


def is_harmless(statement: ast.stmt) -> bool:
    """Whether a statement is text, or sets local variables to what the context is given."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Assign) and all(
        isinstance(target, ast.Name) for target in statement.targets
    )


def _function(
    analysis: Analysis, module: Module, function: ast.FunctionDef, given: Mapping[str, ast.expr]
) -> Helper | None:
    site = module.site(function)
    callers = callers_alone(analysis, site)
    if not callers or not module.rewrite or is_listed(module, function):
        return None
    entries = []
    for caller in callers:
        home = analysis.call_graph.module_of(caller)
        statement = statement_entering(home, caller)
        passed = passed_to(function, caller, analysis, site)
        if statement is None or passed is None or not home.rewrite:
            return None
        setting = setting_of(analysis, module, given, passed)
        entries.append(Entry(home, caller, statement, setting))
    return Helper(function, tuple(entries))


def callers_alone(analysis: Analysis, function: Site) -> tuple[ast.Call, ...]:
    """The calls of a function; none where it is more than called."""
    callers = analysis.call_graph.callers_of(function)
    callees = {caller.func for caller in callers}
    mentioned = (
        node
        for node, value in analysis.values.items()
        if isinstance(node, ast.expr) and any(_is(atom, function) for atom in value)
    )
    return callers if all(node in callees for node in mentioned) else ()


def is_listed(module: Module, function: ast.FunctionDef) -> bool:
    """Whether the function's name stands in a string, as in `__all__`."""
    return any(
        isinstance(node, ast.Constant) and node.value == function.name
        for node in nodes_in(module.tree)
    )


def _is(atom: Atom, site: Site) -> bool:
    if isinstance(atom, Bound):
        return atom.func.site == site
    return isinstance(atom, Func) and atom.site == site


def passed_to(
    function: ast.FunctionDef, caller: ast.Call, analysis: Analysis, site: Site
) -> dict[str, ast.expr] | None:
    """What the function is called with, by parameter, defaults included."""
    value = analysis.value(caller.func)
    arguments = function.args
    if not value or not all(_is(atom, site) for atom in value):
        return None
    if arguments.vararg or arguments.kwarg or any(isinstance(a, ast.Starred) for a in caller.args):
        return None
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument.arg: default
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }
    bound = all(isinstance(atom, Bound) for atom in value)
    given = dict(zip(names[1:] if bound else names, caller.args, strict=False))
    for keyword in caller.keywords:
        if keyword.arg is None:
            return None
        given[keyword.arg] = keyword.value
    return {**defaults, **given}
