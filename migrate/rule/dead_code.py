"""The parts of a file that native fixes take the place of, so that nothing else looks at them."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.definitions import Definition, removable
from fsdp_migrate.findings.finding import ReplaceStatement
from fsdp_migrate.rule.rule import Facts
from fsdp_migrate.syntax.module import Module


def removed_nodes(facts: Facts, module: Module) -> set[ast.AST]:
    """The nodes of `module` that go with native wraps and modes, and with what they read."""
    if module.name not in facts.removed:
        facts.removed[module.name] = _removed(facts, module)
    return facts.removed[module.name]


def _removed(facts: Facts, module: Module) -> set[ast.AST]:
    removed: set[ast.AST] = set()
    absorbed: list[Definition] = []
    for plan in facts.wraps.values():
        if not plan.native or plan.fact.module is not module:
            continue
        absorbed += plan.absorbed
        removed |= {inner for node in plan.replaced for inner in ast.walk(node)}
        mixed = plan.mixed_precision
        kept = plan.fact.arguments["module"].node
        for argument in [*plan.fact.node.args, *(k.value for k in plan.fact.node.keywords)]:
            carried = (
                mixed is not None and not mixed.inline and (module.text(argument) == mixed.text)
            )
            if argument is not kept and not carried:
                removed |= set(ast.walk(argument))
    for mode in facts.modes.plans.values():
        if mode.native and mode.module is module:
            absorbed += mode.absorbed
            removed |= set(ast.walk(mode.call))
    while more := [
        content
        for statement in absorbed
        if (content := _content(statement)) not in removed
        and removable(facts.analysis, module, statement, removed)
    ]:
        removed |= {node for content in more for node in ast.walk(content)}
    return removed


def removals(
    facts: Facts, module: Module, absorbed: Iterable[Definition]
) -> list[ReplaceStatement]:
    """Edits that drop those of the `absorbed` assignments that nothing reads any more."""
    removed = removed_nodes(facts, module)
    return [
        ReplaceStatement(module.span(statement), "")
        for statement in absorbed
        if _content(statement) in removed
    ]


def _content(statement: Definition) -> ast.AST:
    return statement.value if isinstance(statement, ast.Assign) else statement
