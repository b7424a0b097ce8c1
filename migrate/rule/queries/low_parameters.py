"""Whether the parameters of a model themselves are of a dtype of low precision."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import NONE, Result, Symbol, Value, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called, calls

LOW = frozenset(f"torch.{name}" for name in ("bfloat16", "float16", "half"))
WIDE = frozenset(f"torch.{name}" for name in ("double", "float", "float32", "float64"))
CASTS = frozenset({"bfloat16", "half"})
DTYPES = frozenset({"dtype", "torch_dtype"})
DEFAULT = "torch.set_default_dtype"


def may_be_low(facts: Facts, wraps: Iterable[Wrapped]) -> bool:
    """Whether something in the program makes the parameters of these models such, or may do."""
    models: set[object] = set(wraps)
    for wrapped in wraps:
        fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
        models |= fact.inner if fact is not None else set()
    return any(_makes_low(facts, call, models) for _, call in calls(facts))


def _makes_low(facts: Facts, call: ast.Call, models: set[object]) -> bool:
    given = [facts.value(part) for part in (*call.args, *(k.value for k in call.keywords))]
    names_low = any(isinstance(a, Symbol) and a.name in LOW for value in given for a in value)
    if DEFAULT in called(facts, call):
        return names_low
    if isinstance(call.func, ast.Attribute) and facts.value(call.func.value) & models:
        return call.func.attr in CASTS or (call.func.attr == "to" and names_low)
    made = {atom for atom in facts.value(call) if isinstance(atom, Result)} & models
    return bool(made) and any(
        keyword.arg in DTYPES and not _is_wide(facts.value(keyword.value))
        for keyword in call.keywords
    )


def _is_wide(value: Value) -> bool:
    """Whether a dtype is known to be of full precision."""
    return bool(value) and all(
        atom in NONE or (isinstance(atom, Symbol) and atom.name in WIDE) for atom in value
    )
