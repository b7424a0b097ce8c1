"""The imports of a file, read off its lines without parsing it.

A line that looks like an import is taken for one: a false link costs the time to look at one
file more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_IMPORT = re.compile(
    rb"\n[ \t]*(?:"
    rb"from[ \t]+(\.*)[ \t]*([\w.]*)[ \t]*import[ \t]*"
    rb"(\((?:[^()#]|#[^\n]*\n)*\)|(?:[^\n;#(\\]|\\\r?\n)+)"
    rb"|import[ \t]+((?:[^\n;#\\]|\\\r?\n)+))"
)
_COMMENT = re.compile(rb"#[^\n]*")
_NAME = re.compile(r"(\*|\w+)(?:\s+as\s+(\w+))?")
_DOTTED = re.compile(r"([\w.]+)(?:\s+as\s+\w+)?")


class Import(NamedTuple):
    """`from ..dotted import name as local` (level 2), or `import dotted` without names."""

    level: int
    dotted: str
    names: tuple[tuple[str, str], ...] = ()  # (name, what it is called here)


def imports(data: bytes) -> Iterator[Import]:
    """What the lines of `data` import, as far as it can be told without parsing."""
    for dots, dotted, names, modules in _IMPORT.findall(b"\n" + data):
        if modules:
            for name in _DOTTED.findall(_text(modules)):
                yield Import(0, name)
        elif dots or dotted:
            pairs = _NAME.findall(_text(_COMMENT.sub(b"", names)))
            yield Import(
                len(dots), _text(dotted), tuple((name, local or name) for name, local in pairs)
            )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
