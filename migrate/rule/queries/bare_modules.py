"""Whether an expression may be the module inside of an FSDP1 model, and not the model itself.

Both are one object after the migration.  Before it, methods of the inner module knew nothing of
FSDP1: `model.module.state_dict()` gave this rank's shard, and took no other rank.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.functions_run import functions_run
from fsdp_migrate.rule.queries.uniform import given_to
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.rule.uses import held
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes

DEPTH = 8
INNER = "module"


Places = list[tuple[Module, ast.expr]]
"""Expressions that are to be looked at in their turn."""


def may_be_bare(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node`, which can be an FSDP1 model, may be what is inside of one."""
    todo: Places = [(module, node)]
    seen: set[ast.expr] = set()
    for _ in range(DEPTH + 1):
        after: Places = []
        for home, value in todo:
            if value not in seen:
                seen.add(value)
                origins = _origins(facts, home, value)
                if origins is None:
                    return True
                after += origins
        todo = after
    return False


def _origins(facts: Facts, module: Module, node: ast.expr) -> Places | None:
    """What `node` may have its value from; None where it may be the inner module itself."""
    if not models(facts.value(node)):  # a part of one, or what holds several
        return [] if held(facts.analysis, facts.value(node)) else None
    match node:
        case ast.Attribute():
            return None if node.attr == INNER else _models_in(facts, _stored(facts, node.attr))
        case ast.Name():
            return _variable(facts, module, node)
        case ast.IfExp():
            return _models_in(facts, [(module, node.body), (module, node.orelse)])
        case ast.BoolOp():
            return _models_in(facts, [(module, part) for part in node.values])
        case ast.NamedExpr():
            return [(module, node.value)]
        case ast.Call():
            return _made(facts, module, node)
        case _:
            return None if _names_inner(node) else []


def _variable(facts: Facts, module: Module, node: ast.Name) -> Places | None:
    scope = scope_of(module, node)
    found: Places = []
    for bound in bindings(scope, node.id) if scope is not None else ():
        if isinstance(bound, ast.arg):
            for home, value in given_to(facts, module, bound):
                if value is None:
                    return None
                found.append((home, value))
            continue
        statement = module.statement(bound)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            found.append((module, statement.value))
        elif isinstance(statement, ast.For | ast.AsyncFor) and _names_inner(statement.iter):
            return None
    return _models_in(facts, found)


def _names_inner(node: ast.AST) -> bool:
    """Whether the inner module of something is named in `node`."""
    return any(isinstance(n, ast.Attribute) and n.attr == INNER for n in nodes_in(node))


def _models_in(facts: Facts, places: Iterable[tuple[Module, ast.expr]]) -> Places:
    """Those that can be models: what a variable is given before the wrap is none."""
    return [(module, value) for module, value in places if models(facts.value(value))]


def _stored(facts: Facts, name: str) -> Iterator[tuple[Module, ast.expr]]:
    """What is put into attributes of that name."""
    for module, node in facts.analysis.project.index.of_attribute(name):
        statement = module.parents[node]
        if isinstance(statement, ast.Assign) and node in statement.targets:
            yield module, statement.value


def _made(facts: Facts, module: Module, node: ast.Call) -> Places:
    """What a call may give back."""
    if any(fact.node is node for fact in facts.analysis.wraps.values()):
        return []
    called = facts.value(node.func)
    sites = [site for atom in called for site in functions_run(facts, atom)]
    if called and len(sites) == len(called):
        infos = [facts.analysis.functions[site] for site in sites]
        returned = [
            (info.module, item.value)
            for info in infos
            for item in own_nodes(info.node)
            if isinstance(item, ast.Return) and item.value is not None
        ]
        return _models_in(facts, returned)
    if isinstance(node.func, ast.Attribute) and models(facts.value(node.func.value)):
        return [(module, node.func.value)]  # `model.eval()`
    return _models_in(facts, [(module, argument) for argument in node.args])
