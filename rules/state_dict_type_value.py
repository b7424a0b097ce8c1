"""`StateDictType` members that a program carries around become their names, as strings.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

FSDP2 has no such enum.  What is left of it once the contexts are gone are defaults of
configurations, tests and tables, in which the plain name does the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.edits_by_file import edits_by_file
from fsdp_migrate.rule.queries.state_dict_types import types_of
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding for each file in which values become strings."""
    for changed in edits_by_file(types_of(facts).edits):
        yield finding_at(
            RULE,
            changed.module,
            changed.first,
            "types of state dicts become their names: StateDictType.FULL_STATE_DICT is "
            '"FULL_STATE_DICT", in tests, tables and configurations; so it is printed, too',
            tier=Tier.NATIVE,
            edits=changed.edits,
        )


RULE = Rule(
    code="FSDP306",
    name="state-dict-type-value",
    summary="`StateDictType` members that are carried as values become their names",
    why="FSDP2 has no such enum, and no mode that it would say something to.",
    fix_safety=(
        "Safe: everything that reads the values is known, and does with a string what it did with "
        "a member: it compares, looks up or prints it."
    ),
    needs=(
        "every place that reads a member is known",
        "what members are compared with are members",
    ),
    check=no_uses,
    survey=survey,
    references=("https://docs.pytorch.org/docs/stable/distributed.checkpoint.html",),
    examples=(
        Example(
            before="""\
from dataclasses import dataclass

from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType

@dataclass
class Config:
    kind: StateDictType = StateDictType.FULL_STATE_DICT

def describe(net, config: Config):
    model = FSDP(net)
    if config.kind is StateDictType.SHARDED_STATE_DICT:
        return model, "shards"
    return model, config.kind.name
""",
            after="""\
from dataclasses import dataclass

from torch.distributed.fsdp import fully_shard

@dataclass
class Config:
    kind: str = "FULL_STATE_DICT"

def describe(net, config: Config):
    model = fully_shard(net)
    if config.kind == "SHARDED_STATE_DICT":
        return model, "shards"
    return model, config.kind
""",
        ),
    ),
)
