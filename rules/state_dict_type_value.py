"""`StateDictType` members that a program carries around become their names, as strings.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

FSDP2 has no such enum.  What is left of it once the contexts are gone are defaults of
configurations, tests and tables, in which the plain name does the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.state_dict_types import types_of
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module


def survey(facts: Facts) -> Iterable[Finding]:
    """One finding for each file in which values become strings."""
    by_file: dict[Module, list[Edit]] = defaultdict(list)
    for module, edit in types_of(facts).edits:
        by_file[module].append(edit)
    for module, edits in by_file.items():
        first = min(edits, key=lambda edit: edit.span)
        node = next(
            node
            for node in module.parents
            if hasattr(node, "lineno") and module.span(node) == first.span
        )
        yield finding_at(
            RULE,
            module,
            node,
            "types of state dicts become their names: StateDictType.FULL_STATE_DICT is "
            '"FULL_STATE_DICT", in tests, tables and configurations; so it is printed, too',
            tier=Tier.NATIVE,
            edits=edits,
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
