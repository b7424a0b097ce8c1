"""What is compared of two runs, how far apart two things are, and what may differ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Aspect(Enum):
    """What is compared, in the order in which it happens within a step."""

    RUN = "run"
    LOSS = "loss"
    GRADIENT = "gradient"
    GROUPS = "hyperparameters"
    PARAMETER = "parameter"
    BUFFER = "buffer"
    STATE = "optimizer state"
    RANDOM = "random state"
    STEPS = "number of steps"
    COLLECTIVES = "collectives"
    FILES = "files"
    STDOUT = "standard output"
    STDERR = "standard error"
    COST = "cost"


class Kind(Enum):
    """In what something differs."""

    VALUE = "value"
    DTYPE = "dtype"
    SHAPE = "shape"
    MISSING = "missing"
    UNEXPECTED = "unexpected"


ORDER = {aspect: place for place, aspect in enumerate(Aspect)}


@dataclass(frozen=True)
class Gap:
    """How far two tensors are apart.

    `estimated` gaps come from sketches: `max_abs` is then the norm of the difference, and there
    are no units in the last place.
    """

    max_abs: float
    max_rel: float
    ulps: int | None = None
    ratio: float | None = None  # new / old, where one number fits the whole tensor
    estimated: bool = False

    def __str__(self) -> str:
        if self.estimated:
            return f"norm of the difference about {self.max_abs:.1e}, {self.max_rel:.1e} relative"
        ulps = f", {self.ulps} ulp" if self.ulps is not None else ""
        return f"by up to {self.max_abs:.1e}, {self.max_rel:.1e} relative{ulps}"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same; ranks and steps count from 0."""

    aspect: Aspect
    message: str
    rank: int | None = None
    step: int | None = None
    name: str = ""
    gap: Gap | None = None
    kind: Kind = Kind.VALUE

    def __str__(self) -> str:
        where = [] if self.rank is None else [f"rank {self.rank}"]
        where += [] if self.step is None else [f"step {self.step}"]
        return f"{', '.join(where)}{': ' if where else ''}{self.message}"


@dataclass
class Tally:
    """How much of an aspect was compared, and how it came out."""

    compared: int = 0
    tolerated: int = 0
    different: int = 0
    worst: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether everything that was compared has the same bits."""
        return not self.tolerated and not self.different


@dataclass(frozen=True)
class Tolerance:
    """What may differ.  With zeros, nothing may."""

    rtol: float = 0.0
    atol: float = 0.0
    collectives: str = "same"  # "same" count and bytes, "bytes" alone, or "skip"
    files: bool = True
    stdout: bool = True
    ignore_lines: tuple[str, ...] = ()  # regular expressions
    slowdown: float | None = None  # of a step, as a part of the old time; None: any
    memory_growth: float | None = None
    ignore_files: tuple[str, ...] = ()  # patterns of names, relative to where they are written

    @property
    def exact(self) -> bool:
        """Whether bits are demanded."""
        return self.rtol == 0 and self.atol == 0

    def words(self, *, by_band: bool) -> str:
        """What was tolerated, as it is asked for."""
        asked = [f"--{n} {x:g}" for n, x in (("rtol", self.rtol), ("atol", self.atol)) if x]
        parts = [" ".join(asked)] if asked else []
        parts += ["what two runs of the old version differ by"] if by_band else []
        return " and ".join(parts)

    def covers(self, gap: Gap, scale: float) -> bool:
        """Whether a gap is small enough for a tensor whose largest value is `scale`."""
        return not gap.estimated and gap.max_abs <= self.atol + self.rtol * scale
