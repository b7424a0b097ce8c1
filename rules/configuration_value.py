"""FSDP1's enums, configuration classes and wrap policies that stay values of the program.

What the constructor took in natively is gone with it.  What is left here is carried around at
run time, in a configuration say, and its names come from the runtime shim from now on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.born_values import born_in_files
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.state_dict_types import why_type_stays
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, finding_at
from fsdp_migrate.rule.shim_types import (
    RENAMED,
    SYMBOLS,
    in_shim_wrap,
    is_local,
    readers,
    staying,
    swallowed,
    take_from_shim,
    type_name,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT

POLICY = Name(ROOT, "MixedPrecisionPolicy")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Take the name from the runtime shim, unless a native fix has swallowed the place."""
    if swallowed(use, facts):
        return
    if is_local(use):
        yield finding(
            RULE,
            use,
            f"{use.name[len(ROOT) + 1 :]} has no FSDP2 form, for there are no flat parameters; "
            "save a sharded or a full state dict instead",
            tier=Tier.MANUAL,
            models=_given_with(use, facts),
        )
    else:
        yield from _staying(use, facts)


def _given_with(use: Use, facts: Facts) -> frozenset[str]:
    """The models that a call is about which is given the value beside them; none, if unsure."""
    for around in use.module.ancestors(use.node):
        if isinstance(around, ast.Call) and around.args:
            found = only_models(facts, around.args[0])
            if found:
                return facts.models(found)
        if isinstance(around, ast.stmt):
            break
    return frozenset()


def _staying(use: Use, facts: Facts) -> Iterable[Finding]:
    """One finding for all the types that stay in a file."""
    uses = [u for u in staying(facts, use.module) if not in_shim_wrap(u, facts)]
    if not uses or uses[0] is not use:
        return
    names = sorted({RENAMED.get(type_name(u), type_name(u)) for u in uses})
    yield finding(
        RULE,
        use,
        f"what goes to the shim takes its types from there: {', '.join(names)}"
        + (why_type_stays(facts) if "StateDictType" in names else ""),
        tier=Tier.SHIM,
        edits=take_from_shim(uses),
        models=readers(facts, uses),
    )


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding a file for the values that become FSDP2's where they are born."""
    for born in born_in_files(facts):
        yield finding_at(
            RULE,
            born.module,
            born.first,
            born.words,
            tier=Tier.NATIVE,
            edits=born.edits,
            models=born.models,
        )


EITHER = (Tier.NATIVE, Tier.SHIM)
SHIM = (Tier.SHIM,)
MANUAL = (Tier.MANUAL,)
STATE_DICT_CONFIGS = (
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "OptimStateDictConfig",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "StateDictConfig",
)
SURFACES = (
    Surface("ShardingStrategy", "what the members become, or the shim's enum", EITHER),
    Surface("ShardingStrategy.FULL_SHARD", "the default", EITHER),
    Surface("ShardingStrategy.SHARD_GRAD_OP", "`reshard_after_forward=False`", EITHER),
    Surface("ShardingStrategy.NO_SHARD", "a mesh of (world, 1)", EITHER),
    Surface("ShardingStrategy.HYBRID_SHARD", "a mesh of two dimensions", EITHER),
    Surface(
        "ShardingStrategy._HYBRID_SHARD_ZERO2",
        "a mesh of two dimensions, `reshard_after_forward=False`",
        EITHER,
    ),
    Surface("BackwardPrefetch", "nothing: the order is the same", EITHER),
    Surface("BackwardPrefetch.BACKWARD_PRE", "nothing: the order is the same", EITHER),
    Surface("BackwardPrefetch.BACKWARD_POST", "nothing: values are the same", EITHER),
    Surface("CPUOffload", "`CPUOffloadPolicy`", EITHER),
    Surface("CPUOffload(offload_params=)", "`CPUOffloadPolicy` or no policy", EITHER),
    Surface("MixedPrecision", "`MixedPrecisionPolicy`", EITHER),
    Surface("MixedPrecision(param_dtype=)", "`param_dtype=`", EITHER),
    Surface("MixedPrecision(reduce_dtype=)", "`reduce_dtype=`", EITHER),
    Surface("MixedPrecision(buffer_dtype=)", "a cast of the buffers after sharding", EITHER),
    Surface(
        "MixedPrecision(keep_low_precision_grads=)",
        "nothing, and a note where it is true: FSDP2 always steps in full precision",
        EITHER,
    ),
    Surface("MixedPrecision(cast_forward_inputs=)", "`cast_forward_inputs=` of the units", EITHER),
    Surface(
        "MixedPrecision(cast_root_forward_inputs=)", "`cast_forward_inputs=` of the root", EITHER
    ),
    Surface("MixedPrecision(_module_classes_to_ignore=)", "units of full precision", SHIM),
    Surface("StateDictType", "options of the calls, or the shim's enum", EITHER),
    Surface("StateDictType.FULL_STATE_DICT", "`StateDictOptions(full_state_dict=True)`", EITHER),
    Surface("StateDictType.SHARDED_STATE_DICT", "`StateDictOptions()`", EITHER),
    Surface("StateDictType.LOCAL_STATE_DICT", "no flat parameters: choose another type", MANUAL),
    *(Surface(name, "`StateDictOptions`", EITHER) for name in STATE_DICT_CONFIGS),
    Surface("LocalStateDictConfig", "no flat parameters: choose another type", MANUAL),
    Surface("LocalOptimStateDictConfig", "no flat parameters: choose another type", MANUAL),
    Surface("StateDictSettings", "the shim's", SHIM),
    Surface("OptimStateKeyType", "the shim's", SHIM),
    Surface("OptimStateKeyType.PARAM_NAME", "the shim's", SHIM),
    Surface("OptimStateKeyType.PARAM_ID", "the shim's", SHIM),
    Surface("wrap.ModuleWrapPolicy", "`isinstance(module, classes)`", EITHER),
    Surface("wrap.transformer_auto_wrap_policy", "`isinstance(module, classes)`", EITHER),
    Surface("wrap.lambda_auto_wrap_policy", "`if predicate(module)`", EITHER),
    Surface("wrap.CustomPolicy", "`if predicate(module)`", EITHER),
    Surface("wrap.always_wrap_policy", "a loop over all modules", EITHER),
    Surface("wrap.size_based_auto_wrap_policy", "a function that lists the units", EITHER),
)

RULE = Rule(
    code="FSDP102",
    name="configuration-value",
    summary="enums, configuration classes and wrap policies that are carried as values",
    why="FSDP2 has no such types: `fully_shard` takes their meaning as plain arguments.",
    left=(
        "LOCAL_STATE_DICT and its configurations: FSDP2 has no flat parameters; save a sharded "
        "or a full state dict."
    ),
    by_hand=(
        "write FSDP2's values: MixedPrecisionPolicy, CPUOffloadPolicy or OffloadPolicy, "
        "reshard_after_forward and a mesh, the classes of the units, StateDictOptions"
    ),
    fix_safety="Safe: the shim's types have the same members, fields and defaults.",
    needs=("the value goes to a constructor that is migrated",),
    check=check,
    survey=survey,
    symbols=SYMBOLS,
    surfaces=SURFACES,
    examples=(
        Example(
            before="""\
from dataclasses import dataclass

from torch.distributed.fsdp import ShardingStrategy

@dataclass
class Config:
    strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
""",
            after="""\
from dataclasses import dataclass

from fsdp_migrate.runtime import ShardingStrategy

@dataclass
class Config:
    strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
""",
        ),
    ),
)
