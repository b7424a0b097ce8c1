"""Causes that lie in how losses and gradients are computed, scaled and summed."""

from __future__ import annotations

import math

from fsdp_migrate.runtime.compare.diagnoses.evidence import Evidence
from fsdp_migrate.runtime.compare.diagnoses.surroundings import another_sharding
from fsdp_migrate.runtime.compare.differences import Aspect, Kind
from fsdp_migrate.runtime.compare.verdict import Cause

ROUNDING = 256  # ulps up to which the order of a sum explains a difference
_FEW_BITS = 0.02  # relative differences up to which a sum in 16 bits explains one
_COARSE = 1e-4  # relative differences from which on 16 bits are likely


def scaled_loss(e: Evidence) -> Cause | None:
    losses = e.of(Aspect.LOSS)
    if e.first.aspect is not Aspect.LOSS or not losses:
        return None
    ratios = [
        new.value / old.value if old.value and new.value is not None else 0.0
        for rank in e.old.ranks
        for old, new in zip(e.losses(e.old, rank), e.losses(e.new, rank), strict=False)
    ]
    factor = ratios[0] if ratios else 0.0
    if not _is_scale(factor) or any(not math.isclose(r, factor, rel_tol=1e-3) for r in ratios):
        return None
    return Cause(
        f"the loss is {factor:g} times what it was",
        "It is scaled twice or not at all: GradScaler, or the division by the number of "
        "micro-batches.",
        ("FSDP203", "FSDP201"),
        coherent=True,
    )


def overflow(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.LOSS or not e.first.step:
        return None
    before, after = (
        [loss.value for rank in run.ranks.values() for loss in rank.losses]
        for run in (e.old, e.new)
    )
    if not _all_finite(before) or _all_finite(after):
        return None
    return Cause(
        "the new version computes no finite loss, the old one does",
        "A step was taken with gradients that had overflowed: the scaler has to see it on every "
        "rank, and to skip the step.",
        ("FSDP203",),
    )


def _all_finite(values: list[float | None]) -> bool:
    return all(value is None or math.isfinite(value) for value in values)


def none_left(e: Evidence) -> Cause | None:
    gone = [d for d in e.of(Aspect.GRADIENT) if d.kind is Kind.MISSING]
    there = [v for step in e.steps(e.old) for v in step.gradients.values() if v is not None]
    if e.losses_before(e.old) < 2 or 2 * len(gone) <= len(there):
        return None
    return Cause(
        "sharded parameters have no gradients when the optimizer steps",
        "Synchronisation stayed switched off, so that gradients wait to be reduced; or gradients "
        "are cleared before the step.",
        ("FSDP201",),
    )


def _is_scale(factor: float) -> bool:
    """Whether a loss is scaled on purpose by this: by 2, 3, ..., a half, a third, ..."""
    whole = max(factor, 1 / factor) if factor > 0 else 0.0
    return whole > 1.5 and math.isclose(whole, round(whole), rel_tol=1e-3)


def not_reduced(e: Evidence) -> Cause | None:
    if not e.of(Aspect.GRADIENT) or not e.ranks_agree(e.old) or e.ranks_agree(e.new):
        return None
    return Cause(
        "gradients are no longer the same on all ranks",
        "They are not reduced: the root or a unit is not wrapped, synchronisation stayed switched "
        "off after no_sync, or the model is replicated where it was sharded.",
        ("FSDP101", "FSDP201"),
    )


def scaled_gradients(e: Evidence) -> Cause | None:
    gradients = [d for d in e.of(Aspect.GRADIENT) if d.gap is not None]
    ratios = [d.gap.ratio for d in gradients if d.gap is not None and d.gap.ratio is not None]
    if not ratios or len(ratios) < 0.9 * len(gradients) or e.of(Aspect.LOSS):
        return None
    low, high = min(ratios), max(ratios)
    if high - low > 1e-3 * abs(high) or abs(high - 1) < 1e-5:
        return None
    ratio = (low + high) / 2
    for factor, why, codes in (
        (e.world, "averaging over ranks: a sum where the mean was taken", ("FSDP101",)),
        (1 / e.world, "averaging over ranks: divided once more than before", ("FSDP101",)),
    ):
        if math.isclose(ratio, factor, rel_tol=1e-3):
            title = f"all gradients are {ratio:g} times what they were"
            return Cause(title, why + ".", codes, coherent=True)
    return Cause(
        f"all gradients are {ratio:.4g} times what they were",
        "Clipping: the norm is computed over other tensors (one rank's shards, another model), at "
        "another time, or loss scaling was not undone before it.",
        ("FSDP202", "FSDP203"),
        coherent=True,
    )


def lost_microbatches(e: Evidence) -> Cause | None:
    if not e.of(Aspect.GRADIENT) or e.of(Aspect.LOSS):
        return None
    worst = max((d.gap.max_rel for d in e.of(Aspect.GRADIENT) if d.gap is not None), default=0)
    passes = e.losses_before(e.old)
    if passes > 1 and _COARSE < e.by_norm < _FEW_BITS:
        return Cause(
            "gradients of several backward passes are summed in another type",
            "Under no_sync, FSDP1 sums micro-batches in param_dtype and FSDP2 in reduce_dtype: "
            "compare with --rtol, or use one type for both.  Or reduce_dtype is another one.",
            ("FSDP507", "FSDP201"),
        )
    if worst < 0.05:
        return None
    if passes > 1:
        return Cause(
            "gradients of several backward passes are not accumulated as before",
            "no_sync: synchronisation has to be off for all but the last micro-batch and on again "
            "for the last one.",
            ("FSDP201",),
        )
    if e.first.step and passes == 1:
        return Cause(
            "gradients of the step before are still there",
            "zero_grad is not called, or not on the parameters that are trained.",
            ("FSDP201",),
        )
    return None


def rounding(e: Evidence) -> Cause | None:
    gaps = [d.gap for d in e.together if d.gap is not None]
    if not gaps or any(g.ulps is None or g.ulps > ROUNDING for g in gaps if not g.estimated):
        return None
    if any(g.max_rel > 1e-4 for g in gaps):
        return None
    if any(d.aspect is Aspect.COLLECTIVES for d in e.differences):
        return another_sharding(e, "sums are taken in another order, and communication differs")
    return Cause(
        "the difference is rounding",
        "A sum is taken in another order: a clipped norm over shards, reductions over more than "
        "two ranks (--deterministic-reductions), or a tensor that is used inside and outside of a "
        "unit.  Compare with --rtol.",
        ("FSDP202",),
    )


def precision(e: Evidence) -> Cause | None:
    gaps = [d.gap for d in e.together if d.gap is not None and d.aspect is e.first.aspect]
    if not e.start or not gaps:
        return None
    if max(gap.max_rel for gap in gaps if math.isfinite(gap.max_rel)) < _COARSE:
        return None
    if e.first.aspect is Aspect.GRADIENT:
        return Cause(
            "gradients differ by more than rounding, the loss does not",
            "The type in which gradients are reduced (reduce_dtype), what is reduced over which "
            "ranks, or what changes gradients before the step.",
            ("FSDP101", "FSDP201", "FSDP202"),
        )
    return Cause(
        "the first loss differs",
        "The types of computation (param_dtype, inputs of nested units, buffers) or the initial "
        "weights (param_init_fn, a checkpoint that was loaded) are not what they were.",
        ("FSDP101", "FSDP302"),
    )
