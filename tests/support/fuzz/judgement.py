"""What of a report is about a difference: what was drawn, and which findings speak of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.runtime.compare import Aspect, Outcome, Verdict
from fsdp_migrate.runtime.compare.communication import SHARDING, medians
from fsdp_migrate.runtime.verify.recording import Recording, Step
from support.fuzz.lists import LISTS
from support.programs import Run

# The codes that are about a piece; a piece that isn't here comes out the same or is a fault.
ABOUT: Mapping[str, frozenset[str]] = {
    piece: frozenset(f"FSDP{number}" for number in codes.split())
    for piece, codes in {
        "crossing: append": "501 502",
        "crossing: appended while whole": "403",
        "crossing: chosen while whole": "403",
        "crossing: optimizer while whole": "403",
        "crossing: two models": "501 533",
        "crossing: two models in groups": "501 533",
        "crossing: two models, listed before": "501 533",
        "crossing: two models, one of them plain": "501 533",
        "crossing: attribute": "501 511",
        "crossing: by name": "501",
        "crossing: evaluated first": "510",
        "crossing: evaluated in a helper": "510",
        "crossing: filtered": "501",
        "crossing: helper": "501",
        "crossing: ids": "501",
        "crossing: both in a helper": "501",
        "crossing: frozen": "501",
        "crossing: list": "501",
        "crossing: of children": "501",
        "crossing: of modules": "501",
        "crossing: of a block": "501",
        "crossing: of a module by name": "501",
        "crossing: of blocks in turn": "501",
        "crossing: of parts": "501",
        "crossing: optimizer": "501",
        "crossing: optimizer and scheduler": "501",
        "crossing: own method": "501",
        "crossing: part": "501",
        "crossing: set": "501",
        "crossing: weights": "501",
        "inner: count": "502",
        "inner: data": "503",
        "inner: data in a helper": "503",
        "inner: data of a part": "503",
        "inner: in place": "503",
        "inner: names": "405 412",
        "inner: norm": "502 504 530",
        "inner: parts": "411",
        "loop: accumulate": "201 507",
        "loop: accumulate in branches": "201 507",
        "loop: a context by a condition": "201 507",
        "loop: a context by a name": "201 507",
        "loop: a context of a stack": "201 507",
        "loop: clip": "202 509",
        "loop: clip by item": "202 509",
        "loop: clip logged": "202 509",
        "loop: two backwards": "201 507",
        "use: class name": "411",
        "use: count": "502",
        "use: count of all": "502",
        "use: data": "503 421",
        "use: data in place": "503",
        "use: data of groups": "503 421",
        "use: evaluate": "510",
        "use: evaluate in eval mode": "510",
        "use: evaluate in inference mode": "510",
        "use: isinstance": "401",
        "use: largest weight": "403",
        "use: mean": "502 412 508",
        "use: mean by name": "405 412 508",
        "use: module": "402",
        "use: names": "405 412",
        "use: noise": "531",
        "use: norm of shards": "502 504 530",
        "use: numbers": "530",
        "use: put back at last": "510",
        "use: put back by a context": "510",
        "use: put back by a stack": "510",
        "use: rank": "410",
        "use: units": "403",
        "use: groups while whole": "403",
        "use: parameters from outside": "403",
        "use: weights": "403",
        "use: whole average": "403",
        "use: whole by a stack": "403",
        "use: whole copies in numpy": "403",
        "use: whole copies joined": "403",
        "use: whole copies of a helper": "403",
        "use: whole copies on an object": "403",
        "use: whole if sharded": "403",
        "checkpoint: full": "301 302 304",
        "checkpoint: full by a choice": "301 302 304",
        "checkpoint: full if sharded": "301 302 304",
        "checkpoint: full in a helper": "301 302 304",
        "checkpoint: no context": "302",
        "checkpoint: of the module": "301 302 304 402",
        "checkpoint: optimizer there and back": "301 303 304",
        "checkpoint: sharded there and back": "301 302 304",
        "checkpoint: part": "301 302 304 402",
        "checkpoint: parts in a loop": "301 302 304 405",
        "checkpoint: set type": "301 302 304",
        "checkpoint: there and back": "301 302 304",
        "checkpoint: with optimizer": "301 302 303 304 533",
        **{f"crossing: {way}": "501 502" for way in LISTS},
    }.items()
}
# Which parts of a program can be why an aspect of its run comes out otherwise.
PARTS: Mapping[Aspect, tuple[str, ...]] = {
    Aspect.STDOUT: ("crossing", "inner", "loop", "use"),
    Aspect.FILES: ("checkpoint",),
    Aspect.COLLECTIVES: ("crossing", "inner", "loop", "use", "checkpoint"),
}
# Fixes whose message names what they cost, so that they speak of it though they are safe: FSDP510
# gathers once more, FSDP403 a parameter at a time, which is said only where it is no more bytes.
ONCE_MORE, ONE_BY_ONE = frozenset({"FSDP510"}), frozenset({"FSDP403"})
OF_PARTS = frozenset({"of the module", "part", "parts in a loop"})
PADDING = 64 * 12  # bytes: of each parameter of the program
OF_TRAINING = ("crossing", "inner", "loop", "use", "checkpoint")
_LINE = re.compile(r"\b(\w+\.py)(?::|\", line )(\d+)")


def unsaid(drawn: Mapping[str, str], run: Run, verdict: Verdict, costs: Costs | None) -> str:
    """What of a verdict no finding speaks of; empty if the report says all of it."""
    if verdict.outcome is Outcome.FAILED:
        return "" if _stands_where_it_fails(run, str(verdict)) else "it fails"
    for aspect in _independent(difference.aspect for difference in verdict.differences):
        pieces = [f"{part}: {drawn[part]}" for part in PARTS.get(aspect, OF_TRAINING)]
        codes = frozenset[str]().union(*(ABOUT.get(piece, frozenset()) for piece in pieces))
        told = {item.code for item in run.findings if warns(item)}
        if aspect is Aspect.COLLECTIVES:
            if costs is not None and costs.is_the_same:
                continue
            named = ONCE_MORE if costs is None or costs.is_more else ONCE_MORE | ONE_BY_ONE
            told |= {item.code for item in run.findings} & named
        if not told & codes:
            return aspect.value
    return ""


@dataclass(frozen=True)
class Costs:
    """Bytes that two versions of a program communicate: in a step, and around all checkpoints."""

    old: float
    new: float
    gathered_before: float
    gathered_now: float

    @classmethod
    def of(cls, old: Recording, new: Recording) -> Costs:
        """Those of the first rank."""
        first = old.ranks[0].steps, new.ranks[0].steps
        return cls(*map(_in_a_step, first), *map(_around_checkpoints, first))

    @property
    def is_the_same(self) -> bool:
        """Whether a step has as many bytes but for a unit that is gathered once more in a run."""
        return self.old <= self.new <= 1.02 * self.old

    @property
    def is_more(self) -> bool:
        """Whether a step has become more than padding explains."""
        return self.new > 1.25 * self.old + PADDING

    def unsaid(self, drawn: Mapping[str, str]) -> str:
        """What is wrong with the gathers of state dicts, which nothing else compares.

        They were measured for each of the pieces: as many bytes as FSDP1's, in more gathers (12 of
        3696 bytes instead of 3 of 3696 for the model, 24 of 7392 instead of 6 of 7392 for the state
        of the optimizer), and none at all where they are sharded (0 instead of 21).  More are
        gathered only by what asks for a part of the model, of which FSDP1 left out what its root
        held (3696 bytes instead of 3328, or of none): the files show that.  What is loaded is
        scattered from the first rank, once each parameter, where FSDP1's ranks cut it themselves.
        Behind an evaluation FSDP1 found its root gathered, and gathered nothing: FSDP2 makes state
        dicts of shards, whatever is gathered.
        """
        evaluates = any(
            word in drawn[part] for part in ("crossing", "use") for word in ("evaluate", "put back")
        )
        if drawn["checkpoint"] in OF_PARTS or evaluates:
            return ""
        limit = 1.25 * self.gathered_before + PADDING
        return "state dicts gather more" if self.gathered_now > limit else ""


def _in_a_step(steps: Sequence[Step]) -> float:
    kinds = medians(steps)
    return sum(kinds.get(kind, (0, 0))[1] for kind in SHARDING)


def _around_checkpoints(steps: Sequence[Step]) -> float:
    return sum(step.collectives.get("checkpoint all-gather", (0, 0))[1] for step in steps)


def _independent(found: Iterable[Aspect]) -> list[Aspect]:
    """What differs, without what only follows: other weights are printed and saved otherwise."""
    aspects = list(dict.fromkeys(found))
    training = [aspect for aspect in aspects if aspect not in PARTS]
    return training[:1] or aspects


def warns(item: Finding) -> bool:
    """Whether a finding says that something may come out otherwise."""
    return item.tier in {Tier.MANUAL, Tier.NOTE} or item.safety is Safety.UNSAFE


def _stands_where_it_fails(run: Run, failure: str) -> bool:
    """Whether code that was left as it was, with a finding, is among the lines that fail."""
    failing = {place for match in _LINE.finditer(failure) for place in _before(run, match)}
    return any(
        (item.path.name, item.line + near) in failing
        for item in run.findings
        if item.tier is Tier.MANUAL
        for near in (-1, 0, 1)
    )


def _before(run: Run, match: re.Match[str]) -> Iterator[tuple[str, int]]:
    """The line of the original that a line of the new version was."""
    name, number = match[1], int(match[2]) - 1
    if name not in run.after:
        return
    old, new = run.before[name].splitlines(), run.after[name].splitlines()
    for block in difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        if block.b <= number < block.b + block.size:
            yield name, block.a + number - block.b + 1
