"""Gradient accumulation without synchronisation: what changes in the sums, and what is left over.

Inside `no_sync` FSDP1 adds gradients up in the dtype of the parameters, FSDP2 in that of the
reduction.  And `zero_grad` does not reach sums that are not reduced yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.queries.parameters import dtypes, owners
from fsdp_migrate.rule.rule import Facts, Rule, Use, finding_at, no_uses

LOW = frozenset({"bfloat16", "float16", "half"})
LOOPS = (ast.For, ast.AsyncFor, ast.While)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every `no_sync` of an FSDP model."""
    seen: set[ast.AST] = set()
    for use in facts.uses:
        if use.name == "no_sync" and use.wraps:
            yield from _sums(use, facts)
            yield from _left_over(use, facts, seen)


def _sums(use: Use, facts: Facts) -> Iterator[Finding]:
    """Say how the sums of microbatches change, for the dtypes that the wrap is given."""
    known = {pair for wrapped in use.wraps for pair in dtypes(facts, wrapped)}
    messages = set()
    for param, reduce in known:
        if param in LOW and reduce not in {None, param}:
            messages.add(
                f"FSDP1 added microbatches up in {param}, FSDP2 adds them up in {reduce}: the "
                "better sum, and not the same one (losses 2e-4 apart after three steps; twice the "
                "memory for the sums)"
            )
        elif reduce in LOW and param not in LOW:
            messages.add(
                f"FSDP1 added microbatches up in float32, FSDP2 adds them up in {reduce}: leave "
                "reduce_dtype out, or reduce after each microbatch, to keep the precision"
            )
    for message in sorted(messages):
        yield finding_at(
            RULE,
            use.module,
            use.node,
            message,
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            units=facts.units(use.wraps),
        )


def _left_over(use: Use, facts: Facts, seen: set[ast.AST]) -> Iterator[Finding]:
    """`zero_grad` in the loop over microbatches, apart from a step."""
    module = use.module
    loop = next((a for a in module.ancestors(use.node) if isinstance(a, LOOPS)), None)
    if loop is None or loop in seen:
        return
    seen.add(loop)
    for node in (n for statement in loop.body for n in ast.walk(statement)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr != "zero_grad" or not _is_about(facts, use, node.func.value):
            continue
        inner = next(a for a in module.ancestors(node) if isinstance(a, LOOPS))
        if inner is not loop or _ends_a_window(use, node, loop):
            continue
        yield finding_at(
            RULE,
            module,
            node,
            "inside an accumulation window FSDP1 dropped what was summed so far; FSDP2 keeps it "
            "and adds it to the next step.  Skip the microbatch before its backward, or let the "
            "window end here (set_requires_gradient_sync(True) before the backward)",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE,
            units=facts.units(use.wraps),
        )


def _is_about(facts: Facts, use: Use, receiver: ast.expr) -> bool:
    """Whether `receiver` is the model of `use`, or an optimizer of its parameters."""
    if facts.solver.wrapped(facts.value(receiver)) & use.wraps:
        return True
    for atom in facts.value(receiver):
        site = getattr(atom, "site", None)
        call = facts.solver.call_nodes.get(site) if site is not None else None
        if call is not None and any(owners(facts, a) & use.wraps for a in call.args):
            return True
    return False


def _ends_a_window(use: Use, call: ast.Call, loop: ast.AST) -> bool:
    """Whether a step is taken next to `call`, or a count of microbatches guards it."""
    module = use.module
    node: ast.AST = module.statement(call)
    while node is not loop:
        if isinstance(node, ast.stmt):
            for other in module.block(node):
                if any(
                    isinstance(n, ast.Attribute) and n.attr == "step" for n in ast.walk(other)
                ) and not isinstance(other, LOOPS):
                    if other is node or not isinstance(other, ast.If):
                        return True
        node = module.parents[node]
        if isinstance(node, ast.If):
            text = ast.unparse(node.test)
            if "%" in text or "sync" in text or "accum" in text:
                return True
    return False


RULE = Rule(
    code="FSDP507",
    name="accumulation",
    summary="sums of microbatches: their dtype, and zero_grad inside a window",
    why=(
        "FSDP2 keeps gradients that are not reduced yet in the dtype of the reduction, and in "
        "tensors of its own."
    ),
    fix_safety="There is no fix: the note says how the training changes.",
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
)
