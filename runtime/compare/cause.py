"""Which migration site is the likely cause of a divergence.

Every diagnosis looks at the first divergence and says yes with an explanation, or passes.  They
are tried from the most telling to the least; the codes name the rules that migrate such sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.runtime.compare.gaps import estimated
from fsdp_migrate.runtime.compare.verdict import Aspect, Cause, Difference, Kind
from fsdp_migrate.runtime.verify.recording import NO_MODEL, Recording, Step

ROUNDING = 256  # ulps up to which the order of a sum explains a difference
_FEW_BITS = 0.02  # relative differences up to which a sum in 16 bits explains one
_COARSE = 1e-4  # relative differences from which on 16 bits are likely


@dataclass(frozen=True)
class Evidence:
    """What the diagnoses look at."""

    old: Recording
    new: Recording
    differences: Sequence[Difference]

    @property
    def first(self) -> Difference:
        """The first divergence."""
        return self.differences[0]

    @cached_property
    def together(self) -> list[Difference]:
        """What differs in the step of the first divergence, on any rank."""
        return [d for d in self.differences if d.step == self.first.step]

    def of(self, aspect: Aspect) -> list[Difference]:
        """What differs of an aspect in that step."""
        return [d for d in self.together if d.aspect is aspect]

    @property
    def world(self) -> int:
        """The number of ranks."""
        return len(self.old.ranks)

    @property
    def start(self) -> bool:
        """Whether the runs part before they have changed any parameter."""
        return self.first.step == 0 and self.first.aspect in (Aspect.LOSS, Aspect.GRADIENT)

    def steps(self, which: Recording) -> list[Step]:
        """The step of the first divergence, on every rank that took it."""
        number = self.first.step
        return [s for rank in which.ranks.values() for s in rank.steps if s.number == number]

    def ranks_agree(self, which: Recording) -> bool:
        """Whether all ranks have the same gradients, as they do once these are reduced."""
        steps = self.steps(which)
        return all(step.gradients == steps[0].gradients for step in steps)

    @property
    def by_norm(self) -> float:
        """The largest difference of a gradient in that step, relative to its norm."""
        worst = 0.0
        for before, after in zip(self.steps(self.old), self.steps(self.new), strict=False):
            for name, old in before.gradients.items():
                new = after.gradients.get(name)
                if old is not None and new is not None and not old.same(new):
                    worst = max(worst, estimated(old, new).max_rel)
        return worst

    def losses_before(self, which: Recording) -> int:
        """Calls of backward in the step of the first divergence."""
        return sum(loss.step == self.first.step for loss in which.ranks[0].losses)


Diagnosis = Callable[[Evidence], Cause | None]


def likely_cause(old: Recording, new: Recording, differences: Sequence[Difference]) -> Cause | None:
    """The likely cause of the first divergence, if there is a telling one."""
    if not differences:
        return None
    evidence = Evidence(old, new, differences)
    for diagnose in DIAGNOSES:
        cause = diagnose(evidence)
        if cause is not None:
            return cause
    return None


def _optimizer_before_wrap(e: Evidence) -> Cause | None:
    if not any(d.name.endswith(NO_MODEL) and d.kind is Kind.UNEXPECTED for d in e.together):
        return None
    return Cause(
        "the optimizer holds parameters that the model no longer has",
        "fully_shard replaces parameters: build the optimizer after it, or it trains nothing.",
        ("FSDP101",),
    )


def _names(e: Evidence) -> Cause | None:
    if not any(d.kind is Kind.MISSING for d in e.of(Aspect.PARAMETER)):
        return None
    return Cause(
        "the models have other parameters",
        "A parameter was renamed, dropped, or belongs to another model or optimizer group.",
        ("FSDP101",),
    )


def _not_reduced(e: Evidence) -> Cause | None:
    if not e.of(Aspect.GRADIENT) or not e.ranks_agree(e.old) or e.ranks_agree(e.new):
        return None
    return Cause(
        "gradients are no longer the same on all ranks",
        "They are not reduced: the root or a unit is not wrapped, synchronisation stayed switched "
        "off after no_sync, or the model is replicated where it was sharded.",
        ("FSDP101", "FSDP201"),
    )


def _dtype(e: Evidence) -> Cause | None:
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


def _buffers_alone(e: Evidence) -> Cause | None:
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


def _other_ranks_alone(e: Evidence) -> Cause | None:
    if not e.start or e.first.aspect is not Aspect.LOSS or e.world == 1:
        return None
    if 0 in {d.rank for d in e.of(Aspect.LOSS)}:
        return None
    return Cause(
        "the ranks start from other weights or buffers, rank 0 does not",
        "sync_module_states was dropped: what rank 0 holds has to be broadcast before sharding.",
        ("FSDP101",),
    )


def _scaled_loss(e: Evidence) -> Cause | None:
    losses = e.of(Aspect.LOSS)
    if e.first.aspect is not Aspect.LOSS or not losses:
        return None
    before, after = (
        [loss.value for loss in run.ranks[0].losses if loss.step == e.first.step]
        for run in (e.old, e.new)
    )
    ratios = {round(y / x, 3) for x, y in zip(before, after, strict=False) if x and y and x * y > 0}
    if len(ratios) != 1 or ratios == {1.0}:
        return None
    return Cause(
        f"the loss is {ratios.pop():g} times what it was",
        "It is scaled twice or not at all: GradScaler, or the division by the number of "
        "micro-batches.",
        ("FSDP203", "FSDP201"),
    )


def _scaled_gradients(e: Evidence) -> Cause | None:
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
            return Cause(f"all gradients are {ratio:g} times what they were", why + ".", codes)
    return Cause(
        f"all gradients are {ratio:.4g} times what they were",
        "Clipping: the norm is computed over other tensors (one rank's shards, another model), at "
        "another time, or loss scaling was not undone before it.",
        ("FSDP202", "FSDP203"),
    )


def _lost_microbatches(e: Evidence) -> Cause | None:
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


def _presence(e: Evidence) -> Cause | None:
    present = [d for d in e.together if d.kind in (Kind.MISSING, Kind.UNEXPECTED)]
    if not present or present[0].aspect not in (Aspect.GRADIENT, Aspect.STATE):
        return None
    return Cause(
        "parameters have gradients or optimizer state in one version only",
        "Unused parameters: a flat parameter gives them zeros, a parameter of its own gives "
        "none.  Or other parameters are ignored or frozen than before.",
        ("FSDP101",),
    )


def _rounding(e: Evidence) -> Cause | None:
    gaps = [d.gap for d in e.together if d.gap is not None]
    if not gaps or any(g.ulps is None or g.ulps > ROUNDING for g in gaps if not g.estimated):
        return None
    if any(g.max_rel > 1e-4 for g in gaps):
        return None
    if any(d.aspect is Aspect.COLLECTIVES for d in e.differences):
        return _another_sharding(e, "sums are taken in another order, and communication differs")
    return Cause(
        "the difference is rounding",
        "A sum is taken in another order: a clipped norm over shards, reductions over more than "
        "two ranks (--deterministic-reductions), or a tensor that is used inside and outside of a "
        "unit.  Compare with --rtol.",
        ("FSDP202",),
    )


def _precision(e: Evidence) -> Cause | None:
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


def _random(e: Evidence) -> Cause | None:
    if not e.of(Aspect.RANDOM):
        return None
    return Cause(
        "random numbers are drawn in another order or number",
        "Something draws that did not before: initialisation after sharding, dropout under "
        "activation checkpointing, a shuffled loader.",
    )


def _groups(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.GROUPS:
        return None
    return Cause(
        "the optimizer has other hyperparameters",
        "Parameter groups were built from other parameters or in another order, a scheduler "
        "steps at another time, or optimizer state was not loaded.",
        ("FSDP303",),
    )


def _update(e: Evidence) -> Cause | None:
    if e.first.aspect not in (Aspect.PARAMETER, Aspect.STATE):
        return None
    return Cause(
        "the same gradients give other parameters",
        "The optimizer started from other parameters or state (loading of checkpoints), or "
        "treats shards differently: a rule that looks at the shape of a parameter, an optimizer "
        "that is not element-wise.",
        ("FSDP303", "FSDP302"),
    )


def _between_steps(e: Evidence) -> Cause | None:
    if not e.first.step or e.first.aspect is not Aspect.LOSS:
        return None
    return Cause(
        "the model changes between two steps",
        "All was equal after the last step: an edit under summon_full_params, a checkpoint that "
        "is loaded, or a write to p.data did not reach the shards.",
        ("FSDP403", "FSDP302"),
    )


def _communication(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.COLLECTIVES:
        return None
    return _another_sharding(e, "numbers agree, communication does not")


def _another_sharding(e: Evidence, title: str) -> Cause:
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


def _artefacts(e: Evidence) -> Cause | None:
    if e.first.aspect is Aspect.FILES:
        return Cause(
            "training agrees, the files do not",
            "State dicts: full or sharded, on which ranks, under which keys, in which types.",
            ("FSDP301", "FSDP302", "FSDP303"),
        )
    if e.first.aspect is Aspect.STDOUT:
        return Cause(
            "training agrees, what is printed does not",
            "A value of a sharded tensor is one rank's part of it until .full_tensor() is called; "
            "counts and norms of parameters change their meaning too.",
            ("FSDP202", "FSDP401"),
        )
    return None


def _counts(e: Evidence) -> Cause | None:
    if e.first.aspect is not Aspect.STEPS:
        return None
    return Cause(
        "the versions take another number of steps",
        "A step that a scaler skips in one version only, a branch on the class of the model, or "
        "a resumed run that starts at another step.",
        ("FSDP203", "FSDP401"),
    )


DIAGNOSES: tuple[Diagnosis, ...] = (
    _optimizer_before_wrap,
    _names,
    _scaled_loss,
    _other_ranks_alone,
    _dtype,
    _not_reduced,
    _buffers_alone,
    _scaled_gradients,
    _presence,
    _rounding,
    _lost_microbatches,
    _precision,
    _groups,
    _between_steps,
    _update,
    _random,
    _communication,
    _artefacts,
    _counts,
)
