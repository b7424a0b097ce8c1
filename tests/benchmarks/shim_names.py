"""Which names each program takes from fsdp_migrate.runtime once it is migrated, and the reasons.

python tests/benchmarks/shim_names.py fixtures/programs/* fixtures/exam/* fixtures/gallery/*
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

from fsdp_migrate.engine import Migration, migrate
from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.syntax.source import read


def names_imported(texts: list[str]) -> list[str]:
    """The names that `texts` import from the runtime."""
    return [
        alias.name
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fsdp_migrate")
        for alias in node.names
    ]


def reasons(outcome: Migration) -> list[str]:
    """What the findings say about the names of the runtime that stay."""
    return [f"{f.code} {f.message}" for f in outcome.findings if f.tier is Tier.SHIM]


def main(folders: list[str]) -> None:
    """Print a program with its names and reasons, then the sums."""
    programs, without, names = 0, 0, Counter[str]()
    for folder in map(Path, folders):
        paths = sorted(folder.rglob("*.py"))
        if not paths:
            continue
        outcome = migrate([read(path) for path in paths], Options())
        found = sorted(set(names_imported(list(outcome.changes.values()))))
        programs += 1
        without += not found
        names.update(found)
        if found:
            print(f"{folder.parent.name}/{folder.name}: {', '.join(found)}")
            for reason in reasons(outcome) or ["no finding of the shim tier"]:
                print(f"    {reason}")
    share = without / max(programs, 1)
    print(f"{without} of {programs} programs take no name from the runtime: {share:.1%}")
    for name, number in names.most_common():
        print(f"    {name} in {number}: {number / programs:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
