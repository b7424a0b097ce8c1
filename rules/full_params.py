"""`FSDP.summon_full_params(model)` and `FSDP.fsdp_modules(model)`."""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Import, ReplaceExpression, Tier
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, call_parts, finding, runtime
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, short


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one reference."""
    name = short(use.name)
    span = use.module.span(use.node)
    call = use.call
    if name == "fsdp_modules" and call is not None and len(call.args) == 1 and not call.keywords:
        hole = (use.module.span(call.args[0]),)
        text = "[unit for unit in {0}.modules() if isinstance(unit, FSDPModule)]"
        yield finding(
            RULE,
            use,
            "FSDP.fsdp_modules becomes a look at the submodules",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(call), text, hole)],
            imports=[Import(ROOT, "FSDPModule")],
        )
        return
    if use.receiver is not None:
        hole = (use.module.span(use.receiver),)
        if use.call is not None and use.call.args:  # a static method: the model is passed too
            edit, extra = ReplaceExpression(span, name), []
        elif use.call is None:
            text, extra = f"partial({name}, {{0}})", [Import("functools", "partial")]
            edit = ReplaceExpression(span, text, hole)
        else:
            edit, extra = _call(use, name), []
        yield finding(
            RULE,
            use,
            f"{name} goes through the shim",
            tier=Tier.SHIM,
            edits=[edit],
            imports=[runtime(name), *extra],
            units=facts.units(use.wraps),
        )
        return
    yield finding(
        RULE,
        use,
        f"FSDP.{name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(span, name)],
        imports=[runtime(name)],
    )


def _call(use: Use, name: str) -> ReplaceExpression:
    assert use.call is not None
    assert use.receiver is not None
    given, holes = call_parts(use.module, use, use.receiver)
    text = f"{name}({', '.join(filter(None, ['{0}', given]))})"
    return ReplaceExpression(use.module.span(use.call), text, holes)


RULE = Rule(
    code="FSDP403",
    name="full-parameters",
    summary="`summon_full_params` goes through the shim, `fsdp_modules` becomes a comprehension",
    why="FSDP2 has no context that puts full parameters in the place of the sharded ones.",
    fix_safety="Safe: values, names, shapes, write-back and gradients are as they were.",
    check=check,
    symbols=(f"{FSDP1}.summon_full_params", f"{FSDP1}.fsdp_modules"),
    methods=("summon_full_params", "fsdp_modules"),
    surfaces=(
        Surface("FullyShardedDataParallel.summon_full_params", "the shim's", (Tier.SHIM,)),
        Surface("FullyShardedDataParallel.fsdp_modules", "the submodules that are an `FSDPModule`"),
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def units(net):
    model = FSDP(net)
    return FSDP.fsdp_modules(model)
""",
            after="""\
from torch.distributed.fsdp import FSDPModule, fully_shard

def units(net):
    model = fully_shard(net)
    return [unit for unit in model.modules() if isinstance(unit, FSDPModule)]
""",
        ),
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def norm(model: FSDP):
    with FSDP.summon_full_params(model, writeback=False):
        return model.head.weight.norm()
""",
            after="""\
from fsdp_migrate.runtime import summon_full_params
from torch.distributed.fsdp import FSDPModule

def norm(model: FSDPModule):
    with summon_full_params(model, writeback=False):
        return model.head.weight.norm()
""",
        ),
    ),
)
