"""Calls that communicate between the ranks."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.fsdp1_names import short

PACKAGE = "torch.distributed."
SUM = frozenset({f"{PACKAGE}ReduceOp.SUM", f"{PACKAGE}distributed_c10d.ReduceOp.SUM"})


def collective(facts: Facts, call: ast.Call) -> str | None:
    """The function of `torch.distributed` that `call` calls, without the module; or None."""
    names = {n for n in symbols(facts.value(call.func)) if n.startswith(PACKAGE)}
    return short(min(names)) if names else None


def is_sum(facts: Facts, node: ast.expr) -> bool:
    """Whether the reduction that `node` names adds up."""
    value = facts.value(node)
    return bool(value) and symbols(value) <= SUM and len(symbols(value)) == len(value)
