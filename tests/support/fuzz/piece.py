"""One way in which people write one thing, as lines for the places of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Piece:
    """Lines for the places of a program.

    `top` stands among the functions, `before` in `main` ahead of the wrap, `after` behind it, and
    `body` is what this piece is about.  `files` are further modules.  A piece that is `flat` also
    works where FSDP1 makes flat parameters (`use_orig_params=False`).
    """

    body: str = ""
    top: str = ""
    before: str = ""
    after: str = ""
    flat: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
