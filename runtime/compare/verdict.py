"""The answer to the question whether two recorded runs train identically."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """What a comparison came to."""

    IDENTICAL = "identical"  # not one bit differs
    CLOSE = "close"  # what differs is within the tolerances that were asked for
    DIFFERENT = "different"
    FAILED = "failed"  # one of the runs cannot be compared


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


@dataclass(frozen=True)
class Cause:
    """The migration site that most likely explains the first divergence."""

    title: str
    explanation: str
    codes: tuple[str, ...] = ()  # rules that migrate such sites


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

    @property
    def exact(self) -> bool:
        """Whether bits are demanded."""
        return self.rtol == 0 and self.atol == 0

    def covers(self, gap: Gap, scale: float) -> bool:
        """Whether a gap is small enough for a tensor whose largest value is `scale`."""
        return not gap.estimated and gap.max_abs <= self.atol + self.rtol * scale


@dataclass(frozen=True)
class Verdict:
    """Whether two runs train identically, and if not, where they part first."""

    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    tallies: Mapping[Aspect, Tally] = field(default_factory=dict)
    steps: int = 0
    ranks: int = 0
    cause: Cause | None = None
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether not one bit differs."""
        return self.outcome is Outcome.IDENTICAL

    @property
    def passed(self) -> bool:
        """Whether the runs are identical, or as close as was asked for."""
        return self.outcome in (Outcome.IDENTICAL, Outcome.CLOSE)

    @property
    def first(self) -> Difference | None:
        """The first divergence."""
        return self.differences[0] if self.differences else None

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        from fsdp_migrate.runtime.compare.words import in_words

        return in_words(self)
