"""Collects what a comparison finds."""

from __future__ import annotations

import math
import re

from fsdp_migrate.runtime.compare.differences import (
    ORDER,
    Aspect,
    Difference,
    Gap,
    Tally,
    Tolerance,
)


class Notebook:
    """Tallies, differences and notes of one comparison."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.tallies: dict[Aspect, Tally] = {}
        self.notes: dict[str, None] = {}
        self._differences: list[Difference] = []

    def tally(self, aspect: Aspect) -> Tally:
        """The tally of an aspect."""
        return self.tallies.setdefault(aspect, Tally())

    def same(self, aspect: Aspect) -> None:
        """Something has the same bits."""
        self.tally(aspect).compared += 1

    def near(self, aspect: Aspect, gap: float) -> None:
        """Something differs within the tolerance."""
        tally = self.tally(aspect)
        tally.compared += 1
        tally.tolerated += 1
        tally.worst = max(tally.worst, gap)

    def differs(self, difference: Difference) -> None:
        """Something differs."""
        tally = self.tally(difference.aspect)
        tally.compared += 1
        tally.different += 1
        if difference.gap is not None:
            tally.worst = max(tally.worst, difference.gap.max_abs)
        self._differences.append(difference)

    def judge(self, difference: Difference, gap: Gap, scale: float) -> None:
        """Something differs by `gap`: enough to matter?"""
        if self.tolerance.covers(gap, scale):
            self.near(difference.aspect, gap.max_abs)
        else:
            self.differs(difference)

    def note(self, text: str) -> None:
        """Something that the reader should know and that is no difference."""
        self.notes[text] = None

    def ignores(self, line: str) -> bool:
        """Whether a printed line is not to be compared."""
        return any(re.search(pattern, line) for pattern in self.tolerance.ignore_lines)

    def differences(self) -> tuple[Difference, ...]:
        """All differences, in the order in which they happened."""
        return tuple(sorted(self._differences, key=when))


def when(difference: Difference) -> tuple[float, int, int]:
    """Orders differences by the time at which they happened; what has no step comes last."""
    step = math.inf if difference.step is None else difference.step
    return step, ORDER[difference.aspect], difference.rank or 0
