"""The ranks that a model is sharded over, kept on the model where it is sharded.

FSDP1's wrapper had them as attributes.  Where the program can't name the group, the parameters know
their mesh, as long as no forward pass has gathered them: right below the wrap.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.code import Code, Kept, Part, attribute, block, code
from fsdp_migrate.lowering.wrap_plan import MESH, WrapPlan
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.model_attributes import may_have
from fsdp_migrate.rule.queries.uniform import given_to
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

ASKED = {"process_group": "get_group", "rank": "get_local_rank", "world_size": "size"}
DEPTH = 4  # callers that a model is followed back to
LOOPS = (ast.For, ast.AsyncFor, ast.comprehension)


@dataclass(frozen=True)
class WrapStatement:
    """`model = FSDP(...)`."""

    module: Module
    statement: ast.Assign
    model: ast.expr


def wrap_statement(plan: WrapPlan | None) -> WrapStatement | None:
    """The assignment that a wrap is, if statements can be put below it."""
    if plan is None or plan.shape != "assign" or not plan.fact.module.rewrite:
        return None
    statement = plan.fact.module.statement(plan.fact.node)
    if not isinstance(statement, ast.Assign) or path_of(statement.targets[0]) is None:
        return None
    return WrapStatement(plan.fact.module, statement, statement.targets[0])


def kept_as(
    facts: Facts, module: Module, model: ast.expr, wraps: frozenset[Wrapped], name: str
) -> str | None:
    """What `name` of the models is called, set where they are sharded; None if it can't be.

    It has another name if the module inside may have an attribute that is called so.
    """
    plans = plans_of(facts, wraps)
    if name not in ASKED or not plans or _is_unit(facts, module, model, 0):
        return None
    if not all(_can_set(plan) for plan in plans):
        return None
    inner = [atom for plan in plans if plan is not None for atom in plan.fact.inner]
    free = bool(inner) and not any(may_have(facts, atom, name) for atom in inner)
    return name if free else f"fsdp_{name}"


def plans_of(facts: Facts, wraps: frozenset[Wrapped]) -> list[WrapPlan | None]:
    """What becomes of the models; of all that there are, where an annotation says no more."""
    if any(wrapped.site is None for wrapped in wraps):
        return list(facts.wraps.values())
    return [facts.plan(wrapped) for wrapped in wraps]


def _can_set(plan: WrapPlan | None) -> bool:
    """Whether the model's first parameter is sharded, and has a name."""
    return plan is not None and not plan.has_ignored and wrap_statement(plan) is not None


def _is_unit(facts: Facts, module: Module, model: ast.expr, depth: int) -> bool:
    """Whether `model` may be a unit that a policy made: what a loop goes by."""
    if not isinstance(model, ast.Name):
        return not isinstance(model, ast.Attribute)
    scope = scope_of(module, model)
    for bound in bindings(scope, model.id) if scope is not None else ():
        if isinstance(module.parents[bound], LOOPS):
            return True
        if isinstance(bound, ast.arg):
            given = given_to(facts, module, bound)
            if depth == DEPTH or any(
                value is not None and _is_unit(facts, home, value, depth + 1)
                for home, value in given
            ):
                return True
    return any(
        model.id in {n.id for n in nodes_in(clause.target) if isinstance(n, ast.Name)}
        for around in module.ancestors(model)
        for clause in getattr(around, "generators", ())
    )


def kept(plan: WrapPlan, names: Mapping[str, str]) -> Code | None:
    """The statements that keep on the model, by its new name, what is asked of it."""
    found = wrap_statement(plan)
    if found is None:
        return None
    model = Kept(found.module.span(found.model))
    mesh: Part = code("next({model}.parameters()).device_mesh", model=model)
    above: list[Code] = []
    # What isn't sharded at all is on a mesh whose last dimension has one rank.
    is_sharded = bool(plan.members) and "NO_SHARD" not in plan.members
    if not is_sharded or len(names) > 1:
        above = [code("{name} = {mesh}", name=MESH, mesh=mesh)]
        mesh = MESH
    dim: Part = code("-1") if is_sharded else code("0 if {mesh}.size(-1) == 1 else -1", mesh=mesh)
    lines = [
        code(
            "{target} = {asked}({dim})",
            target=attribute(model, name),
            asked=attribute(mesh, ASKED[names[name]]),
            dim=dim,
        )
        for name in sorted(names)
    ]
    return block(*above, *lines)
