"""What a program says otherwise whenever it runs: times, ports, names of temporary files.

It is learnt from two runs of one version, not from words that look like a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(r"\w+(?:[.:-]\w+)*|\s+|[^\w\s]")
_DIGITS = re.compile(r".*\d")
MASKED = "…"


@dataclass
class Habits:
    """The places of lines that changed from one run to the other."""

    length: bool = False  # another number of lines: nothing can be said of any
    example: str = ""
    _lines: dict[int, set[int] | None] = field(default_factory=dict)  # None: the whole line
    _shapes: dict[str, set[int]] = field(default_factory=dict)

    def masked(self, number: int, line: str) -> str:
        """A line without what changes; such lines of one shape have it in one place."""
        places = self._lines.get(number, set())
        if places is None:
            return MASKED
        tokens = _TOKEN.findall(line)
        places = places | self._shapes.get(_shape(tokens), set())
        return "".join(MASKED if n in places else token for n, token in enumerate(tokens))


def habits(first: Sequence[str], second: Sequence[str]) -> Habits:
    """What changes between the lines of two runs."""
    found = Habits(length=len(first) != len(second))
    for number, (old, new) in enumerate(zip(first, second, strict=False)):
        if old == new:
            continue
        found.example = found.example or old
        a, b = _TOKEN.findall(old), _TOKEN.findall(new)
        if len(a) != len(b):
            found._lines[number] = None
            continue
        places = {place for place, (x, y) in enumerate(zip(a, b, strict=True)) if x != y}
        found._lines[number] = places
        if all(_DIGITS.match(a[place]) and _DIGITS.match(b[place]) for place in places):
            found._shapes.setdefault(_shape(a), set()).update(places)
    return found


def _shape(tokens: Sequence[str]) -> str:
    return "".join("#" if _DIGITS.match(token) else token for token in tokens)
