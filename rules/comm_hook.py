"""`model.register_comm_hook(state, hook)`: compression becomes `reduce_dtype`.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

The two hooks of torch that compress gradients cast them for the reduction, which is what
`MixedPrecisionPolicy(reduce_dtype=...)` does.  A hook of one's own becomes a class that FSDP2
calls in the place of its reduce-scatter; that is for a person to write.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import NOTHING
from fsdp_migrate.findings.edits import ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.comm_hooks import hooks, state_of_hook
from fsdp_migrate.rule.queries.wraps import takes_hook
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding

ON_EACH = "on each unit (`[m for m in model.modules() if isinstance(m, FSDPModule)]`)"
ADVICE = {
    "bf16_compress_hook": "give `mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.bfloat16)` to "
    "every fully_shard call of the model, which trains bit for bit the same, and drop the hook",
    "fp16_compress_hook": "give `mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float16)` to "
    "every fully_shard call of the model, which trains bit for bit the same, and drop the hook",
    "allreduce_hook": "it is what FSDP2 does by itself: drop it",
    "reduce_scatter_hook": "it is what FSDP2 does by itself: drop it",
}
CUSTOM = (
    "write a class with `allocate` and "
    "`__call__(output_tensor, input_tensor, group, op, async_op)`, "
    f"and hand it to `set_custom_reduce_scatter` {ON_EACH} (torch 2.9).  The gradients come "
    "padded along dim 0, parameter by parameter.  If the hook sums without dividing, call "
    "`set_gradient_divide_factor(1.0)` and `set_force_sum_reduction_for_comms(True)` instead"
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop the call if the wrap took it over, or say what to do."""
    units = facts.models(use.wraps)
    call = use.call
    statement = use.module.statement(use.node)
    names = hooks(use, facts) if call is not None else set()
    plain = names & {"allreduce_hook", "reduce_scatter_hook"}
    taken = call is not None and takes_hook(facts, call)
    if call is not None and _is_whole(statement, call) and (taken or (plain and plain == names)):
        name = min(names) if names else "the hook"
        message = (
            f"{name} becomes MixedPrecisionPolicy(reduce_dtype=...) of the wrap"
            if taken
            else f"{name} is what FSDP2 does by itself"
        )
        yield finding(
            RULE,
            use,
            message,
            tier=Tier.NATIVE,
            edits=[
                ReplaceStatement(use.module.span(item), NOTHING)
                for item in (statement, *state_of_hook(use, facts))
            ],
            models=units,
        )
        return
    advice = next((ADVICE[name] for name in sorted(names) if name in ADVICE), CUSTOM)
    yield finding(
        RULE,
        use,
        f"FSDP2 has no register_comm_hook: {advice}",
        tier=Tier.MANUAL,
        models=units,
    )


def _is_whole(statement: ast.stmt, call: ast.Call) -> bool:
    return isinstance(statement, ast.Expr) and statement.value is call


RULE = Rule(
    code="FSDP404",
    name="comm-hook",
    summary="`register_comm_hook` becomes `reduce_dtype`, where it compresses",
    why="FSDP2 has no hooks for its communication; the dtype of the reduction is part of a policy.",
    fix_safety=(
        "Safe: gradients are cast, reduced and cast back as before, bit for bit. "
        "Hooks of your own are left for a person."
    ),
    left=(
        "Hooks of your own, and hooks that are registered after the first step.  Write a class "
        "with allocate and __call__, and hand it to set_custom_reduce_scatter of each unit "
        "(torch 2.9); for hooks that only compress, give reduce_dtype to MixedPrecisionPolicy."
    ),
    needs=(
        "the hook is one of PyTorch's compression hooks",
        "the wrap says nothing of the dtype of the reduction itself",
        "the hook is there from the first step on",
    ),
    check=check,
    methods=("register_comm_hook",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.register_comm_hook",
            "`reduce_dtype=`, for torch's hooks that compress",
            (Tier.NATIVE, Tier.MANUAL),
        ),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/algorithms/_comm_hooks/default_hooks.py",
        "torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.algorithms._comm_hooks import default_hooks
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def shard(model, group):
    model = FSDP(model)
    state = default_hooks.LowPrecisionState(group)
    model.register_comm_hook(state, default_hooks.bf16_compress_hook)
    return model
""",
            after="""\
import torch
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard


def shard(model, group):
    fully_shard(model, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.bfloat16))
    return model
""",
        ),
    ),
)
