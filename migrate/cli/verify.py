"""`fsdp-migrate verify` and `fsdp-migrate compare`: prove that two versions train identically.

Exit codes: 0 identical (or as close as was asked for), 1 different, 2 could not run.
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fsdp_migrate.cli.project_copy import Migrated
from fsdp_migrate.cli.two_versions import FAILED, CannotVerify, Sides, Wanted, prepare

if TYPE_CHECKING:
    from fsdp_migrate.runtime.compare import Tolerance, Verdict
    from fsdp_migrate.runtime.verify.launch import Launch

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
IDENTICAL, DIFFERENT = 0, 1  # and FAILED
# what the migration may be asked for, by option
CHOICES = {
    "runtime": ("import", "vendor", "never"),
    "state-dict": ("dcp", "dtensor"),
    "style": ("native", "shim"),
}
SUSPECTS = 8  # sites that are named for a divergence
Command = TypeVar("Command", bound=Callable[..., Any])


class Proving(click.Command):
    """A command that never says "different" where it has failed itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; whatever it doesn't expect ends it with the code for "could not run"."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            raise CannotVerify(str(error)) from error
        except Exception as error:
            bug = traceback.format_exc()
            raise CannotVerify(f"nothing is proven, by a bug of fsdp-migrate:\n{bug}") from error


def _migration(command: Command) -> Command:
    """The options of the migration that change what it writes."""
    for name, values in CHOICES.items():
        option = click.option(
            f"--{name}", type=click.Choice(values), help=f"The migration's --{name}."
        )
        command = option(command)
    exclude = click.option(
        "--exclude", multiple=True, metavar="GLOB", help="The migration's.  Can be repeated."
    )
    incomplete = click.option("--allow-incomplete", is_flag=True, help="The migration's.")
    return incomplete(exclude(command))


def _migration_options(chosen: dict[str, Any]) -> tuple[str, ...]:
    words = []
    for name in CHOICES:
        value = chosen[name.replace("-", "_")]
        words += [f"--{name}", value] if value is not None else []
    words += [word for pattern in chosen["exclude"] for word in ("--exclude", pattern)]
    words += ["--allow-incomplete"] if chosen["allow_incomplete"] else []
    if words and chosen["new"] is not None:
        raise CannotVerify(f"--new is not migrated: {words[0]} has no meaning with it")
    return tuple(words)


_COMPARISON = (
    click.option("--rtol", default=0.0, metavar="X", help="Relative tolerance; 0 means bits."),
    click.option("--atol", default=0.0, metavar="X", help="Absolute tolerance; 0 means bits."),
    click.option(
        "--collectives",
        type=click.Choice(["same", "bytes", "skip"]),
        default="same",
        show_default=True,
        help="Compare number and bytes of collectives, only the bytes, or neither.",
    ),
    click.option("--no-files", is_flag=True, help="Don't compare files that were written."),
    click.option("--no-stdout", is_flag=True, help="Don't compare what is printed."),
    click.option(
        "--ignore-line",
        multiple=True,
        metavar="REGEX",
        help="Don't compare printed lines that match.  Can be repeated.",
    ),
    click.option(
        "--ignore-file",
        multiple=True,
        metavar="GLOB",
        help="Don't compare files that match.  Can be repeated.",
    ),
    click.option(
        "--max-slowdown",
        type=float,
        metavar="X",
        help="How much longer a step may take; 0.1 is a tenth.  Default: any.",
    ),
    click.option(
        "--max-memory-growth",
        type=float,
        metavar="X",
        help="How much higher the peak of memory may be, on GPUs.  Default: any.",
    ),
    click.option(
        "--report",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.html",
        help="Write a report: one HTML file that needs nothing else.",
    ),
)


def _comparison(command: Command) -> Command:
    """The options of how to compare."""
    for option in reversed(_COMPARISON):
        command = option(command)
    return command


@click.command(cls=Proving, context_settings=CONTEXT)
@click.argument("old", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_comparison
@click.pass_context
def compare(ctx: click.Context, /, old: Path, new: Path, **chosen: Any) -> None:
    """Compare two recordings, made by `python -m fsdp_migrate.runtime.record`.

    OLD and NEW are the folders given to its --out.
    """
    _need_torch()
    from fsdp_migrate.runtime import compare as comparing

    verdict = comparing.compare(old, new, _tolerance(chosen))
    _say(verdict)
    if chosen["report"] is not None:
        _report(chosen["report"], verdict, (old, new))
    ctx.exit(_exit_code(verdict))


@click.command(cls=Proving, context_settings=CONTEXT)
@click.argument("target", metavar="(SCRIPT | MODULE)")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="-- [ARGS]...")
@click.option("-m", "--module", is_flag=True, help="The target is a module, run with -m.")
@click.option("--nproc", default=2, show_default=True, metavar="N", help="Number of ranks.")
@click.option(
    "--new",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="The new version, a folder or a script.  Default: the migrated project.",
)
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="What to copy and to migrate.  Default: the current folder.",
)
@click.option(
    "--timeout", default=600.0, show_default=True, metavar="SECONDS", help="For each version."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="cpu rehearses a CUDA program on CPU and gloo; auto does so where there is no GPU.",
)
@click.option("--gpus", metavar="N", type=int, help="Devices that a rehearsed program sees.")
@click.option(
    "--deterministic-reductions/--native-reductions",
    default=None,
    help="Sum over ranks in rank order.  Default: on more than two ranks.",
)
@click.option(
    "--launcher",
    type=click.Choice(["torchrun", "python"]),
    default="torchrun",
    show_default=True,
    help="torchrun is torch.distributed.run; python is for programs that spawn their ranks.",
)
@click.option(
    "--keep-tensors",
    metavar="STEPS",
    help="Record whole tensors of these steps: 7, 3-9 or all.  Default: around the divergence.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep both versions and their recordings there.",
)
@_migration
@_comparison
@click.pass_context
def verify(ctx: click.Context, /, **chosen: Any) -> None:
    """Prove that a program trains identically before and after the migration.

    A copy of the project is migrated (or --new is taken), both versions are run under torchrun,
    and everything that they train is compared bit by bit.  {out} in ARGS is a fresh folder for
    each version, whose files are compared too; so are files written into the project.
    """
    _need_torch()
    _need_gpu(chosen["device"])
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # cleans up
    keep: Path | None = chosen["keep"]
    work = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="fsdp-migrate-"))
    try:
        ctx.exit(_verify(work, chosen))
    finally:
        if keep is None:
            shutil.rmtree(work, ignore_errors=True)


