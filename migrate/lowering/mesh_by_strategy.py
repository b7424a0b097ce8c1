"""A device mesh that is there for the hybrid strategies, and None for the others.

    hybrid = strategy in (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)
    FSDP(model, sharding_strategy=strategy, device_mesh=mesh if hybrid else None)

Without a mesh FSDP2 shards over all ranks, which is no hybrid strategy: so there has to be one
whenever the strategy is hybrid.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import NONE, Result, Value
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.enum_births import STRATEGY, birth_of
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.sharding_function import HYBRID
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.syntax.module import Module


def is_given_to_hybrids(
    analysis: Analysis,
    module: Module,
    mesh: Argument,
    strategy: ast.expr,
    members: Iterable[str],
) -> bool:
    """Whether there is a mesh for certain where the strategy, one of `members`, is hybrid."""
    hybrid = HYBRID.intersection(members)
    if not hybrid or is_there(mesh.value):
        return True
    chosen = _Chosen(analysis, module, strategy)
    return mesh.node is not None and chosen.is_there(mesh.node, hybrid)


def is_there(mesh: Value) -> bool:
    """Whether a value is a mesh, and never None."""
    return bool(mesh) and all(isinstance(atom, Result) for atom in mesh)


class _Chosen:
    """Expressions that are chosen by a strategy, the variable `strategy` of a file."""

    def __init__(self, analysis: Analysis, module: Module, strategy: ast.expr) -> None:
        self._analysis = analysis
        self._module = module
        self._strategy = strategy

    def is_there(self, node: ast.expr, hybrid: frozenset[str]) -> bool:
        """Whether an expression is no None where the strategy is one of `hybrid`."""
        if is_there(self._analysis.value(node)):
            return True
        node = self._followed(node)
        if is_there(self._analysis.value(node)):
            return True
        if not isinstance(node, ast.IfExp) or not self._analysis.value(node.orelse) <= NONE:
            return False
        return hybrid <= self._tested(node.test) and self.is_there(node.body, hybrid)

    def _followed(self, node: ast.expr) -> ast.expr:
        found = followed(self._module, node) if isinstance(node, ast.Name) else None
        return found.value if found is not None else node

    def _tested(self, test: ast.expr) -> frozenset[str]:
        """The strategies for which a test is surely true."""
        test = self._followed(test)
        match test:
            case ast.BoolOp(op=ast.Or(), values=values):
                return frozenset().union(*map(self._tested, values))
            case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[other]):
                return self._members([other]) if self._is_strategy(left) else frozenset()
            case ast.Compare(left=left, ops=[ast.In()], comparators=[other]) if isinstance(
                other, ast.Tuple | ast.List | ast.Set
            ):
                return self._members(other.elts) if self._is_strategy(left) else frozenset()
        return frozenset()

    def _is_strategy(self, node: ast.expr) -> bool:
        """Whether an expression is the strategy itself: the same variable, bound once."""
        if not isinstance(node, ast.Name) or not isinstance(self._strategy, ast.Name):
            return False
        bound = definition(self._module, node)
        return bound is not None and bound is definition(self._module, self._strategy)

    def _members(self, nodes: Iterable[ast.expr]) -> frozenset[str]:
        births = (birth_of(self._analysis, STRATEGY, Place(self._module, n)) for n in nodes)
        return frozenset(b.member for b in births if b is not None and b.member is not None)
