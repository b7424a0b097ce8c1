"""Things between brackets, with the text around them: taken out and put in without a trace.

The text between the brackets is cut into items and the gaps around them, which hold commas,
blanks, line ends and comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Listing(Generic[T]):
    """Items and the gaps around them, one more than there are items."""

    items: list[T] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    newline: str = "\n"

    def remove(self, item: T) -> None:
        """Take an item out, and the comment on its line."""
        index = self.items.index(item)
        last = index == len(self.items) - 1
        self.gaps[index : index + 2] = [
            _merged(self.gaps[index], self.gaps[index + 1], last, self.newline)
        ]
        del self.items[index]

    def insert(self, item: T, opening: str, first: bool = False) -> None:
        """Put an item at the end or the front, laid out like the others; brackets open as said."""
        if not self.items:
            self._fill(item, opening)
        elif first:
            self._prepend(item)
        else:
            self._append(item)

    @property
    def step(self) -> str:
        """What separates items, but for the comma."""
        spread = [gap for gap in self.gaps[:-1] if "\n" in gap]
        return f"{self.newline}{_last_line(spread[-1])}" if spread else " "

    def _fill(self, item: T, opening: str) -> None:
        head = self.gaps[0]
        at = head.index(opening) + len(opening)
        tail = head[at:]
        self.gaps = [head[:at], tail if "#" in tail else tail.lstrip()]
        self.items = [item]

    def _prepend(self, item: T) -> None:
        head = self.gaps[0]
        if "\n" in head and all("\n" in gap for gap in self.gaps[1:-1]):
            at = head.index("\n") + 1
            indent = _last_line(head)
            self.gaps[:1] = [head[:at] + indent, f",{self.newline}{head[at:]}"]
        else:
            self.gaps[:1] = [head, ", "]
        self.items.insert(0, item)

    def _append(self, item: T) -> None:
        tail = self.gaps[-1]
        if not tail.lstrip().startswith(","):
            self.gaps[-1:] = [f",{self.step}", tail]
        elif "\n" in tail:
            at = tail.rindex("\n") + 1
            indent = self.step.lstrip("\r\n")
            self.gaps[-1:] = [tail[:at] + indent, f",{self.newline}{tail[at:]}"]
        else:
            self.gaps[-1:] = [", ", "," + tail.lstrip()[1:]]
        self.items.append(item)


def _merged(left: str, right: str, last: bool, newline: str) -> str:
    """What stands between two items when the one between `left` and `right` is gone."""
    bare = last and not right.lstrip().startswith(",")  # then no comma may be left over
    if "\n" in right:
        rest = right[right.index("\n") + 1 :]
        if "\n" in left:
            kept = left[: left.rindex("\n") + 1]
            return (_without_comma(kept) if bare else kept) + rest
        kept = left.rstrip()
        return (_without_comma(kept) if bare else kept) + newline + rest
    if last and "#" not in left:
        return re.sub(r",\s*$", "", left) + right.lstrip().removeprefix(",").lstrip()
    return left


def _without_comma(text: str) -> str:
    return re.sub(r",((?:[ \t]*#[^\n]*)?\s*)\Z", r"\1", text)


def _last_line(text: str) -> str:
    return text[text.rindex("\n") + 1 :]
