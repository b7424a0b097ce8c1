"""How long it takes to look through big trees: python tests/benchmarks/bench_discovery.py [PATH]...

By default, through the packages that are installed beside this one.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ratios import best, show

from fsdp_migrate.discovery import discover as module

NOWHERE = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__"})


def python_files(paths: Sequence[str]) -> Iterator[str]:
    """The files as the plainest of walks finds them."""
    for path in paths:
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(set(folders) - NOWHERE)
            yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def read_all(paths: Sequence[str]) -> int:
    """Read every file and do nothing with it."""
    return sum(len(Path(path).read_bytes()) for path in python_files(paths))


def parse_all(paths: Sequence[str], every: int) -> None:
    """Parse one file of `every` as a tool without a look at the bytes has to do with all."""
    for path in list(python_files(paths))[::every]:
        with suppress(SyntaxError, ValueError):
            ast.parse(Path(path).read_bytes())


def main(paths: Sequence[str], every: int = 20) -> None:
    """Compare looking for candidates, with and without their links, with reading and parsing."""
    warnings.simplefilter("ignore")
    lines = sum(Path(path).read_bytes().count(b"\n") for path in python_files(paths))
    found = module.discover(paths)
    title = (
        f"Discovery in {lines:,} lines of {found.seen:,} files: "
        f"{len(found.candidates)} candidates, {len(found.linked)} linked"
    )
    uses_fsdp1 = module.uses_fsdp1

    def without_links() -> None:
        module.uses_fsdp1 = lambda data: uses_fsdp1(data) and False
        try:
            module.discover(paths)
        finally:
            module.uses_fsdp1 = uses_fsdp1

    times = best(
        {
            "discover, as if there were no candidate": without_links,
            "discover": lambda: module.discover(paths),
            "parse all with ast": lambda: parse_all(paths, every),
            "read all": lambda: read_all(paths),
        },
        rounds=3,
    )
    times["parse all with ast"] *= every
    show(title, times)


if __name__ == "__main__":
    main(sys.argv[1:] or [sysconfig.get_paths()["purelib"]])
