"""Comments that ask to leave a place alone, and do nothing: said, so that they can go."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.planning.suppressions import Suppression


@dataclass(frozen=True)
class Stale:
    """A comment in a file, and what is wrong with it."""

    path: Path
    line: int
    message: str


def stale(
    path: Path, comment: Suppression, used: Collection[str], known: Collection[str]
) -> Iterator[Stale]:
    """What is wrong with a comment that silences findings with the codes `used`."""
    codes = comment.codes or ()
    for code in codes:
        if code not in known:
            near = difflib.get_close_matches(code, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see: fsdp-migrate rules"
            yield Stale(path, comment.line, f"`ignore` names {code}, which is no code; {hint}")
    if not comment.is_closed:
        message = "`ignore-begin` has no `ignore-end`: the rest of the file is left as it is"
        yield Stale(path, comment.line, message)
    unused = [code for code in codes if code in known and code not in used]
    if comment.codes is None and not used:
        message = (
            "nothing in this statement needs `ignore`: remove it, or put it where it is needed"
        )
        yield Stale(path, comment.line, message)
    elif unused and (used or len(unused) == len(codes)):
        said = f"nothing here is reported as {' or '.join(unused)}: remove it from this `ignore`"
        yield Stale(path, comment.line, said)
    elif comment.codes == ():
        yield Stale(path, comment.line, "`ignore[]` names no code, so it does nothing")
