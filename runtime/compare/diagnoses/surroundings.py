"""Causes that lie outside of a step: communication, random numbers, files, what is printed."""

from __future__ import annotations

from fsdp_migrate.runtime.compare.diagnoses.evidence import Evidence
from fsdp_migrate.runtime.compare.differences import Aspect
from fsdp_migrate.runtime.compare.verdict import Cause


def unseeded(e: Evidence) -> Cause | None:
    if not e.start:
        return None
    for number, old in e.old.ranks.items():
        new = e.new.ranks[number]
        if None not in (old.header.seed, new.header.seed) or not old.steps or not new.steps:
            continue
        before, after = old.steps[0].random, new.steps[0].random
        if before.get("torch") != after.get("torch"):
            return Cause(
                "the program is not seeded",
                "Both runs begin with other random numbers, so that they start from other weights "
                "or data.  Seed the generators, or record with --seed.",
            )
    return None


def between_steps(e: Evidence) -> Cause | None:
    if not e.first.step or e.first.aspect is not Aspect.LOSS:
        return None
    return Cause(
        "the model changes between two steps",
        "All was equal after the last step: an edit under summon_full_params, a checkpoint that "
        "is loaded, or a write to p.data did not reach the shards.",
        ("FSDP403", "FSDP302"),
    )


def random(e: Evidence) -> Cause | None:
    if not e.of(Aspect.RANDOM):
        return None
    return Cause(
        "random numbers are drawn in another order or number",
        "Something draws that did not before: initialisation after sharding, dropout under "
        "activation checkpointing, a shuffled loader.",
    )


def communication(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.COLLECTIVES:
        return None
    return another_sharding(e, "numbers agree, communication does not")


def artefacts(e: Evidence) -> Cause | None:
    if e.first.aspect is Aspect.FILES:
        return Cause(
            "training agrees, the files do not",
            "State dicts: full or sharded, on which ranks, under which keys, in which types.",
            ("FSDP301", "FSDP302", "FSDP303"),
        )
    if e.first.aspect is Aspect.COST:
        return Cause(
            "training agrees, but costs more",
            "Other units, prefetching or resharding than before, parameters that stay gathered, "
            "or gradients that are summed whole.",
            ("FSDP101", "FSDP201"),
        )
    if e.first.aspect in (Aspect.STDOUT, Aspect.STDERR):
        return Cause(
            "training agrees, what is printed does not",
            "A value of a sharded tensor is one rank's part of it until .full_tensor() is called; "
            "counts and norms of parameters change their meaning too.",
            ("FSDP202", "FSDP401"),
        )
    return None


def counts(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.STEPS:
        return None
    return Cause(
        "the versions take another number of steps",
        "A step that a scaler skips in one version only, a branch on the class of the model, or "
        "a resumed run that starts at another step.",
        ("FSDP203", "FSDP401"),
    )


def another_sharding(e: Evidence, title: str) -> Cause:
    names = {d.name for d in e.differences if d.aspect is Aspect.COLLECTIVES}
    if names == {"backward all-gather"}:
        why = "reshard_after_forward: FULL_SHARD gathers again in backward, SHARD_GRAD_OP does not."
    elif "backward all-reduce" in names:
        why = "Another kind of sharding: replicated (NO_SHARD), sharded, or both (HYBRID)."
    else:
        why = (
            "The model is cut into other units than the wrap policy chose, gathers in other types, "
            "or reduces gradients at other times (no_sync)."
        )
    return Cause(title, why, ("FSDP101", "FSDP201"))
