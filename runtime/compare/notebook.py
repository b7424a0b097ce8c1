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

Place = tuple[Aspect, int | None, int | None, str]
Band = dict[Place, Gap]  # how far two runs of the old version are apart
_WIDER = 4  # times as far two versions may be apart
_NOISE = 1e-3  # relative; what is further apart is no rounding


class Notebook:
    """Tallies, differences and notes of one comparison."""

    def __init__(self, tolerance: Tolerance, band: Band | None = None) -> None:
        self.tolerance = tolerance
        self.by_band = False  # something is as close as the old version is to itself
        self.needed: float | None = 0.0  # the --rtol that would cover all; None: no one does
        self._band = band or {}
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
        self.needed = None
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
        elif self._is_noise(difference, gap):
            self.by_band = True
            self.near(difference.aspect, gap.max_abs)
        else:
            relative = gap.max_abs / scale if scale and not gap.estimated else math.inf
            needed = None if self.needed is None else max(self.needed, relative)
            self.differs(difference)
            self.needed = needed

    def _is_noise(self, difference: Difference, gap: Gap) -> bool:
        known = self._band.get(place_of(difference))
        if known is None or known.estimated != gap.estimated:
            return False
        return known.max_rel <= _NOISE and gap.max_abs <= _WIDER * known.max_abs

    def band(self) -> Band:
        """How far the values are apart that differ."""
        found: Band = {}
        for difference in self._differences:
            place, gap = place_of(difference), difference.gap
            known = found.get(place)
            if gap is not None and (known is None or gap.max_abs > known.max_abs):
                found[place] = gap
        return found

    def note(self, text: str) -> None:
        """Something that the reader should know and that is no difference."""
        self.notes[text] = None

    def ignores(self, line: str) -> bool:
        """Whether a printed line is not to be compared."""
        return any(re.search(pattern, line) for pattern in self.tolerance.ignore_lines)

    def differences(self) -> tuple[Difference, ...]:
        """All differences, in the order in which they happened."""
        return tuple(sorted(self._differences, key=when))


def place_of(difference: Difference) -> Place:
    """What differs, without by how much."""
    return difference.aspect, difference.rank, difference.step, difference.name


def when(difference: Difference) -> tuple[float, int, int]:
    """Orders differences by the time at which they happened; what has no step comes last."""
    step = math.inf if difference.step is None else difference.step
    return step, ORDER[difference.aspect], difference.rank or 0
