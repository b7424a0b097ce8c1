"""Seals of files that are copied into the user's tree: by them a change is seen later."""

from __future__ import annotations

import hashlib
import re

from fsdp_migrate.planning.suppressions import IGNORE_FILE

_HEAD = f"# {IGNORE_FILE}\n# copied by fsdp-migrate; sha256 of the lines below: "
_SEAL = re.compile(re.escape(_HEAD) + r"([0-9a-f]{64})\n")


def sealed(text: str) -> str:
    """`text` below a comment that says where it is from, and by which a change is seen."""
    return f"{_HEAD}{_digest(text)}\n{text}"


def is_sealed(text: str) -> bool:
    """Whether a file came from here."""
    return _SEAL.match(text) is not None


def is_unchanged(text: str) -> bool:
    """Whether a file came from here and is as it was, so that it can be written anew."""
    seal = _SEAL.match(text)
    return seal is not None and seal[1] == _digest(text[seal.end() :])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
