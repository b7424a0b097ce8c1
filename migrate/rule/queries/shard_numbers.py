"""Numbers that ranks compute of their own shards and put together: is it that of the whole?

It is if it doesn't matter which rank has which elements: sums of what is computed element by
element, added up; the largest of them, of which the largest is taken.  What is not known to be of
this kind counts as not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from fsdp_migrate.lowering.local_tensors import Operation
from fsdp_migrate.lowering.tensor_sinks import Sink
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.collectives import collective
from fsdp_migrate.rule.queries.values import library_name

ELEMENTWISE = frozenset(
    {
        "Add", "Compare", "Mult", "Pow", "Power", "Quotient", "Scale", "Sub", "abs", "add",
        "add_", "bfloat16", "clone", "contiguous", "cpu", "cuda", "detach", "div", "double", "eq",
        "flatten", "float", "ge", "gt", "half", "isfinite", "isinf", "isnan", "le", "logical_not",
        "lt", "mul", "ne", "neg", "pow", "ravel", "reshape", "sqrt", "square", "sub", "to", "view",
    }
)  # fmt: skip
SUMS = frozenset({"count_nonzero", "dot", "nansum", "sum"})
NORMS = frozenset({"norm", "vector_norm"})
POWERS = frozenset({"Mult", "Pow", "mul", "pow", "square"})
KEPT = frozenset(
    {
        "append", "as_tensor", "cat", "clone", "cpu", "cuda", "detach", "double", "float", "item",
        "reshape", "squeeze", "stack", "tensor", "to", "tolist", "unsqueeze", "view",
    }
)  # fmt: skip
ADDED = KEPT | frozenset({"Add", "Scale", "Sub", "add", "add_", "div", "fsum", "sub", "sum"})
SUMMING = frozenset({"Add", "add", "add_", "sum"})
LARGEST = {
    "MAX": frozenset({"amax", "any", "max", "maximum"}),
    "MIN": frozenset({"all", "amin", "min", "minimum"}),
}
ADDING = frozenset({"AVG", "SUM"})
REDUCING = {"all_reduce": 1, "reduce": 2}  # and the place of `op` among the arguments


def is_of_the_whole(facts: Facts, sink: Sink, operations: Sequence[Operation]) -> bool:
    """Whether what the ranks put together in `sink`, so computed, is the same for any cut."""
    reduction = _reduction(facts, sink.node)
    large = {o.name for o in operations if not o.of_number}
    small = {o.name for o in operations if o.of_number}
    if reduction in ADDING:
        if large & NORMS:
            return large <= ELEMENTWISE | NORMS and _are_squared_first(operations)
        return large <= ELEMENTWISE | SUMS and small <= ADDED
    largest = LARGEST.get(reduction)
    return largest is not None and large <= ELEMENTWISE | largest and small <= KEPT | largest


def _are_squared_first(operations: Iterable[Operation]) -> bool:
    """Whether norms are squared before they are added up."""
    names = [o.name for o in sorted(operations, key=_when) if o.of_number]
    squared = next((i for i, name in enumerate(names) if name in POWERS), len(names))
    added = next((i for i, name in enumerate(names) if name in SUMMING), len(names))
    return set(names) <= ADDED | POWERS | NORMS and squared < len(names) and squared < added


def _when(operation: Operation) -> tuple[str, int, int, int]:
    """Sorts what is computed first to the front: the inner parts of an expression."""
    span = operation.module.span(operation.node)
    return operation.module.name, span.end_line, span.end_col, -span.line * 1000 - span.col


def _reduction(facts: Facts, node: ast.AST) -> str:
    """How a collective puts numbers together; nothing where that isn't known."""
    name = collective(facts, node) if isinstance(node, ast.Call) else None
    if name not in REDUCING or not isinstance(node, ast.Call):
        return ""
    place = REDUCING[name]
    named = [keyword.value for keyword in node.keywords if keyword.arg == "op"]
    given = next(iter([*node.args[place : place + 1], *named]), None)
    if given is None:
        return "SUM"
    return (library_name(facts.value(given)) or "").rpartition(".")[2]
