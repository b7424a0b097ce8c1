"""`model.state_dict()` and `model.load_state_dict(...)` become DCP's state-dict functions.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

Under FSDP2 the plain methods give and take sharded tensors: what rank 0 saves is its shard only.
With `--state-dict dtensor` they stay, and the tensors are gathered and distributed around them.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.guards import Guard
from fsdp_migrate.rule.queries.hoisting import above_guard, guard_of_bare
from fsdp_migrate.rule.queries.joint_calls import joined
from fsdp_migrate.rule.queries.joint_states import joint_of
from fsdp_migrate.rule.queries.method_calls import as_function
from fsdp_migrate.rule.queries.models import overrides
from fsdp_migrate.rule.queries.named_options import with_names
from fsdp_migrate.rule.queries.rank_tests import rank_test
from fsdp_migrate.rule.queries.shares import gave_share
from fsdp_migrate.rule.queries.state_dict_calls import StateDictCall, without_mode, written
from fsdp_migrate.rule.queries.state_dict_modes import mode_goes
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding

SHIMS = {
    "state_dict": Name(RUNTIME, "model_state_dict"),
    "load_state_dict": Name(RUNTIME, "load_model_state_dict"),
}


def lowerable(use: Use, facts: Facts) -> bool:
    """Whether the call can be written with its options, were its mode to go."""
    return without_mode(use, facts) is not None


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call."""
    if use.call is None:
        yield _manual(
            use,
            facts,
            f"{use.name} is taken as a value; under FSDP2 it is about shards, "
            "use torch.distributed.checkpoint.state_dict",
        )
        return
    is_load = use.name == "load_state_dict"
    if use.is_part and is_load and rank_test(facts, use.module, use.call) is not None:
        yield _manual(
            use,
            facts,
            f"{use.name} of a part needs all ranks under FSDP2, and only some get here: call it "
            "above the test of the rank, and use the result below",
        )
        return
    found = without_mode(use, facts)
    native = found is not None and mode_goes(facts, use.call)
    made = _native(use, facts, found) if found is not None and native else _shim(use, facts)
    guard = guard_of_bare(use, facts)
    yield _behind(guard, use, facts, made) if guard is not None else made


def _manual(use: Use, facts: Facts, message: str) -> Finding:
    return finding(RULE, use, message, tier=Tier.MANUAL, models=facts.models(use.wraps))


def _shim(use: Use, facts: Facts) -> Finding:
    return finding(
        RULE,
        use,
        f"model.{use.name} goes through the shim{_shares(use, facts)}",
        tier=Tier.SHIM,
        edits=[as_function(use, SHIMS[use.name])],
        safety=_safety(use, facts),
        models=facts.models(use.wraps),
    )


def _native(use: Use, facts: Facts, found: StateDictCall) -> Finding:
    joint = joint_of(use, facts)
    function, edits = joined(joint) if joint is not None else written(found, facts)
    becomes = "says how its tensors are sharded"
    if function is not None:
        becomes = f"becomes {function.name}"
    return finding(
        RULE,
        use,
        f"{_owner(use)}.{use.name} {becomes}{_shares(use, facts)}",
        tier=Tier.NATIVE,
        edits=with_names(use, facts, edits),
        safety=_safety(use, facts),
        models=facts.models(use.wraps),
    )


def _owner(use: Use) -> str:
    return "part" if use.is_part else "model"


def _shares(use: Use, facts: Facts) -> str:
    """What changes, in words: where FSDP1 gathered nothing, or asked the model itself."""
    if gave_share(use, facts):
        return (
            ": whole tensors, also of what is in no unit of its own, of which FSDP1 gave and took "
            "what this rank has of it"
        )
    if not use.is_part and overrides(facts, use.wraps, use.name):
        return (
            f": the model's class has a {use.name} of its own, which FSDP1's wrapper stood before"
        )
    return ""


def _safety(use: Use, facts: Facts) -> Safety:
    return Safety.UNSAFE if _shares(use, facts) else Safety.SAFE


def _behind(guard: Guard, use: Use, facts: Facts, made: Finding) -> Finding:
    """A state dict that only the ranks took which needed it: all of them have to now."""
    what = "a part of the model" if use.is_part else "the module inside of the wrapper"
    taken = f"{what} gave this rank's shard; gathering takes every rank"
    edits = made.fix.edits[use.module.path] if made.fix is not None else ()
    hoisted = above_guard(guard, use, facts, edits)
    if hoisted is not None:
        return finding(
            RULE,
            use,
            f"{taken}, so that it is done above the test of {guard.where(use.module)}, which may "
            "keep some away",
            tier=made.tier,
            edits=hoisted,
            safety=made.safety,
            models=made.models,
        )
    return _manual(
        use,
        facts,
        f"{taken}, and the test of {guard.where(use.module)} may keep some away: it would hang.  "
        "Call get_model_state_dict on every rank, and use the result on one",
    )


RULE = Rule(
    code="FSDP302",
    name="model-state-dict",
    summary="`model.state_dict()` and `load_state_dict` become DCP's state-dict functions",
    why="The plain methods of an FSDP2 model handle shards, and say nothing about it.",
    left=(
        "state_dict taken as a value, and calls that some ranks don't reach: call "
        "get_model_state_dict on every rank, and use the result on one."
    ),
    by_hand=(
        "write get_model_state_dict and set_model_state_dict of "
        "torch.distributed.checkpoint.state_dict, with StateDictOptions(full_state_dict=...)"
    ),
    fix_safety="Safe: the same keys in the same order, the same tensors on the same ranks.",
    needs=(
        "the model is migrated",
        "the receiver is an FSDP1 model, not another object with such a method",
        "it is the wrapper or a unit, not what is inside of one: that gave this rank's share",
        "the class of the model has no such method of its own",
    ),
    check=check,
    lowerable=lowerable,
    methods=("state_dict", "load_state_dict"),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.state_dict",
            "`get_model_state_dict`",
            (Tier.NATIVE, Tier.SHIM, Tier.MANUAL),
        ),
        Surface(
            "FullyShardedDataParallel.load_state_dict",
            "`set_model_state_dict`",
            (Tier.NATIVE, Tier.SHIM),
        ),
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def resume(net, path):
    model = FSDP(net)
    model.load_state_dict(torch.load(path))
    return model
""",
            after="""\
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard

def resume(net, path):
    model = fully_shard(net)
    set_model_state_dict(
        model, torch.load(path), options=StateDictOptions(full_state_dict=True)
    )
    return model
""",
        ),
    ),
)
