"""`FSDP.summon_full_params(model)` and `FSDP.fsdp_modules(model)`."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Name, code, loop_variable
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.method_calls import as_function
from fsdp_migrate.rule.queries.summon_forms import edits_of, find_summon
from fsdp_migrate.rule.queries.summon_limits import held_back, stale_views, without_form
from fsdp_migrate.rule.queries.summoned_runs import Unclear
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, short
from fsdp_migrate.syntax.paths import binds_names


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one reference."""
    name = short(use.name)
    call = use.call
    if name == "fsdp_modules" and call is not None and _is_plain(call):
        units = code(
            "[{unit} for {unit} in {model}.modules() if isinstance({unit}, {fsdp})]",
            unit=loop_variable("unit"),
            model=Kept(use.module.span(call.args[0])),
            fsdp=Name(ROOT, "FSDPModule"),
        )
        yield finding(
            RULE,
            use,
            "FSDP.fsdp_modules becomes a look at the submodules",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(call), units)],
        )
        return
    why = ""
    if name == "summon_full_params":
        try:
            yield _without(use, facts)
        except Unclear as unclear:
            why = f": {unclear}"
        else:
            return
        held = without_form(use, facts)
        if held:
            models = facts.models(held_back(use, facts))
            yield finding(RULE, use, held, tier=Tier.MANUAL, models=models)
            return
    yield _by_shim(use, facts, name, why)


def _without(use: Use, facts: Facts) -> Finding:
    """A context that isn't needed.

    Raises:
        Unclear: it may be.
    """
    summon = find_summon(use, facts)
    stale = stale_views(use, facts)
    return finding(
        RULE,
        use,
        f"summon_full_params goes: parameters are gathered one by one, where that is needed{stale}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if stale else Safety.SAFE,
        edits=list(edits_of(summon, facts)),
        models=facts.models(summon.wraps),
    )


def _by_shim(use: Use, facts: Facts, name: str, why: str) -> Finding:
    shim, call = Name(RUNTIME, name), use.call
    # Static methods: called through a model, they are passed the model all the same.
    is_static = use.receiver is None or (call is not None and bool(call.args))
    edit = ReplaceExpression(use.module.span(use.node), shim)
    spoken = f"FSDP.{name}" if use.receiver is None else name
    stale = stale_views(use, facts) if name == "summon_full_params" else ""
    return finding(
        RULE,
        use,
        f"{spoken} goes through the shim{why}{stale}",
        tier=Tier.SHIM,
        safety=Safety.UNSAFE if stale else Safety.SAFE,
        edits=[edit if is_static else as_function(use, shim)],
        models=facts.models(use.wraps),
    )


def _is_plain(call: ast.Call) -> bool:
    """Whether the model is all that is passed, and can be gone through in a comprehension."""
    return len(call.args) == 1 and not call.keywords and not binds_names(call.args[0])


RULE = Rule(
    code="FSDP403",
    name="full-parameters",
    summary="`summon_full_params` goes, or is the shim's; `fsdp_modules` becomes a comprehension",
    why="FSDP2 has no context that puts full parameters in the place of the sharded ones.",
    left=(
        "A body that does more than can be followed, with --runtime never: read single "
        "parameters by full_tensor() on every rank, write them by copy_() of "
        "distribute_tensor(...), and run the model as it is."
    ),
    by_hand=(
        "gather what is read with `p.full_tensor()`, a collective that every rank has to call; "
        "what is written goes back with `p.to_local().copy_(distribute_tensor(value, "
        "p.device_mesh, p.placements).to_local())`; a forward pass needs neither"
    ),
    fix_safety=(
        "Safe: values, names, shapes, write-back and gradients are as they were.  Without the "
        "shim only where all that the body does is understood: it reads parameters, does the "
        "same to each of their elements, or runs the model without gradients and equally often "
        "on every rank.  What gathers parameters does so one by one: there are more collectives "
        "than the one of each unit, of as many bytes.  Parameters that were asked for outside and "
        "are read inside, or the other way round, are what the body's are, or nothing is changed.  "
        "Unsafe where a view outlives the context of a model that isn't sharded."
    ),
    needs=("the model is migrated",),
    check=check,
    symbols=(f"{FSDP1}.summon_full_params", f"{FSDP1}.fsdp_modules"),
    methods=("summon_full_params", "fsdp_modules"),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.summon_full_params",
            "`full_tensor()`, or the shim's",
            (Tier.NATIVE, Tier.SHIM, Tier.MANUAL),
        ),
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
from torch.distributed.fsdp import FSDPModule

def norm(model: FSDPModule):
    return model.head.weight.full_tensor().norm()
""",
        ),
    ),
)
