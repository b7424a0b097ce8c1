"""Comments by which a file, or a line of it, asks to be left alone."""

from __future__ import annotations

import re

IGNORE_FILE = "fsdp-migrate: ignore-file"
_FILE = re.compile(rf"^\s*#\s*{re.escape(IGNORE_FILE)}\s*$", re.MULTILINE)
_LINE = re.compile(r"#\s*fsdp-migrate:\s*ignore(?:\[([^\]]*)\])?([^#]*)")


def ignores_file(text: str) -> bool:
    """Whether a comment, on a line of its own, asks to leave the whole file as it is."""
    return IGNORE_FILE in text and _FILE.search(text) is not None


def ignores_line(line: str, code: str) -> bool:
    """Whether a line ends in `# fsdp-migrate: ignore`, alone or with `code` in brackets."""
    found = _LINE.search(line)
    return found is not None and (found[1] is None or code in _codes(found[1]))


def takes_over(line: str, code: str) -> bool:
    """Whether such a comment names `code` and says why: the place is its author's business then."""
    found = _LINE.search(line)
    return found is not None and code in _codes(found[1] or "") and bool(found[2].strip(" \t-:,."))


def _codes(listed: str) -> set[str]:
    return {each.strip() for each in listed.split(",")}
