"""Files that have to change with those that are given, and are not given."""

from __future__ import annotations

from fsdp_migrate.rule.rule import Example, Rule, no_uses

RULE = Rule(
    code="FSDP110",
    name="left-out",
    summary="a file that depends on the model and is not among those to migrate",
    why=(
        "A model and all that works on it are migrated together: FSDP1's methods fail on a "
        "model of FSDP2, and the other way round.  The rest of the project is read even where "
        "only a part of it is given."
    ),
    fix_safety=(
        "There is no fix: give the file too, or the whole project; or choose --allow-incomplete "
        "and change the file by hand."
    ),
    left=("Always.  Give the file with the others, or the whole project."),
    check=no_uses,
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def shard(net):
    return FSDP(net)
""",
            file="wrap.py",
            beside=(
                (
                    "train.py",
                    """\
from wrap import shard


def main(net):
    model = shard(net)
    model.clip_grad_norm_(1.0)
""",
                ),
            ),
        ),
    ),
)
