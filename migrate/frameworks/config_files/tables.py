"""Tables of settings in a text, and where their keys and values stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Edit = tuple[int, int, str]


@dataclass(eq=False)
class Entry:
    """A key and its value: both as they are meant, and where they are written."""

    key: str
    value: object
    key_start: int
    key_end: int
    start: int
    end: int


@dataclass(eq=False)
class Table(Mapping[str, object]):
    """A mapping of a YAML or JSON file; `flow` says that it stands between braces."""

    text: str
    start: int
    end: int
    flow: bool
    json: bool = False
    entries: list[Entry] = field(default_factory=list)

    def __getitem__(self, key: str) -> object:
        entry = self.entry(key)
        if entry is None:
            raise KeyError(key)
        return entry.value

    def __iter__(self) -> Iterator[str]:
        return (entry.key for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def entry(self, key: str) -> Entry | None:
        """The entry called `key`."""
        return next((e for e in self.entries if e.key == key), None)

    @property
    def newline(self) -> str:
        """How lines end in the file."""
        return "\r\n" if "\r\n" in self.text else "\n"


def apply(text: str, edits: list[Edit]) -> str:
    """`text` with replacements made, none of which overlap; its last line ends as before."""
    result = text
    for start, end, new in sorted(edits, reverse=True):
        result = result[:start] + new + result[end:]
    if edits and not text.endswith("\n"):
        return result.rstrip("\r\n")
    return result


def place(text: str, at: int) -> tuple[int, int]:
    """The line and column of a place in a text, both from 1."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
