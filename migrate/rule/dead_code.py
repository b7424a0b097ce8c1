"""The parts of a file that native fixes take the place of, so that nothing else looks at them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

from fsdp_migrate.analysis.definitions import Definition, definition, removable
from fsdp_migrate.findings.code import NOTHING, Kept, parts_of
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.lowering.state_dict_modes import ModePlan
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.lowering.wraps import left_contexts
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import children, nodes_in
from fsdp_migrate.syntax.span import Span


def removed_nodes(facts: Facts) -> Mapping[str, frozenset[ast.AST]]:
    """By module, the nodes that go with native wraps and contexts, and with what they read.

    Those of values that are migrated where they are born are among them.
    """
    modules = facts.analysis.project.modules.values()
    return {m.name: frozenset(taken_nodes(facts, m) | _born(facts, m)) for m in modules}


def _born(facts: Facts, module: Module) -> set[ast.AST]:
    """The nodes of a file in whose place something new stands, where a value is born or read."""
    found: set[ast.AST] = set()
    for migrated in facts.born.migrated:
        if module.name in migrated.modules:
            found |= migrated.places
        for place, part in migrated.replaced:
            if place.module is module:
                kept = {span for p in parts_of(part) if isinstance(p, Kept) for span in p.spans}
                found.update(_inside(module, place.node, kept - {module.span(place.node)}))
        for owner, statement in migrated.dropped:
            if owner is module:
                found.update(nodes_in(statement))
    return found


def taken_nodes(facts: Facts, module: Module) -> set[ast.AST]:
    """The nodes of a file that go with native wraps and contexts."""
    plans = [*facts.wraps.values(), *(p for made in facts.partials.values() for p in made)]
    native = [p for p in dict.fromkeys(plans) if p.native and p.fact.module is module]
    modes = [c for c in facts.modes.plans.values() if c.native and c.module is module]
    kept = {span for plan in native for span in plan.kept}
    kept |= {module.span(node) for mode in modes for node in mode.kept}
    tops = [top for plan in native for top in _replaced(plan)]
    tops += [node for mode in modes for node in _left(mode)]
    tops += [top for top in _of_partials(facts) if top in module.parents]
    tops += [c for c in left_contexts(facts.analysis, facts.wraps) if c in module.parents]
    removed: set[ast.AST] = {node for top in tops for node in _inside(module, top, kept)}
    absorbed: list[Definition] = [d for plan in native for d in plan.parts.absorbed]
    absorbed += [d for mode in modes for d in mode.absorbed]
    while more := [
        content
        for statement in absorbed
        if (content := _content(statement)) not in removed
        and removable(facts.analysis, module, statement, removed)
    ]:
        removed |= {node for content in more for node in _inside(module, content, kept)}
    return removed


def _of_partials(facts: Facts) -> Iterator[ast.AST]:
    """What partials of the class are given that is said at their calls."""
    for site, plans in facts.partials.items():
        if all(plan.native and not plan.calls for plan in plans):
            yield from (keyword.value for keyword in facts.analysis.call_nodes[site].keywords)


def _left(mode: ModePlan) -> tuple[ast.AST, ...]:
    """What goes with a context: what hands it over, as a whole."""
    function = mode.helper.statement if mode.helper is not None else None
    return (function if function is not None else mode.call, *mode.carriers)


def _inside(module: Module, node: ast.AST, kept: Collection[Span]) -> Iterator[ast.AST]:
    """`node` and the nodes in it, without the expressions that the new code keeps."""
    if isinstance(node, ast.expr) and module.span(node) in kept:
        return
    yield node
    for child in children(node):
        yield from _inside(module, child, kept)


def _replaced(plan: WrapPlan) -> Iterator[ast.AST]:
    """The expressions whose place something new takes, or nothing."""
    precision = plan.parts.precision
    passed_on = {plan.model, precision.node if precision is not None else None}
    made = plan.fact.node
    if not plan.fact.direct and plan.through is None:
        return  # a library is given the class
    if plan.through is not None:
        yield from (keyword.value for keyword in made.keywords)
        return
    for argument in [*made.args[bool(plan.calls) :], *(keyword.value for keyword in made.keywords)]:
        if argument not in passed_on:
            yield argument
    if plan.fact.contexts or plan.fact.partials or _is_alias(plan):
        yield made.func
    for node, _ in plan.parts.replaced:
        yield node


def _is_alias(plan: WrapPlan) -> bool:
    """Whether the class is called by a variable that goes with the call."""
    callee = plan.fact.node.func
    found = definition(plan.fact.module, callee) if isinstance(callee, ast.Name) else None
    return found is not None and found in plan.parts.absorbed


def removals(
    facts: Facts, module: Module, absorbed: Iterable[Definition]
) -> list[ReplaceStatement]:
    """Edits that drop those of the `absorbed` assignments that nothing reads any more."""
    statements = tuple(absorbed)
    taken = taken_nodes(facts, module) if statements else set()
    return [
        ReplaceStatement(module.span(statement), NOTHING)
        for statement in statements
        if _content(statement) in taken
    ]


def made_only_for(facts: Facts, module: Module, node: ast.expr) -> ast.stmt | None:
    """The assignment of the variable `node` names, if nothing else reads the variable."""
    found = definition(module, node) if isinstance(node, ast.Name) else None
    if found is None or not removable(facts.analysis, module, found, {node}):
        return None
    return found


def _content(statement: Definition) -> ast.AST:
    return statement.value if isinstance(statement, ast.Assign) else statement  # with its types
