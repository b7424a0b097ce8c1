"""Causes that lie in the parameters, the buffers or the optimizer that holds them."""

from __future__ import annotations

from fsdp_migrate.runtime.compare.diagnoses.evidence import Evidence
from fsdp_migrate.runtime.compare.differences import Aspect, Kind
from fsdp_migrate.runtime.compare.verdict import Cause
from fsdp_migrate.runtime.verify.recording import NO_MODEL


def optimizer_before_wrap(e: Evidence) -> Cause | None:
    if not any(d.name.endswith(NO_MODEL) and d.kind is Kind.UNEXPECTED for d in e.together):
        return None
    return Cause(
        "the optimizer holds parameters that the model no longer has",
        "fully_shard replaces parameters: build the optimizer after it, or it trains nothing.",
        ("FSDP101",),
    )


def names(e: Evidence) -> Cause | None:
    if not any(d.kind is Kind.MISSING for d in e.of(Aspect.PARAMETER)):
        return None
    return Cause(
        "the models have other parameters",
        "A parameter was renamed, dropped, or belongs to another model or optimizer group.",
        ("FSDP101",),
    )


def dtype(e: Evidence) -> Cause | None:
    kinds = {d.aspect for d in e.together if d.kind is Kind.DTYPE}
    if Aspect.BUFFER in kinds and not kinds & {Aspect.PARAMETER, Aspect.GRADIENT}:
        return Cause(
            "buffers have another type",
            "MixedPrecision(buffer_dtype=...) has no counterpart: cast the buffers once.",
            ("FSDP101",),
        )
    if kinds & {Aspect.PARAMETER, Aspect.GRADIENT, Aspect.STATE}:
        return Cause(
            "tensors have another type",
            "Mixed precision: param_dtype, reduce_dtype, or a model that was cast before it was "
            "wrapped.",
            ("FSDP101",),
        )
    return None


def presence(e: Evidence) -> Cause | None:
    present = [d for d in e.together if d.kind in (Kind.MISSING, Kind.UNEXPECTED)]
    if not present or present[0].aspect not in (Aspect.GRADIENT, Aspect.STATE):
        return None
    return Cause(
        "parameters have gradients or optimizer state in one version only",
        "Unused parameters: a flat parameter gives them zeros, a parameter of its own gives "
        "none.  Or other parameters are ignored or frozen than before.",
        ("FSDP101",),
    )


def buffers_alone(e: Evidence) -> Cause | None:
    buffers = e.of(Aspect.BUFFER)
    if not buffers or (e.first.step or 0) > 0:
        return None
    # batch statistics follow the activations: then the loss tells more
    if 0 not in {d.rank for d in buffers} or not e.of(Aspect.GRADIENT):
        return Cause(
            "buffers differ",
            "They were not broadcast from rank 0 (sync_module_states covers buffers too), or not "
            "cast as buffer_dtype did.",
            ("FSDP101",),
        )
    return None


def other_ranks_alone(e: Evidence) -> Cause | None:
    if not e.start or e.first.aspect is not Aspect.LOSS or e.world == 1:
        return None
    if 0 in {d.rank for d in e.of(Aspect.LOSS)}:
        return None
    if e.ranks_hold_alike(e.new) or not e.ranks_hold_alike(e.old):
        return Cause(
            "ranks other than the first see other data",
            "All ranks hold the same weights and buffers, but some compute another loss: the "
            "sampler, the loader, or what is drawn at random on each rank.",
        )
    return Cause(
        "the ranks start from other weights or buffers, rank 0 does not",
        "sync_module_states was dropped: what rank 0 holds has to be broadcast before sharding.",
        ("FSDP101",),
    )


def groups(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.GROUPS:
        return None
    return Cause(
        "the optimizer has other hyperparameters",
        "Parameter groups were built from other parameters or in another order, a scheduler "
        "steps at another time, or optimizer state was not loaded.",
        ("FSDP303",),
    )


def update(e: Evidence) -> Cause | None:
    if e.first.aspect not in (Aspect.PARAMETER, Aspect.STATE):
        return None
    return Cause(
        "the same gradients give other parameters",
        "The optimizer started from other parameters or state (loading of checkpoints), or "
        "treats shards differently: a rule that looks at the shape of a parameter, an optimizer "
        "that is not element-wise.",
        ("FSDP303", "FSDP302"),
    )
