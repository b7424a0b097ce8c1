"""The share of sites that come out native, through the shim and manual, over whole programs.

python tests/benchmarks/tiers.py fixtures/programs/* fixtures/exam/* ../shared/exam/visible/*
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from fsdp_migrate.engine import migrate
from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.syntax.source import read


def main(folders: list[str]) -> None:
    """Print a line a program, then the sums by rule and in all."""
    total: Counter[Tier] = Counter()
    rules: dict[Tier, Counter[str]] = {tier: Counter() for tier in Tier}
    for folder in map(Path, folders):
        if not folder.is_dir():
            continue
        outcome = migrate([read(p) for p in sorted(folder.rglob("*.py"))], Options())
        tiers = Counter(finding.tier for finding in outcome.findings)
        for finding in outcome.findings:
            rules[finding.tier][finding.code] += 1
        total += tiers
        words = "  ".join(f"{tier.value} {tiers[tier]:3}" for tier in Tier)
        print(f"{folder.name:36} {words}" + "  ERRORS" * bool(outcome.errors))
    sites = sum(total[tier] for tier in (Tier.NATIVE, Tier.SHIM, Tier.MANUAL))
    for tier in (Tier.NATIVE, Tier.SHIM, Tier.MANUAL):
        share = total[tier] / max(sites, 1)
        codes = ", ".join(f"{code} {n}" for code, n in rules[tier].most_common())
        print(f"{tier.value:7} {total[tier]:4} of {sites}: {share:6.1%}   {codes}")


if __name__ == "__main__":
    main(sys.argv[1:])
