"""Commands in a text, roughly as a shell reads them: words, with the places where they stand.

The text may be a script, or hold commands in the strings of a configuration.  Quotes are no part
of a word, and what is between them is words too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_PIECE = re.compile(r"(?P<end>&&|\|\|?|;)|(?P<word>[^\s\"'\\`,;|&()\[\]]+)")
_COMMENT = re.compile(r"(?:^|(?<=\s))(?:#|//|::).*")
_KEY = re.compile(r"\s*(?:- )?[\"']?[\w.\-/]+[\"']?\s*:(?:\s|$)")
# How a line starts that goes on with the command of the line before: an item of a list, an option.
_GOES_ON = ("- ", "--", '"', "'", "[", "]", ",")
_OPTION = re.compile(r"--([A-Za-z][\w.\-]*)(?:=(.*))?$")


@dataclass(frozen=True)
class Word:
    """A word, and where it stands; both count from 1."""

    text: str
    line: int
    col: int


@dataclass(frozen=True)
class Option:
    """An option of a command, its name with underscores, and the words behind it."""

    name: str
    values: tuple[str, ...]
    word: Word

    @property
    def value(self) -> str:
        """Its value; nothing, if it is a flag."""
        return self.values[0] if self.values else ""


Command = tuple[Word, ...]


def without_comments(text: str, *, json: bool = False) -> list[str]:
    """The lines of a text; where a comment stands there is nothing."""
    lines = text.splitlines()
    return lines if json else [_COMMENT.sub("", line) for line in lines]


def commands(lines: Sequence[str]) -> Iterator[Command]:
    """The commands that stand in `lines`, however many of these each takes."""
    words: list[Word] = []
    ended = True
    for number, line in enumerate(lines, 1):
        start = line.lstrip()
        joins = start.startswith(_GOES_ON) and _KEY.match(line) is None
        if ended and not joins and words:
            yield tuple(words)
            words = []
        for piece in _PIECE.finditer(line):
            if piece["word"]:
                words.append(Word(piece["word"], number, piece.start() + 1))
            elif words:
                yield tuple(words)
                words = []
        ended = not line.rstrip().endswith("\\")
    if words:
        yield tuple(words)


def options(words: Iterable[Word]) -> list[Option]:
    """The options among `words`, each with what stands behind it up to the next one."""
    found: list[Option] = []
    for word in words:
        match = _OPTION.match(word.text)
        if match is not None:
            values = (match[2],) if match[2] else ()
            found.append(Option(match[1].replace("-", "_"), values, word))
        elif found and word.text != "-":
            last = found[-1]
            found[-1] = Option(last.name, (*last.values, word.text), last.word)
    return found


def launched(command: Command, name: str, verb: str) -> int | None:
    """Where the arguments of `name verb` start in a command, if it is one."""
    for at, word in enumerate(command):
        base = os.path.basename(word.text)
        if base in (f"{name}-{verb}", f"{name}.commands.{verb}"):
            return at + 1
        follows = command[at + 1].text if at + 1 < len(command) else ""
        if base == name and follows == verb:
            return at + 2
    return None


def program(command: Command, start: int = 0) -> int | None:
    """Where the name of the Python program stands in a command."""
    for at in range(start, len(command)):
        if command[at].text.endswith(".py"):
            return at
        if command[at].text == "-m" and at + 1 < len(command):
            module = command[at + 1].text
            if not module.startswith(("torch.distributed", "accelerate.commands")):
                return at + 1
    return None
