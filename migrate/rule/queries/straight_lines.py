"""Statements that run one after the other once contexts are gone, and what lies between two."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, reads, touches

SIMPLE = (ast.AnnAssign, ast.Assign, ast.Assert, ast.AugAssign, ast.Expr, ast.Pass)
# Parts of expressions that are evaluated whenever the expression is.
PLAIN = (ast.Attribute, ast.Call, ast.Dict, ast.keyword, ast.List, ast.Starred, ast.Tuple)
HARMLESS = (
    "builtins.", "gc.", "logging.", "os.", "time.", "torch.cuda.", "torch.distributed.",
    "torch.load", "torch.save",
)  # fmt: skip


def sequence(facts: Facts, module: Module, statement: ast.stmt) -> list[ast.stmt]:
    """The statements of the block around `statement`, as it is without the contexts that go."""
    block = module.block(statement)
    while isinstance(around := module.parents[block[0]], ast.With) and _goes(facts, module, around):
        block = module.block(around)
    return list(_flat(facts, module, block))


def _flat(facts: Facts, module: Module, block: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in block:
        if isinstance(statement, ast.With) and _goes(facts, module, statement):
            yield from _flat(facts, module, statement.body)
        else:
            yield statement


def _goes(facts: Facts, module: Module, statement: ast.With) -> bool:
    """Whether nothing is left of the statement but its body."""
    plans = [facts.modes.plans.get(module.site(item.context_expr)) for item in statement.items]
    return all(plan is not None and plan.native for plan in plans)


def is_plain(module: Module, node: ast.expr) -> bool:
    """Whether `node` is evaluated, once, whenever the statement around it runs."""
    child: ast.AST = node
    for around in module.ancestors(node):
        if isinstance(around, ast.stmt):
            return isinstance(around, (*SIMPLE, ast.Return))
        if not isinstance(around, PLAIN) or isinstance(child, ast.Lambda):
            return False
        child = around
    return False


def lies_apart(
    facts: Facts, between: list[ast.stmt], used: frozenset[str], objects: frozenset[str]
) -> bool:
    """Whether what lies between two statements neither binds what is `used` nor does anything
    that `objects` may notice."""
    return all(
        isinstance(statement, SIMPLE)
        and not touches(binds(statement), used)
        and all(
            _is_harmless(facts, node) and not touches(reads(node), objects)
            for node in nodes_in(statement)
            if isinstance(node, ast.Call)
        )
        for statement in between
    )


def _is_harmless(facts: Facts, call: ast.Call) -> bool:
    """Whether a call of a library changes nothing of models."""
    value = facts.value(call.func)
    if isinstance(call.func, ast.Attribute) and call.func.attr == "state_dict" and not call.args:
        return True
    return bool(value) and all(
        isinstance(atom, Symbol) and atom.name.startswith(HARMLESS) for atom in value
    )


def emptied(module: Module, gone: list[ast.stmt]) -> list[ast.stmt]:
    """The statements to take out so that those of `gone` go: contexts that lose all they have."""
    found: list[ast.stmt] = []
    for statement in gone:
        outer = statement
        while isinstance(around := module.parents[outer], ast.With) and all(
            inner in gone or inner is outer for inner in around.body
        ):
            outer = around
        if outer not in found:
            found.append(outer)
    return found
