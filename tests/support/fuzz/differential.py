"""Train a made-up program before and after its migration, and judge what came out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.runtime.compare import Tolerance
from fsdp_migrate.runtime.verify.recording import read
from support.fuzz.judgement import Costs, unsaid
from support.fuzz.programs import Made
from support.programs import Run, migrate
from support.training import record, train_identically

CLOSE = Tolerance(rtol=1e-5, atol=1e-7)


class Judgement(Enum):
    """What the migration of a program was."""

    SAME = "trains identically"
    SAID = "trains otherwise, and the report says so"
    REFUSED = "left as it was, and the report says why"
    VOID = "the original doesn't run"
    SILENT = "trains otherwise, and the report is silent"


@dataclass(frozen=True)
class Judged:
    """A program, its migration and the judgement."""

    made: Made
    run: Run
    judgement: Judgement
    why: str = ""


def judge(made: Made) -> Judged:
    """Migrate `made` and, if that changed it, train both versions."""
    run = migrate(made.files)
    if not run.changed:
        told = any(item.tier is Tier.MANUAL for item in run.findings)
        return Judged(made, run, Judgement.REFUSED if told else Judgement.SILENT, "unchanged")
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        for folder, files in ((old, run.before), (new, run.after)):
            folder.mkdir()
            for name, text in files.items():
                (folder / name).write_text(text)
        before, problem = record(old, "train.py", ["{out}"])
        if problem:
            return Judged(made, run, Judgement.VOID, problem)
        after, problem = record(new, "train.py", ["{out}"])
        verdict = train_identically(old, new, "train.py", ["{out}"], tolerance=CLOSE)
        costs = Costs.of(read(before), read(after)) if not problem else None
    more = costs.unsaid(made.drawn) if costs is not None else ""
    if verdict.passed:
        return Judged(made, run, Judgement.SILENT if more else Judgement.SAME, more)
    missing = more or unsaid(made.drawn, run, verdict, costs)
    told = Judgement.SILENT if missing else Judgement.SAID
    return Judged(
        made, run, told, f"nothing is said of: {missing}\n{verdict}" if missing else str(verdict)
    )
