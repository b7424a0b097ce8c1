"""Run the old and the new program, and compare what they train."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fsdp_migrate.runtime.compare import Outcome, Tolerance, Verdict, compare, failed
from fsdp_migrate.runtime.compare.repeat import unrepeatable
from fsdp_migrate.runtime.record.blame import LIBRARY
from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.exercised import not_run, reached
from fsdp_migrate.runtime.verify.launch import Finished, Launch, Program, launch
from fsdp_migrate.runtime.verify.recording import NoRecording
from fsdp_migrate.runtime.verify.scratch import collect, snapshot

Say = Callable[[str], None]
_NOISE = re.compile(
    r"ChildFailedError|Connection (?:closed|reset) by peer|SIGTERM|elastic|Broken pipe|traceback : "
)
_GPU = re.compile(
    r"cuda|gpu|nccl|nvml|accelerator|triton|flash|xformers|apex|transformer_engine|bitsandbytes"
    r"|deepspeed|\.device\b",
    re.IGNORECASE,
)
_MISSING = re.compile(r"FileNotFoundError|No such file|not a git repository|NotADirectoryError")
_ERROR = re.compile(r"^(?:\[rank\d+\]:\s*)?((?:[\w.]+\.)?\w*(?:Error|Exception|Exit|Rehearse)\b.*)")


@dataclass(frozen=True)
class Proof:
    """A verdict and the recordings behind it."""

    verdict: Verdict
    old: Path
    new: Path


def prove(
    old: Program,
    new: Program,
    work: Path,
    how: Launch,
    tolerance: Tolerance | None = None,
    say: Say = lambda text: None,
    *,
    migrated: bool = False,
) -> Proof:
    """Run both programs, compare, and look closer at the first divergence if there is one.

    A divergence is no news of the migration if the old version does not repeat itself either.
    What was `migrated` has to have trained with FSDP1 before, and with FSDP2 after.
    Recordings, and the files below `{out}`, are left in the folder `work`.
    """
    tolerance = tolerance or Tolerance()
    if not tolerance.exact and how.keep is None:
        how = replace(how, keep=(0, 10**9))  # only values tell how close something is
    runs = _Runs(work, how, say)
    for which, program in (("old", old), ("new", new)):
        problem = runs.of(which, program)
        if problem is not None:
            return Proof(problem, runs.old, runs.new)
    verdict = compare(runs.old, runs.new, tolerance)
    if verdict.outcome is Outcome.DIFFERENT:
        verdict = _closer(verdict, old, new, runs, tolerance)
    if migrated and verdict.passed:
        wrong = not_run(recording.read(runs.old), recording.read(runs.new))
        verdict = failed(*wrong) if wrong else verdict
    if migrated and verdict.outcome is not Outcome.FAILED:
        words = reached(recording.read(runs.old), old)
        verdict = replace(verdict, notes=(*words, *verdict.notes))
    return Proof(verdict, runs.old, runs.new)


def _closer(
    verdict: Verdict, old: Program, new: Program, runs: _Runs, tolerance: Tolerance
) -> Verdict:
    """The verdict after a second run of the old version, and of the new one for its values."""
    first = verdict.differences[0]
    estimated = first.gap is not None and first.gap.estimated
    if estimated:
        step = first.step or 0
        runs.how = replace(runs.how, keep=(max(step - 1, 0), step + 1))
    problem = runs.of("old", old, "again")
    if problem is not None:
        return replace(verdict, notes=(*verdict.notes, *map(str, problem.differences)))
    verdict = compare(runs.old, runs.new, tolerance, runs.again)
    if verdict.outcome is not Outcome.DIFFERENT:
        return verdict
    exact = replace(tolerance, rtol=0.0, atol=0.0)
    control = compare(runs.old, runs.again, exact, runs.again)
    if control.first is not None:
        return unrepeatable(verdict, control.first)
    if not estimated:
        return verdict
    runs.swap()
    problem = runs.of("new", new)
    return problem if problem is not None else compare(runs.old, runs.new, tolerance, runs.again)


class _Runs:
    """Runs programs into folders of one folder."""

    def __init__(self, work: Path, how: Launch, say: Say) -> None:
        self.old, self.new, self.again = (work / name for name in ("old", "new", "again"))
        self.how = how
        self.say = say

    def of(self, which: str, program: Program, name: str = "") -> Verdict | None:
        """Run a version; a verdict if that failed."""
        out = self.old.with_name(name or which)
        _clear(out)
        self.say(f"running the {which} version {name}".rstrip() + f" on {self.how.nproc} ranks")
        before = snapshot(program.root or program.folder) if program.scratch else {}
        finished = launch(program, out, self.how)
        if finished.code or finished.timed_out:
            why = list(_why(which, finished, out, self.how))
            return failed(*why, *(_outside(why) if program.scratch else ()))
        if program.scratch:
            collect(program.root or program.folder, before, out)
        self.say(f"the {which} version took {finished.seconds:.1f} s")
        return None

    def swap(self) -> None:
        """Go on with the second run of the old version, which kept the values."""
        spare = self.old.with_name("spare")
        self.old.rename(spare)
        self.again.rename(self.old)
        spare.rename(self.again)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _why(which: str, finished: Finished, out: Path, how: Launch) -> Iterator[str]:
    """What went wrong in a run, most telling first."""
    if finished.timed_out:
        yield f"the {which} version was still running after {how.timeout:g} s"
        yield from _where(finished.output)
    telling = _telling_errors(finished, out)
    for error in telling[:3]:
        yield f"the {which} version failed: {error}"
    if telling and all("sys.exit(" in error for error in telling):
        yield from _last_words(finished.output)
    if any(map(_needs_gpu, telling)) and _rehearsed(out):
        yield (
            "this was a rehearsal on the CPU, where tensors say that they are there, and kernels "
            "and packages for GPUs do not work; --device cuda compares on GPUs"
        )
    if not telling and not finished.timed_out:
        signal = f" (signal {-finished.code})" if finished.code < 0 else ""
        yield f"the {which} version ended with exit code {finished.code}{signal}"
        yield from finished.output.splitlines()[-5:]
    yield from _progress(out)


def _outside(why: list[str]) -> Iterator[str]:
    """A hint, where a program may have missed what is not in its copy."""
    if any(_MISSING.search(line) for line in why):
        yield (
            "it ran in a copy of the project, without its .git: what lies beside the project is "
            "not there; --project names a folder that holds all of it, or give absolute paths"
        )


def _telling_errors(finished: Finished, out: Path) -> list[str]:
    """The errors of the ranks, without those that only follow from another rank's."""
    errors = _recorded_errors(out)
    if not errors and not finished.timed_out:
        errors = list(dict.fromkeys(_printed_errors(finished.output)))
    telling = [error for error in errors if not _NOISE.search(error)]
    return telling if telling or not errors else [*_lost(finished.output, out), *errors]


