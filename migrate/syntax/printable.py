"""Text of the user's tree made fit for a terminal: what it holds is shown, never obeyed."""

from __future__ import annotations

import unicodedata

_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, formats, lone surrogates, ends


def printable(text: str) -> str:
    """`text` on one line, each character that steers a terminal written as an escape.

    File names and strings of a program can hold any of them: one can clear the screen, set the
    title of the window, turn around the order of what is read, or start a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(char) if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _NOT_SHOWN


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no text
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
