"""Compares printed text: the same words, and numbers as close as they are printed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from fsdp_migrate.runtime.compare.differences import Aspect, Difference
from fsdp_migrate.runtime.compare.habits import habits
from fsdp_migrate.runtime.compare.notebook import Notebook

NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?|\bnan\b|\binf\b")
# Numbers that no two runs have in common: whole words before or after tell them.
_CLOCK_AFTER = re.compile(
    r"\s*(?:s|sec|secs|seconds?|ms|us|µs|min|minutes?|h|hours?|it/s|s/it|tok(?:en)?s?/s\w*|"
    r"samples?/s\w*|[KMG]i?B|TFLOPS?|TFLOP/s|%?\s*MFU)(?![\w-])",
    re.IGNORECASE,
)
_CLOCK_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:time|elapsed|duration|eta|throughput|speed|memory|"
    r"mem|seconds|tok/s|it/s|(?:tokens?|samples|steps|it)_?per_?sec(?:ond)?|mfu|port|pid)"
    r"(?:(?![a-z])(?!_?steps?\b)\w*)\s*(?:\([^)]*\))?\s*[:=]?\s*$",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]?|\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?|0x[0-9a-fA-F]{6,}")


def compare_text(
    book: Notebook, aspect: Aspect, where: str, old: str, new: str, again: str | None = None
) -> None:
    """Compare two texts line by line; reports the first line that differs.

    `again` is what the old version said when it ran once more: what it does not repeat itself is
    no difference.
    """
    a, b = list(_lines(book, old)), list(_lines(book, new))
    known = habits(a, a if again is None else list(_lines(book, again)))
    if known.length:
        book.note(f"{where} has another number of lines with every run of the old version")
        return
    for number, (before, after) in enumerate(zip(a, b, strict=False)):
        if before == after or _same_but_for_clocks(before, after):
            book.same(aspect)
            continue
        first, second = known.masked(number, before), known.masked(number, after)
        if first == second:
            changing = _short(known.example)
            book.note(f"{where}: not compared, for it changes with every run: {changing}")
            continue
        gap = _distance(book, before, after)
        if gap is None:
            message = f"{where} says {_short(after)} instead of {_short(before)}"
            book.differs(Difference(aspect, message, name=where))
            return
        book.near(aspect, gap)
    if len(a) != len(b):
        extra = (a if len(a) > len(b) else b)[min(len(a), len(b))]
        what = "missing" if len(a) > len(b) else "unexpected"
        message = f"{where} has {len(b)} lines instead of {len(a)}, {what}: {_short(extra)}"
        book.differs(Difference(aspect, message, name=where))


def _lines(book: Notebook, text: str) -> Iterator[str]:
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if "\r" in line:  # progress that was drawn over
            continue
        if line.strip() and not book.ignores(line):
            yield line.rstrip()


def _same_but_for_clocks(old: str, new: str) -> bool:
    return _without_clocks(old) == _without_clocks(new)


def _without_clocks(line: str) -> str:
    line = _DATE.sub("<clock>", line)
    parts, end = [], 0
    for match in NUMBER.finditer(line):
        parts.append(line[end : match.start()])
        before, after = line[: match.start()], line[match.end() :]
        clock = _CLOCK_AFTER.match(after) or _CLOCK_BEFORE.search(before)
        parts.append("<clock>" if clock else match.group())
        end = match.end()
    return "".join(parts) + line[end:]


def _distance(book: Notebook, old: str, new: str) -> float | None:
    """The largest distance of two numbers in lines that are alike; None if it is too large."""
    old, new = _without_clocks(old), _without_clocks(new)
    a, b = NUMBER.findall(old), NUMBER.findall(new)
    if NUMBER.sub("#", old) != NUMBER.sub("#", new) or book.tolerance.exact:
        return None
    worst = 0.0
    for before, after in zip(a, b, strict=True):
        x, y = float(before), float(after)
        if before == after or (math.isnan(x) and math.isnan(y)):
            continue
        allowed = _unit(before) + book.tolerance.atol + book.tolerance.rtol * abs(x)
        if not abs(x - y) <= allowed:
            return None
        worst = max(worst, abs(x - y))
    return worst


def _unit(number: str) -> float:
    """A little more than one unit of the last printed digit; whole numbers are exact."""
    digits, _, exponent = number.lower().partition("e")
    _, point, fraction = digits.partition(".")
    return 1.01 * 10.0 ** (int(exponent or 0) - len(fraction)) if point else 0.0


def _short(line: str, limit: int = 100) -> str:
    return repr(line if len(line) <= limit else line[: limit - 1] + "…")
