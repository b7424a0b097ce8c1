"""What the charts of a report show, read from two recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fsdp_migrate.runtime.compare import gaps
from fsdp_migrate.runtime.compare.communication import medians
from fsdp_migrate.runtime.verify.recording import Fingerprint, Prints, Rank, Recording, Step

ROWS, COLUMNS = 60, 120  # of a heat map; more cannot be read
POINTS = 400  # of a curve


@dataclass(frozen=True)
class Losses:
    """Losses of rank 0 at every call of backward."""

    old: list[float | None]
    new: list[float | None]

    @property
    def apart(self) -> list[float | None]:
        """How far they are apart."""
        return [_apart(x, y) for x, y in zip(self.old, self.new, strict=False)]

    def drawn(self) -> tuple[list[int], Losses]:
        """The calls of backward to draw: of many, those that differ most among their neighbours."""
        count = max(len(self.old), len(self.new))
        size = max(1, math.ceil(count / POINTS))
        apart = [-1.0 if d is None else d for d in self.apart]
        apart += [-1.0] * (count - len(apart))
        places = [
            max(range(begin, min(begin + size, count)), key=apart.__getitem__)
            for begin in range(0, count, size)
        ]
        old, new = (
            [values[place] if place < len(values) else None for place in places]
            for values in (self.old, self.new)
        )
        return places, Losses(old, new)


def _apart(old: float | None, new: float | None) -> float | None:
    if old is None or new is None:
        return None
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    distance = abs(old - new)
    return math.inf if math.isnan(distance) else distance


@dataclass(frozen=True)
class Heat:
    """Relative differences by parameter and step, the rows that differ most."""

    rows: list[str]
    columns: list[str]
    cells: list[list[float | None]]
    hidden: int  # rows that are left out

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not any(cell for row in self.cells for cell in row)


def losses(old: Recording, new: Recording) -> Losses:
    """The loss curves."""
    first, second = ([loss.value for loss in r.ranks[0].losses] for r in (old, new))
    return Losses(first, second)


def heat(old: Recording, new: Recording) -> Heat:
    """Relative differences of parameters and buffers after each step, over all ranks."""
    count = max((len(rank.steps) for rank in old.ranks.values()), default=0)
    chosen = _sample(count)
    table: dict[str, list[float | None]] = {}
    for number, rank in old.ranks.items():
        for column, step in enumerate(chosen):
            pair = _pair(rank, new.ranks.get(number), step)
            if pair is None:
                continue
            for name, value in _relative(*pair):
                row = table.setdefault(name, [None] * len(chosen))
                row[column] = max(row[column] or 0.0, value)
    order = sorted(table, key=lambda name: -max((v or 0.0) for v in table[name]))
    kept = set(order[:ROWS])
    rows = [name for name in table if name in kept]
    return Heat(rows, [str(s) for s in chosen], [table[r] for r in rows], len(table) - len(rows))


@dataclass(frozen=True)
class Traffic:
    """Collectives of the median step: (count, bytes) in both versions."""

    kind: str
    old: tuple[float, float]
    new: tuple[float, float]


def traffic(old: Recording, new: Recording) -> list[Traffic]:
    """The collectives of rank 0 by phase and kind."""
    a, b = (medians(r.ranks[0].steps) for r in (old, new))
    nothing = (0.0, 0.0)
    rows = [Traffic(k, a.get(k, nothing), b.get(k, nothing)) for k in sorted({*a, *b})]
    return [row for row in rows if row.old != nothing or row.new != nothing]


def step_seconds(run: Recording) -> float | None:
    """The median time of a step on rank 0; the first one warms up."""
    times = sorted(step.seconds for step in run.ranks[0].steps[1:] or run.ranks[0].steps)
    return times[len(times) // 2] if times else None


def peak_memory(run: Recording) -> int | None:
    """The peak of allocated GPU memory over all ranks."""
    peaks = [s.peak_memory for rank in run.ranks.values() for s in rank.steps]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if known else None


def _sample(count: int) -> list[int]:
    """At most `COLUMNS` step numbers, first and last included."""
    if count <= COLUMNS:
        return list(range(count))
    return sorted({round(n * (count - 1) / (COLUMNS - 1)) for n in range(COLUMNS)})


def _pair(old: Rank, new: Rank | None, step: int) -> tuple[Step, Step] | None:
    if new is None or step >= len(old.steps) or step >= len(new.steps):
        return None
    return old.steps[step], new.steps[step]


def _relative(old: Step, new: Step) -> list[tuple[str, float]]:
    found = []
    for label, a, b in (
        ("", old.parameters, new.parameters),
        ("buffer ", old.buffers, new.buffers),
    ):
        names: Sequence[str] = [*a, *(name for name in b if name not in a)]
        found += [(label + name, _distance(a, b, name)) for name in names]
    return found


def _distance(old: Prints, new: Prints, name: str) -> float:
    a: Fingerprint | None = old.get(name)
    b: Fingerprint | None = new.get(name)
    if a is None or b is None or a.shape != b.shape:
        return math.inf
    if a.same(b):
        return 0.0
    # a difference too small for the sketch is one all the same
    return max(gaps.estimated(a, b).max_rel, 1e-12)
