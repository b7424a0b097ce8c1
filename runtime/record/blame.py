"""What went wrong in a program, in one line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

# what other ranks say when one has failed
AFTERMATH = re.compile(
    r"Connection (closed|reset) by peer|Broken pipe|Connection was likely closed"
)
LINE = 100  # characters of a line of source

# files that are not the program's own
LIBRARY = re.compile(r"-packages[/\\]|[/\\]fsdp_migrate[/\\]runtime|[/\\]lib[/\\]python|^<")


def describe(error: BaseException | None) -> str | None:
    """An error and where the program caused it; None for a normal end."""
    if isinstance(error, SystemExit):
        if error.__context__ is not None and error.code:  # how torch.multiprocessing ends a child
            return describe(error.__context__)
        return f"sys.exit({error.code!r})" if error.code else None
    if error is None:
        return None
    return f"{type(error).__name__}: {error}".strip().removesuffix(":") + _place(error)


def _place(error: BaseException) -> str:
    """The innermost line of the program itself: an assertion may say nothing else."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not LIBRARY.search(frame.filename)]
    if not own:
        return ""
    line = (own[-1].line or "")[:LINE]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}: {line})"
