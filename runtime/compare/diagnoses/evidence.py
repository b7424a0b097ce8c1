"""What the diagnoses of a divergence look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.runtime.compare.differences import Aspect, Difference
from fsdp_migrate.runtime.compare.gaps import estimated
from fsdp_migrate.runtime.compare.verdict import Cause
from fsdp_migrate.runtime.verify.recording import Loss, Recording, Step


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

    def ranks_hold_alike(self, which: Recording) -> bool:
        """Whether all ranks have the same parameters and buffers after the step."""
        steps = self.steps(which)
        return all(
            (step.parameters, step.buffers) == (steps[0].parameters, steps[0].buffers)
            for step in steps
        )

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

    def losses(self, which: Recording, rank: int) -> list[Loss]:
        """What backward is called on in the step of the first divergence."""
        return [loss for loss in which.ranks[rank].losses if loss.step == self.first.step]

    def losses_before(self, which: Recording) -> int:
        """Calls of backward in the step of the first divergence."""
        return len(self.losses(which, 0))


Diagnosis = Callable[[Evidence], Cause | None]
