"""Where names of an FSDP1 model's parameters and modules matter: they began with a wrapper's name.

`"bias" in name` is the same with the wrapper and without; `name.startswith("head")` is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.maybe_models import possible_models
from fsdp_migrate.rule.queries.parameters import (
    attributes,
    called,
    is_summoned,
    use_orig_params,
)
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_members import UNWRAPPED
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

MARK = "_fsdp_wrapped_module"
NAMING = frozenset({"named_buffers", "named_modules", "named_parameters"})
CHILDREN = frozenset({"children", "named_children"})
# Methods of a name that look at how it begins.
OF_BEGINNING = frozenset({"count", "find", "index", "partition", "removeprefix", "startswith"})
MATCHING = frozenset({"re.fullmatch", "re.match"})
LOGGING = frozenset({"critical", "debug", "error", "exception", "info", "log", "warning"})


@dataclass(frozen=True)
class NamesRead:
    """A call that gives names which had `_fsdp_wrapped_module.` in them, and what reads them."""

    module: Module
    call: ast.Call
    wraps: frozenset[Wrapped]
    tests: bool  # how a name begins decides something; if not, it is only printed


def names_read(facts: Facts) -> Iterator[NamesRead]:
    """The calls whose names are printed, or compared as a whole or by their beginnings."""
    for module, node in attributes(facts, NAMING):
        call = module.parents[node]
        value = facts.value(node.value)
        wraps = models(value) | possible_models(facts.analysis, value)
        if not wraps or not isinstance(call, ast.Call) or call.func is not node:
            continue
        if is_summoned(facts, module, node) and not _is_inner(module, node.value):
            continue  # FSDP1's own method gives clean names there
        if not _had_wrappers(facts, module, node.value, wraps) or _is_flat(facts, node, wraps):
            continue
        raw = [name for name in _names(module, call) if not _is_cleaned(module, name)]
        read = [_reads(facts, module, name) for name in raw]
        if any(tests is not None for tests in read):
            yield NamesRead(module, call, wraps, any(read))


def children_asked(facts: Facts) -> Iterator[NamesRead]:
    """The calls that gave the one module inside of an FSDP1 model, and give its children now."""
    for module, node in attributes(facts, CHILDREN):
        call = module.parents[node]
        wraps, others = split(facts.analysis, facts.value(node.value))
        if not wraps or others or not isinstance(call, ast.Call) or call.func is not node:
            continue  # a function that goes through children of children comes to all of them
        if not _is_inner(module, node.value):
            yield NamesRead(module, call, wraps, tests=True)


def _had_wrappers(facts: Facts, module: Module, model: ast.expr, wraps: frozenset[Wrapped]) -> bool:
    """Whether names had the wrapper's in them: of the module inside, those of units only."""
    if not _is_inner(module, model):
        return True
    plans = [facts.plan(wrapped) for wrapped in wraps]
    return any(plan is None or plan.parts.units is not None for plan in plans)


def _is_inner(module: Module, node: ast.expr) -> bool:
    """Whether this is the module inside of a wrapper, by its name or by a variable for it."""
    if isinstance(node, ast.Name):
        scope = scope_of(module, node)
        bound = list(bindings(scope, node.id)) if scope is not None else []
        statement = module.statement(bound[0]) if len(bound) == 1 else None
        value = statement.value if isinstance(statement, ast.Assign) else None
        return isinstance(value, ast.Attribute) and _is_inner(module, value)
    return isinstance(node, ast.Attribute) and node.attr in UNWRAPPED


def _is_flat(facts: Facts, node: ast.Attribute, wraps: frozenset[Wrapped]) -> bool:
    """Whether there were other names altogether, of flat parameters."""
    known = {use_orig_params(facts, wrapped) for wrapped in wraps}
    return node.attr == "named_parameters" and known != {True}


def _is_cleaned(module: Module, name: ast.Name) -> bool:
    """Whether the code around takes the wrapper's name out of a name itself.

    In the same statement it does so for what it is called on, or with, and for nothing else.
    """
    statement = module.statement(name)
    for node in nodes_in(module.scope(name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MARK in node.value:
            call = next(a for a in module.ancestors(node) if isinstance(a, ast.Call | ast.stmt))
            beside = module.statement(node) is statement and isinstance(statement, ast.Expr)
            if not beside or any(inner is name for inner in nodes_in(call)):
                return True
    return False


def _names(module: Module, call: ast.Call) -> Iterator[ast.Name]:
    """The places that read the variable which a loop over `call` binds to names."""
    given: ast.AST = call
    parent = module.parents[given]
    while isinstance(parent, ast.Call) and given in parent.args:  # sorted(...), enumerate(...)
        given, parent = parent, module.parents[parent]
    if (
        not isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension)
        or parent.iter is not given
    ):
        return
    target = parent.target
    while isinstance(target, ast.Tuple) and any(isinstance(e, ast.Tuple) for e in target.elts):
        target = next(e for e in target.elts if isinstance(e, ast.Tuple))
    first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else None
    if not isinstance(first, ast.Name):
        return
    around = parent if isinstance(parent, ast.For | ast.AsyncFor) else module.parents[parent]
    for node in nodes_in(around):
        if isinstance(node, ast.Name) and node.id == first.id and isinstance(node.ctx, ast.Load):
            yield node


def _reads(facts: Facts, module: Module, name: ast.Name) -> bool | None:
    """Whether a name is tested by its beginning here, or (False) printed; None if neither."""
    parent = module.parents[name]
    match parent:
        case ast.Compare():
            return True if _is_tested(parent, name) else None
        case ast.Attribute() if parent.attr in OF_BEGINNING:
            return True
        case ast.Attribute() if parent.attr == "split":
            return _first_part(module, parent)
        case ast.Call() if name in parent.args and called(facts, parent) & MATCHING:
            return True
    return False if _is_printed(facts, module, name) else None


def _is_tested(compare: ast.Compare, name: ast.Name) -> bool:
    """Whether a comparison asks which name it is, not what is in it."""
    if any(isinstance(op, ast.Eq | ast.NotEq) for op in compare.ops):
        return True
    return compare.left is name and isinstance(compare.ops[0], ast.In | ast.NotIn)


def _first_part(module: Module, split: ast.Attribute) -> bool | None:
    """Whether `name.split(".")` is counted from its beginning."""
    call = module.parents[split]
    item = module.parents[call]
    if isinstance(item, ast.Subscript) and isinstance(item.slice, ast.UnaryOp):
        return None  # from the end
    return True if isinstance(item, ast.Subscript) else None


def _is_printed(facts: Facts, module: Module, name: ast.Name) -> bool:
    for around in module.ancestors(name):
        if isinstance(around, ast.stmt):
            return False
        if isinstance(around, ast.Call):
            if "builtins.print" in called(facts, around):
                return True
            logs = isinstance(around.func, ast.Attribute) and around.func.attr in LOGGING
            if logs and around.func is not name:
                return True
    return False
