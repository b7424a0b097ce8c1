"""A Python file as text, of which each byte can be had back that need not change."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.syntax.printable import printable

_BOM = b"\xef\xbb\xbf"


_SHORTEST, _LONGEST = 88, 120  # what black and most projects allow a line


def line_length(text: str) -> int:
    """How long a new line of the file may become: as long as its author lets lines be."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return min(max(_SHORTEST, *map(len, lines), 0), _LONGEST)


class SourceError(Exception):
    """A file that cannot be read as Python source, or not be written; says which and why."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(printable(f"{path}: {message}"))
        self.path = path
        self.message = message


@dataclass(frozen=True)
class Source:
    """The text of a file, newlines as they are in it, and how it is encoded."""

    path: Path
    text: str
    encoding: str = "utf-8"
    bom: bool = False
    width: int = 0  # what its author lets lines be, where some of the text is not of that author

    def encode(self, text: str) -> bytes:
        """The bytes of this file if it held `text`."""
        try:
            return (_BOM if self.bom else b"") + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            char = error.object[error.start]
            raise SourceError(self.path, f"{self.encoding} cannot express {char!r}") from error


def regular(path: str | Path) -> bytes:
    """What is in a file.

    Raises:
        OSError: it can't be read, or it is no file with an end: a pipe, a device, a folder.
    """
    # Opening a pipe would wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
        return file.readall()


def read(path: Path) -> Source:
    """Read a file; `SourceError` if it is not Python source."""
    try:
        return decode(path, regular(path))
    except OSError as error:
        raise SourceError(path, reason(error)) from error


def decode(path: Path, data: bytes) -> Source:
    """The source in `data`, decoded as Python does it: by a mark, a coding comment, or UTF-8."""
    if b"\0" in data:
        raise SourceError(path, "not Python source: it contains null bytes")
    return _decoded(path, data, _encoding(path, data), "; is a coding comment missing?")


def decode_plain(path: Path, data: bytes) -> Source:
    """The text in `data`, which is no Python: UTF-8, whatever its comments say of a coding."""
    if b"\0" in data:
        raise SourceError(path, "not UTF-8: it contains null bytes")
    return _decoded(path, data, "utf-8", "")


def _decoded(path: Path, data: bytes, encoding: str, hint: str) -> Source:
    bom = data.startswith(_BOM)
    content = data[len(_BOM) :] if bom else data
    try:
        text = content.decode(encoding)
        same = encoding == "utf-8" or text.encode(encoding) == content
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"line {line}: byte 0x{content[error.start]:02x}" if content else "it"
        raise SourceError(path, f"{found} is not {encoding}{hint}") from error
    except (LookupError, ValueError) as error:  # codecs that are there, but not for text
        raise SourceError(path, f"cannot be read as {encoding}: {error}") from error
    if not same:
        message = (
            f"its coding, {encoding}, can write the same text in several ways: save it as UTF-8"
        )
        raise SourceError(path, message)
    return Source(path, text, encoding, bom)


def _encoding(path: Path, data: bytes) -> str:
    """What PEP 263 says of `data`."""
    if b"coding" not in data[:512] and not data.startswith(_BOM):
        return "utf-8"  # the usual case, without importing `tokenize`
    import io
    import tokenize

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        raise SourceError(path, str(error.msg)) from error
    return "utf-8" if encoding == "utf-8-sig" else encoding


def reason(error: OSError) -> str:
    """What the system says went wrong, in plain words."""
    return (error.strerror or str(error)).lower()
