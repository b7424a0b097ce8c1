"""The changes to a file as a unified diff that `git apply` and `patch` take.

Inside a working tree of git it is written as `git diff` does, whose paths start at the top of the
tree: so it can be applied from every folder.  Elsewhere paths are relative to the working folder.
"""

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
    header = _header(source.path, is_new=not source.text and not source.path.exists())
    return header.encode("utf-8", "surrogateescape") + "".join(_closed(body)).encode(
        source.encoding
    )


def _header(path: Path, *, is_new: bool) -> str:
    """The lines that name the file."""
    top = _top_of_tree()
    inside = top is not None and os.path.abspath(path).startswith(os.path.join(top, ""))
    name = os.path.relpath(path, top if inside else None).replace(os.sep, "/")
    old, new = _quoted("a/" + name), _quoted("b/" + name)
    first = f"diff --git {old} {new}\n" if inside else ""
    if inside and is_new:
        first += "new file mode 100644\n"
    return f"{first}--- {'/dev/null' if is_new else _closed_name(old)}\n+++ {_closed_name(new)}\n"


def _top_of_tree() -> str | None:
    """The top of git's working tree that the working folder is in."""
    folder = os.getcwd()
    while not os.path.exists(os.path.join(folder, ".git")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return folder


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


def _quoted(path: str) -> str:
    """A path as git writes it: quoted if it has to be."""
    if path.isprintable() and '"' not in path and "\\" not in path:
        return path
    return '"' + "".join(_ESCAPES.get(char) or _octal(char) for char in path) + '"'


def _octal(char: str) -> str:
    """A character, or its bytes as octal numbers if a terminal would obey it."""
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def _closed_name(name: str) -> str:
    """A name, closed by a tab if it has spaces."""
    return name + "\t" if " " in name and not name.startswith('"') else name