def _recorded_errors(out: Path) -> list[str]:
    """The errors of the ranks, the same one once."""
    ranks: dict[str, list[int]] = {}
    for number, rank in _ranks(out).items():
        if rank.end is not None and rank.end.error is not None:
            ranks.setdefault(rank.end.error, []).append(number)
    return [
        f"{f'rank {numbers[0]}' if len(numbers) == 1 else f'{len(numbers)} ranks'}: {error}"
        for error, numbers in ranks.items()
    ]


def _lost(output: str, out: Path) -> Iterator[str]:
    """The ranks that others miss: killed, or ended too early."""
    signals = ", ".join(sorted(set(re.findall(r"Signal \d+ \(\w+\) received", output))))
    for number, rank in _ranks(out).items():
        done = f"after {len(rank.steps)} optimizer steps"
        if rank.end is None:
            yield f"rank {number}: was killed or crashed {done} {f'({signals})' if signals else ''}"
        elif rank.end.error is None:
            yield f"rank {number}: had ended {done}, without an error"


def _needs_gpu(error: str) -> bool:
    """Whether an error may come from there being no GPU; the place tells it of an assertion."""
    message = error if "AssertionError" in error else re.sub(r" \([^()]+:\d+: .*\)$", "", error)
    return bool(_GPU.search(message)) and "cannot be rehearsed" not in error


def _rehearsed(out: Path) -> bool:
    return any(rank.header.device == "rehearsal" for rank in _ranks(out).values())


def _printed_errors(output: str) -> Iterator[str]:
    for line in output.splitlines():
        match = _ERROR.match(line)
        if match:
            yield match.group(1)


def _last_words(output: str) -> list[str]:
    """What a program said before it gave up: how it is to be called, for instance."""
    own = re.split(r"^.*torch/distributed/elastic", output, maxsplit=1, flags=re.MULTILINE)[0]
    return list(dict.fromkeys(line for line in own.splitlines() if line.strip()))[-3:]


def _progress(out: Path) -> Iterator[str]:
    """How far the ranks came; ranks that disagree explain a hang."""
    ranks = _ranks(out)
    if ranks:
        steps = [len(rank.steps) for rank in ranks.values()]
        far = f"{steps[0]}" if len(set(steps)) == 1 else ", ".join(map(str, steps))
        yield f"optimizer steps taken{' by each rank' if len(set(steps)) > 1 else ''}: {far}"


def _where(output: str) -> Iterator[str]:
    """The innermost lines of the program in the stacks that hanging ranks dump."""
    stacks = re.split(r"^(?:Timeout|Thread|Current thread) .*$", output, flags=re.MULTILINE)
    seen = set()
    for stack in stacks[1:]:
        for path, line, name in re.findall(r'File "([^"]+)", line (\d+) in (\S+)', stack):
            if not LIBRARY.search(path):
                seen.add(f"a rank hangs in {name}, {path}:{line}")
                break
    yield from sorted(seen)


def _ranks(out: Path) -> dict[int, recording.Rank]:
    try:
        return recording.read(out).ranks
    except NoRecording:
        return {}
