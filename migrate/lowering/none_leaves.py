"""`None` where a policy is meant: the places that say so, if constructors alone are given it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from fsdp_migrate.analysis.definitions import scope_of
from fsdp_migrate.analysis.values import NONE
from fsdp_migrate.lowering.value_flow import Place, Read, ValueFlow
from fsdp_migrate.lowering.value_leaves import leaves
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.lowering.wrap_site import is_none
from fsdp_migrate.syntax.nodes import nodes_in


def none_leaves(flow: ValueFlow, reads: Sequence[Read]) -> tuple[Place, ...] | None:
    """Each `None` that stands for the absence of a value, and can be a policy of its own instead.

    FSDP2 takes no None for a policy.  Where nothing but constructors reads the values, and all
    that they can be is written out, the policy that does nothing may as well be written there.
    """
    if any(read.act is not Act.GIVEN for read in reads):
        return None
    found: dict[ast.expr, Place] = {}
    for read in reads:
        ends = leaves(flow.analysis, read.place.module, read.place.node)
        if ends is None or any(_may_be_none(flow, end) for end in ends):
            return None
        found.update((end.node, end) for end in ends if is_none(end.node))
    given = frozenset(read.place.node for read in reads)
    if not all(_is_for_constructors(place, given) for place in found.values()):
        return None
    return tuple(found.values())


def _may_be_none(flow: ValueFlow, end: Place) -> bool:
    """Whether an end is a look-up, or a call, that may give None."""
    return not is_none(end.node) and bool(flow.analysis.value(end.node) & NONE)


def _is_for_constructors(place: Place, given: frozenset[ast.expr]) -> bool:
    """Whether a variable that is None there is read by nothing else than constructors."""
    parent = place.module.parents[place.node]
    if not isinstance(parent, ast.Assign):
        return True
    (target,) = parent.targets
    assert isinstance(target, ast.Name)
    scope = scope_of(place.module, target) or place.module.tree
    reads = (n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == target.id)
    return all(n in given for n in reads if isinstance(n.ctx, ast.Load))
