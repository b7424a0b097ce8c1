"""`FullStateDictConfig(...)` and its relatives become `StateDictOptions` where they are made.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

A table, a constant or a function's result carries them as before, to the calls that take or load
a state.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.edits_by_file import edits_by_file
from fsdp_migrate.rule.queries.state_dict_configs import configs_of
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding for each file in which configurations become options."""
    for changed in edits_by_file(configs_of(facts).edits):
        yield finding_at(
            RULE,
            changed.module,
            changed.first,
            "configurations of state dicts become StateDictOptions, one for model and optimizer",
            tier=Tier.NATIVE,
            edits=changed.edits,
        )


RULE = Rule(
    code="FSDP307",
    name="state-dict-config",
    summary="state-dict configurations that are carried as values become `StateDictOptions`",
    why="FSDP2 keeps no state-dict mode: what a configuration says is said to the calls.",
    fix_safety=(
        "Safe: all that reads the values are contexts that go, and the calls inside of them are "
        "given the options."
    ),
    needs=("every place that reads a configuration is known, and is a context that goes",),
    check=no_uses,
    survey=survey,
    references=("https://docs.pytorch.org/docs/stable/distributed.checkpoint.html",),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullStateDictConfig, ShardedStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType

CONFIGS = {
    StateDictType.FULL_STATE_DICT: FullStateDictConfig(offload_to_cpu=True, rank0_only=True),
    StateDictType.SHARDED_STATE_DICT: ShardedStateDictConfig(),
}

def weights(net, name):
    model = FSDP(net)
    kind = StateDictType[name]
    with FSDP.state_dict_type(model, kind, CONFIGS[kind]):
        return model.state_dict()
""",
            after="""\
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

CONFIGS = {
    "FULL_STATE_DICT": StateDictOptions(full_state_dict=True, cpu_offload=True),
    "SHARDED_STATE_DICT": StateDictOptions(),
}

def weights(net, name):
    model = fully_shard(net)
    kind = name
    return get_model_state_dict(model, options=CONFIGS[kind])
""",
        ),
    ),
)
