"""Whether an expression may be the module inside of an FSDP1 model, and not the model itself.

Both are one object after the migration.  Before it, methods of the inner module knew nothing of
FSDP1: `model.module.state_dict()` gave this rank's shard, and took no other rank.
"""

from __future__ import annotations

import ast

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


def may_be_bare(facts: Facts, module: Module, node: ast.expr, depth: int = 0) -> bool:
    """Whether `node`, which can be an FSDP1 model, may be what is inside of one."""
    if depth > DEPTH:
        return False
    if not models(facts.value(node)):  # a part of one, or what holds several
        return not held(facts.analysis, facts.value(node))
    match node:
        case ast.Attribute():
            return node.attr == INNER or _stored(facts, node.attr, depth)
        case ast.Name():
            return _variable(facts, module, node, depth)
        case ast.IfExp():
            return any(may_be_bare(facts, module, n, depth + 1) for n in (node.body, node.orelse))
        case ast.BoolOp():
            return any(may_be_bare(facts, module, n, depth + 1) for n in node.values)
        case ast.NamedExpr():
            return may_be_bare(facts, module, node.value, depth + 1)
        case ast.Call():
            return _made(facts, module, node, depth)
        case _:
            return _names_inner(node)


def _variable(facts: Facts, module: Module, node: ast.Name, depth: int) -> bool:
    scope = scope_of(module, node)
    for bound in bindings(scope, node.id) if scope is not None else ():
        if isinstance(bound, ast.arg):
            for home, value in given_to(facts, module, bound):
                if value is None or _is_bare(facts, home, value, depth):
                    return True
            continue
        statement = module.statement(bound)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            if _is_bare(facts, module, statement.value, depth):
                return True
        elif isinstance(statement, ast.For | ast.AsyncFor) and _names_inner(statement.iter):
            return True
    return False


def _names_inner(node: ast.AST) -> bool:
    """Whether the inner module of something is named in `node`."""
    return any(isinstance(n, ast.Attribute) and n.attr == INNER for n in nodes_in(node))


def _is_bare(facts: Facts, module: Module, value: ast.expr, depth: int) -> bool:
    """The same of what a variable is given, which is no model before the wrap."""
    return bool(models(facts.value(value))) and may_be_bare(facts, module, value, depth + 1)


def _stored(facts: Facts, name: str, depth: int) -> bool:
    """Whether something may have put the inner module into an attribute of that name."""
    for module in facts.analysis.project.modules.values():
        for node in module.parents:
            if isinstance(node, ast.Attribute) and node.attr == name:
                statement = module.parents[node]
                if isinstance(statement, ast.Assign) and node in statement.targets:
                    if _is_bare(facts, module, statement.value, depth):
                        return True
    return False


def _made(facts: Facts, module: Module, node: ast.Call, depth: int) -> bool:
    """Whether a call may give the inner module."""
    if any(fact.node is node for fact in facts.analysis.wraps.values()):
        return False
    called = facts.value(node.func)
    sites = [site for atom in called for site in functions_run(facts, atom)]
    if called and len(sites) == len(called):
        infos = [facts.analysis.functions[site] for site in sites]
        return any(
            isinstance(item, ast.Return)
            and item.value is not None
            and _is_bare(facts, info.module, item.value, depth)
            for info in infos
            for item in own_nodes(info.node)
        )
    if isinstance(node.func, ast.Attribute) and models(facts.value(node.func.value)):
        return may_be_bare(facts, module, node.func.value, depth + 1)  # `model.eval()`
    return any(_is_bare(facts, module, argument, depth) for argument in node.args)
