"""Which function clips what a model's own `clip_grad_norm_` clipped."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from fsdp_migrate.analysis.values import Const, Symbol, Wrapped
from fsdp_migrate.findings.code import Code, Kept, Part, Variable, call, code
from fsdp_migrate.findings.edits import Define, Edit, ReplaceExpression
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.clip_written import by_any, by_both, by_largest
from fsdp_migrate.rule.queries.duck_typing import Bind
from fsdp_migrate.rule.queries.method_calls import PARTIAL, given
from fsdp_migrate.rule.queries.values import library_name, literals
from fsdp_migrate.syntax.module import Module

INFINITE = frozenset({"math.inf", "numpy.inf", "torch.inf"})
GROUPS = ("device_mesh", "process_group")


class Order(Enum):
    """The order of a norm."""

    FINITE = "a number"
    MAXIMUM = "infinite"
    UNKNOWN = "known only at run time"


@dataclass(frozen=True)
class Written:
    """A function of the file's own that clips, and what is said of it; or why there is none."""

    definition: Code | None = None
    function: Variable | None = None
    words: str = ""

    @property
    def name(self) -> Variable:
        """What the function is called."""
        assert self.function is not None
        return self.function

    def bound(self, model: Part) -> Part:
        """The function together with the model's parameters."""
        return call(PARTIAL, self.name, code("list({model}.parameters())", model=model))

    def of_value(self, model: Part) -> tuple[Code, Part] | None:
        """The definition, and the function with the model's parameters; None if there is none."""
        return (self.definition, self.bound(model)) if self.definition is not None else None

    def edits(self, module: Module, node: ast.expr, new: Part) -> list[Edit]:
        """The edits that put `new`, which names the function, in the place of `node`."""
        assert self.definition is not None
        span = module.span(node)
        return [Define(span, self.definition), ReplaceExpression(span, new)]


def written_for_call(use: Use, facts: Facts) -> Written | None:
    """The function for a call of the method; None where PyTorch's own is enough."""
    if not use.certain or any(isinstance(a, ast.Starred) for a in use.args):
        return Written(words="the model may be another")
    order = order_of(use, facts)
    known = [plan for plan in map(facts.plan, use.wraps) if plan is not None]
    ignored = any(plan.has_ignored for plan in known)
    if order is Order.FINITE and not ignored:
        return None
    reason = _no_own_function(facts, use.wraps)
    if reason:
        return Written(words=reason)
    if ignored and order is not Order.FINITE:
        return Written(words="parameters may be plain tensors too, and the norm may be the maximum")
    if ignored:
        return Written(*by_both(use.module), "parameters may be plain tensors too")
    if order is Order.MAXIMUM:
        return Written(*by_largest(use.module), "torch's maximum norm fails on an empty shard")
    return Written(*by_any(use.module), "the order of the norm is known only at run time")


def written_for_both(facts: Facts, module: Module, wraps: Iterable[Wrapped]) -> Written:
    """The function for a call of PyTorch's own with sharded and plain parameters."""
    reason = _no_own_function(facts, wraps)
    if reason:
        return Written(words=reason)
    return Written(*by_both(module), "parameters may be plain tensors too")


def written_for_value(module: Module, wraps: Iterable[Wrapped], facts: Facts) -> Written:
    """The function for whoever calls the method later, with any arguments."""
    reason = _no_own_function(facts, wraps)
    if not reason and any(plan and plan.has_ignored for plan in map(facts.plan, wraps)):
        reason = "parameters may be plain tensors too"
    if reason:
        return Written(words=reason)
    return Written(*by_any(module), "the order of the norm is known only where it is called")


def binding(facts: Facts) -> Bind:
    """What asks for a function of a file's own that clips, and is bound to a model."""

    def own(module: Module, wraps: frozenset[Wrapped], model: Part) -> tuple[Code, Part] | None:
        return written_for_value(module, wraps, facts).of_value(model)

    return own


def called_with(written: Written, use: Use, facts: Facts) -> Part:
    """The call of the function in the place of the method's."""
    model = code("{model}.parameters()", model=Kept(use.module.span(_receiver(use))))
    if order_of(use, facts) is Order.MAXIMUM:
        order = _order_node(use)
        rest = [a for a in given(use) if not _is_order(a, order, use.module)]
        return call(written.name, model, *rest)
    return call(written.name, model, *given(use))


def _receiver(use: Use) -> ast.expr:
    assert use.receiver is not None
    return use.receiver


def _is_order(element: object, order: ast.expr | None, module: Module) -> bool:
    value = getattr(element, "value", element)
    return order is not None and isinstance(value, Kept) and value.span == module.span(order)


# ---------------------------------------------------------------------- the order
def order_of(use: Use, facts: Facts) -> Order:
    """The order of the norm that a call asks for."""
    node = _order_node(use)
    if any(keyword.arg is None for keyword in use.keywords):
        return Order.UNKNOWN
    if node is None:
        return Order.FINITE
    if is_infinite(facts, node):
        return Order.MAXIMUM
    known = literals(facts.value(node))
    finite = known is not None and all(
        isinstance(each, int | float) and each != math.inf for each in known
    )
    return Order.FINITE if finite else Order.UNKNOWN


def _order_node(use: Use) -> ast.expr | None:
    named = [keyword.value for keyword in use.keywords if keyword.arg == "norm_type"]
    return next(iter([*named, *use.args[1:2]]), None)


def is_infinite(facts: Facts, node: ast.expr) -> bool:
    """Whether an expression is infinity and nothing else: `float("inf")`, `math.inf`."""
    value = facts.value(node)
    if isinstance(node, ast.Call) and library_name(facts.value(node.func)) == "builtins.float":
        value = facts.value(node.args[0]) if len(node.args) == 1 else frozenset()
    return bool(value) and all(
        (isinstance(atom, Symbol) and atom.name in INFINITE)
        or (isinstance(atom, Const) and atom.value in ("inf", math.inf))
        for atom in value
    )


def _no_own_function(facts: Facts, wraps: Iterable[Wrapped]) -> str:
    """Why none that reduces over all ranks, on the GPU, is right."""
    plans = [facts.plan(wrapped) for wrapped in wraps]
    if not plans or None in plans:
        return "what the model is wrapped with is not known"
    for plan in plans:
        assert plan is not None
        if plan.fact.opaque or any(name in plan.arguments for name in GROUPS):
            return "the ranks that share the model may not be all"
        if "cpu_offload" in plan.arguments or plan.device_type != "cuda":
            return "gradients may be on the CPU"
    return ""