def _verify(work: Path, chosen: dict[str, Any]) -> int:
    from fsdp_migrate.runtime.verify.proof import prove

    wanted = Wanted(
        target=chosen["target"],
        module=chosen["module"],
        arguments=chosen["args"],
        project=chosen["project"],
        new=chosen["new"],
        options=_migration_options(chosen),
    )
    sides = prepare(work, wanted)
    proof = prove(
        sides.old,
        sides.new,
        work / "recordings",
        _launch(chosen, sides.project),
        _tolerance(chosen),
        say=lambda text: click.echo(text, err=True),
        migrated=sides.migrated is not None,
    )
    _say(proof.verdict)
    for site in _announced(sides.migrated, proof.verdict):
        click.echo(f"  announced by the migration: {site}")
    for site in _suspects(sides.migrated, proof.verdict):
        click.echo(f"  migrated there: {site}")
    if chosen["report"] is not None:
        _report(chosen["report"], proof.verdict, (proof.old, proof.new), sides)
    if chosen["keep"] is not None:
        click.echo(f"kept: {work}", err=True)
    return _exit_code(proof.verdict)


def _suspects(migrated: Migrated | None, verdict: Verdict) -> list[str]:
    """The sites that the likely cause points to."""
    if migrated is None or verdict.cause is None:
        return []
    codes = verdict.cause.codes
    return [_site(found) for found in migrated.findings if found["code"] in codes][:SUSPECTS]


def _announced(migrated: Migrated | None, verdict: Verdict) -> list[str]:
    """The sites of which the migration has said that they can train otherwise."""
    if migrated is None or verdict.first is None or verdict.outcome.value != "different":
        return []
    told = [found for found in migrated.findings if found.get("safety") == "unsafe"]
    return [_site(found) for found in told][:SUSPECTS]


def _site(finding: dict[str, Any]) -> str:
    return f"{finding['path']}:{finding['line']} {finding['code']} {finding['message']}"


def _launch(chosen: dict[str, Any], project: Path) -> Launch:
    from fsdp_migrate.runtime.record.settings import steps
    from fsdp_migrate.runtime.verify.launch import Launch

    kept = chosen["keep_tensors"]
    try:
        keep = steps(kept) if kept else None
    except ValueError as error:
        raise CannotVerify(f"--keep-tensors {kept}: give 7, 3-9 or all") from error
    return Launch(
        nproc=chosen["nproc"],
        timeout=chosen["timeout"],
        keep=keep,
        device=chosen["device"],
        deterministic=chosen["deterministic_reductions"],
        gpus=chosen["gpus"],
        launcher=chosen["launcher"],
        forbidden=project,
    )


def _tolerance(chosen: dict[str, Any]) -> Tolerance:
    from fsdp_migrate.runtime.compare import Tolerance

    for pattern in chosen["ignore_line"]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise CannotVerify(f"--ignore-line {pattern}: {error}") from error
    return Tolerance(
        rtol=chosen["rtol"],
        atol=chosen["atol"],
        collectives=chosen["collectives"],
        files=not chosen["no_files"],
        stdout=not chosen["no_stdout"],
        ignore_lines=chosen["ignore_line"],
        ignore_files=chosen["ignore_file"],
        slowdown=chosen["max_slowdown"],
        memory_growth=chosen["max_memory_growth"],
    )


def _say(verdict: Verdict) -> None:
    """Print a verdict, its first line in the colour of the outcome where there are colours."""
    from fsdp_migrate.runtime.compare import Outcome

    colours = {Outcome.IDENTICAL: "green", Outcome.CLOSE: "yellow"}
    first, *rest = str(verdict).splitlines()
    click.secho(first, fg=colours.get(verdict.outcome, "red"), bold=True)
    for line in rest:
        click.echo(line)


def _exit_code(verdict: Verdict) -> int:
    from fsdp_migrate.runtime.compare import Outcome

    return {Outcome.DIFFERENT: DIFFERENT, Outcome.FAILED: FAILED}.get(verdict.outcome, IDENTICAL)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CannotVerify(
            "torch is not installed here: pip install 'fsdp-migrate[verify]'"
        ) from error


def _need_gpu(device: str) -> None:
    """Say at once what every rank would say."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise CannotVerify("--device cuda: this machine has no CUDA device")


def _report(
    path: Path,
    verdict: Verdict,
    recordings: tuple[Path, Path],
    sides: Sides | None = None,
) -> None:
    from fsdp_migrate.runtime import report

    changes: tuple[report.FileChange, ...] = ()
    if sides is not None and sides.migrated is not None:
        old, new = (side.root or side.folder for side in (sides.old, sides.new))
        changes = report.changes(old, new, sides.migrated.findings, sides.migrated.changes)
    report.write(path, verdict, *recordings, changes)
    click.echo(f"report: {path}", err=True)
