"""Whether two runs have exercised what was migrated: FSDP1 in the old one, FSDP2 in the new one."""

from __future__ import annotations

from fsdp_migrate.runtime.verify.launch import Program, place
from fsdp_migrate.runtime.verify.recording import FSDP1, FSDP2, Recording


def not_run(old: Recording, new: Recording) -> list[str]:
    """Why equal runs don't prove anything about the migration."""
    before, after = _sharding(old), _sharding(new)
    wrong = []
    if FSDP1 not in before:
        wrong.append(
            "the old version sharded nothing with FSDP1: with these arguments, what was migrated "
            "was not run"
        )
    elif FSDP2 not in after:
        wrong.append("the new version sharded nothing with fully_shard, the old one did with FSDP1")
    if FSDP1 in after:
        wrong.append(
            "the new version still shards with FSDP1: what is left to you, or an installed library"
        )
    return wrong


def _sharding(run: Recording) -> set[str]:
    ends = [rank.end for rank in run.ranks.values() if rank.end is not None]
    return {kind for end in ends for kind in end.sharding}


def reached(old: Recording, program: Program) -> list[str]:
    """How many of the migrated places a run has executed, and which ones it hasn't."""
    ends = [rank.end for rank in old.ranks.values() if rank.end is not None]
    seen = {name for end in ends for name in end.reached}
    places = list(dict.fromkeys(place(*watched) for watched in program.watched))
    if not seen or not places:  # not watched, or by none that is recorded
        return []
    missed = [name for name in places if name not in seen]
    words = f"{len(places) - len(missed)} of {len(places)} migrated places were executed"
    more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
    return [words + (f"; not: {', '.join(missed[:_SHOWN])}{more}" if missed else "")]


_SHOWN = 8  # places by name
