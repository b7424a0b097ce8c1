"""What of a report is about a difference: what was drawn, and which findings speak of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.runtime.compare import Aspect, Outcome, Verdict
from support.programs import Run

# The codes that are about a piece; a piece that isn't here comes out the same or is a fault.
ABOUT: Mapping[str, frozenset[str]] = {
    piece: frozenset(f"FSDP{number}" for number in codes.split())
    for piece, codes in {
        "crossing: append": "501 502",
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
        "use: rank": "410",
        "use: units": "403",
        "use: weights": "403",
        "checkpoint: full": "301 302 304",
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
    }.items()
}
# Which parts of a program can be why an aspect of its run comes out otherwise.
PARTS: Mapping[Aspect, tuple[str, ...]] = {
    Aspect.STDOUT: ("crossing", "inner", "loop", "use"),
    Aspect.FILES: ("checkpoint",),
    Aspect.COLLECTIVES: ("crossing", "inner", "loop", "use", "checkpoint"),
}
# Fixes whose message names what they cost, so that they speak of it though they are safe.
COSTS: Mapping[Aspect, frozenset[str]] = {Aspect.COLLECTIVES: frozenset({"FSDP403", "FSDP510"})}
OF_TRAINING = ("crossing", "inner", "loop", "use", "checkpoint")
_LINE = re.compile(r"\b(\w+\.py)(?::|\", line )(\d+)")


def unsaid(drawn: Mapping[str, str], run: Run, verdict: Verdict) -> str:
    """What of a verdict no finding speaks of; empty if the report says all of it."""
    if verdict.outcome is Outcome.FAILED:
        return "" if _stands_where_it_fails(run, str(verdict)) else "it fails"
    for aspect in _independent(difference.aspect for difference in verdict.differences):
        pieces = [f"{part}: {drawn[part]}" for part in PARTS.get(aspect, OF_TRAINING)]
        codes = frozenset[str]().union(*(ABOUT.get(piece, frozenset()) for piece in pieces))
        told = {item.code for item in run.findings if warns(item)}
        told |= {item.code for item in run.findings} & COSTS.get(aspect, frozenset())
        if not told & codes:
            return aspect.value
    return ""


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
