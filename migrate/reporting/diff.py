"""The changes to a file as a unified diff that `git apply` and `patch` take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fsdp_migrate.syntax.source import Source

_NO_NEWLINE = "\\ No newline at end of file\n"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def unified_diff(source: Source, text: str) -> bytes:
    """The diff from `source` to `text`, in the encoding of the file."""
    import difflib

    mark = "\ufeff" if source.bom else ""
    lines = difflib.unified_diff(
        _lines(mark + source.text), _lines(mark + text), fromfile="old", tofile="new"
    )
    body = list(lines)[2:]
    if not body:
        return b""
    name = _relative(source.path)
    old = "/dev/null" if not source.text and not source.path.exists() else _name("a/" + name)
    header = f"--- {old}\n+++ {_name('b/' + name)}\n".encode("utf-8", "surrogateescape")
    return header + "".join(_closed(body)).encode(source.encoding)


def _lines(text: str) -> list[str]:
    """The lines of `text` with their ends, as git counts them: only a line feed ends one."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _closed(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a diff, each closed by a line feed, and a remark where the file has none."""
    for line in lines:
        yield line
        if not line.endswith("\n"):
            yield "\n" + _NO_NEWLINE


def _relative(path: Path) -> str:
    """A path relative to the working folder, with slashes."""
    return os.path.relpath(path).replace(os.sep, "/")


def _name(path: str) -> str:
    """A path as git writes it: quoted if it has to be, closed by a tab if it has spaces."""
    if any(char in _ESCAPES for char in path):
        return '"' + "".join(_ESCAPES.get(char, char) for char in path) + '"'
    return path + "\t" if " " in path else path
