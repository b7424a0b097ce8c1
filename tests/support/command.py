"""Run the command line in this process, with an engine whose answers are simple to foresee."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from fsdp_migrate.cli.main import cli
from fsdp_migrate.engine import Failure, Migration
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.syntax.source import Source

OLD = "from torch.distributed.fsdp import FullyShardedDataParallel\n"
NEW = "from torch.distributed.fsdp import fully_shard\n"


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    code: int
    out: str
    err: str
    out_bytes: bytes


def command(*args: str | Path, stdin: str | bytes | None = None) -> Ran:
    """Run `fsdp-migrate` with `args`."""
    result = CliRunner().invoke(cli, list(map(str, args)), input=stdin, prog_name="fsdp-migrate")
    return Ran(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)


class Engine:
    """In the place of the engine: renames the class, and knows four words in comments.

    `MANUAL`, `SHIM` and `NOTE` make findings of that tier; `BROKEN` cannot be parsed.
    """

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.context: list[str] = []
        self.options: Options | None = None

    def __call__(
        self, sources: Sequence[Source], options: Options, context: Sequence[Source] = ()
    ) -> Migration:
        self.sources = [source.path.as_posix() for source in sources]
        self.context = [source.path.as_posix() for source in context]
        self.options = options
        findings: list[Finding] = []
        changes: dict[Path, str] = {}
        errors: list[Failure] = []
        for source in sources:
            if "BROKEN" in source.text:
                errors.append(Failure(source.path, "1:1 cannot be parsed: invalid syntax"))
                continue
            found = list(_findings(source))
            findings += found
            if any(finding.tier in (Tier.NATIVE, Tier.SHIM) for finding in found):
                changes[source.path] = source.text.replace(
                    "FullyShardedDataParallel", "fully_shard"
                )
        return Migration(tuple(findings), changes, tuple(errors))


def _findings(source: Source) -> list[Finding]:
    tiers = {"FullyShardedDataParallel": Tier.NATIVE} | {
        tier.name: tier for tier in (Tier.MANUAL, Tier.SHIM, Tier.NOTE)
    }
    return [
        Finding(source.path, number, match.start() + 1, "FSDP101", f"a {match[0]}", tiers[match[0]])
        for number, line in enumerate(source.text.split("\n"), 1)
        for match in re.finditer("|".join(tiers), line)
    ]
