"""One run of the command: look, migrate, print or write, and say by an exit code how it went."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fsdp_migrate.cli import baseline
from fsdp_migrate.cli.answer import (
    DONE,
    FAILED,
    INTERRUPTED,
    exit_code,
    print_answer,
    say,
    write_page,
)
from fsdp_migrate.cli.interrupts import Interrupted, Interrupts
from fsdp_migrate.cli.other_files import configure
from fsdp_migrate.cli.request import Request, Result
from fsdp_migrate.discovery.discover import (
    Discovered,
    context_of,
    discover,
    uses_fsdp1,
    uses_fsdp2,
)
from fsdp_migrate.discovery.tree import File
from fsdp_migrate.findings.options import Options
from fsdp_migrate.frameworks.outside import is_other
from fsdp_migrate.syntax.printable import printable
from fsdp_migrate.syntax.source import Source, SourceError, decode

if TYPE_CHECKING:
    from fsdp_migrate.cli.staging import Staged

_SHOWN = 5  # files by name, where it has to be short
_FOR_IMPORTS = "looked at for its imports only; nothing is changed in it"


def run(request: Request, interrupts: Interrupts) -> int:
    """Do what is asked for and return the exit code."""
    written: list[Path] = []
    try:
        with interrupts.raised():
            if request.piped:
                return _filter(request)
            return _migrate(request, written, interrupts)
    except KeyboardInterrupt as error:
        code = error.code if isinstance(error, Interrupted) else INTERRUPTED
        message = "interrupted"
    except SourceError as error:
        code, message = FAILED, f"error: {error}"
    except OSError:
        raise  # no file of the user's, but where this prints to: the command line's business
    except Exception:
        code, message = FAILED, f"this is a bug of fsdp-migrate:\n{traceback.format_exc()}"
    say(f"{message}; {_changed(written)}, and no file is damaged")
    return code


def _changed(written: list[Path]) -> str:
    if not written:
        return "no file was changed"
    if len(written) <= _SHOWN:
        return f"changed: {', '.join(printable(str(path)) for path in written)}"
    return f"{len(written):,} files were changed"


def show_files(request: Request) -> None:
    """Print the files that a run is about: those that may change, and those that are listed."""
    found = _discover(request)
    files = {file.path for file in (*found.candidates, *found.linked, *found.configs)}
    for path in sorted(files):
        click.echo(printable(str(path)))


def _discover(request: Request) -> Discovered:
    return discover(
        request.paths or (".",),
        exclude=request.exclude,
        excluded_below=request.excluded_below,
        respect_gitignore=not request.no_respect_gitignore,
    )


def _migrate(request: Request, written: list[Path], interrupts: Interrupts) -> int:
    found = _discover(request)
    errors, warnings = list(found.unreadable), list(found.outside)
    result = Result(found, errors=errors, warnings=warnings, written=written)
    _analyse(result, request.options)
    _keep_inside(result, request)
    configure(result, request)
    if request.write_baseline:
        count = baseline.write(Path(request.write_baseline), result)
        say(f"wrote {count:,} findings to {request.write_baseline}")
        return FAILED if result.errors else DONE
    if request.interactive and result.changes:
        from fsdp_migrate.cli.interactive import choose

        result.wanted = choose(result)
    if request.write:
        _write(result, interrupts)
    elif request.baseline and not request.diff:
        result.known = baseline.subtract(Path(request.baseline), result)
    if request.page:
        write_page(result, request, request.page)
    print_answer(result, request)
    return exit_code(result)


def _filter(request: Request) -> int:
    """From standard input to standard output."""
    data = sys.stdin.buffer.read()
    path = Path(request.stdin_filename or "<stdin>")
    file = File(path, data)
    context = context_of(path, data) if request.stdin_filename else ()
    relevant = any(uses_fsdp1(each.data) for each in (file, *context))
    found = Discovered((file,) if relevant else (), (), context, (), 1, int(uses_fsdp2(data)))
    if is_other(path.name):
        found = Discovered(configs=(file,))
    result = Result(found)
    printed = data  # whatever goes wrong, what came in goes out
    try:
        _analyse(result, request.options)
        configure(result, request)
        if path in result.changes:
            printed = result.source(path).encode(result.changes[path])
            result.written.extend([] if request.pending else [path])
    finally:
        if not request.pending:
            click.echo(printed, nl=False)
    print_answer(result, request)
    return exit_code(result)


def _analyse(result: Result, options: Options) -> None:
    """Ask the engine, if there is anything to ask."""
    found = result.found
    if not found.candidates and not found.linked:
        return
    from fsdp_migrate import engine

    candidates = _decoded(found.candidates, result.errors)
    linked = _decoded(found.linked, result.warnings)
    context = _decoded(found.context, [])
    result.sources = {source.path: source for source in (*candidates, *linked)}
    migration = engine.migrate([*candidates, *linked], options, context)
    result.findings, result.silenced = migration.findings, migration.silenced
    result.ruled_out = migration.ruled_out
    result.changes = {
        path: text for path, text in migration.changes.items() if text != result.source(path).text
    }
    result.warnings += [SourceError(each.path, each.message) for each in migration.remarks]
    beside = {file.path for file in (*found.linked, *found.context)}
    for failure in migration.errors:
        if failure.path in beside and not failure.for_all:
            message = f"{failure.message} ({_FOR_IMPORTS})"
            result.warnings.append(SourceError(failure.path, message))
        else:
            result.errors.append(SourceError(failure.path, failure.message))


def _keep_inside(result: Result, request: Request) -> None:
    """Nothing is written outside of the folders that were given, and of those of given files."""
    given = [path if path.is_dir() else path.parent for path in map(Path, request.paths or (".",))]
    folders = [folder.resolve() for folder in given]
    known = {file.path for file in (*result.found.candidates, *result.found.linked)}
    for path in sorted(result.changes.keys() - known):
        if not any(path.resolve().is_relative_to(folder) for folder in folders):
            message = "is where the copy of the runtime has to be, outside of what was given; "
            message += "give a folder that has it in it, or use --runtime import"
            result.errors.append(SourceError(path.parent, message))
            result.changes = {}
            return


def _decoded(files: Iterable[File], errors: list[SourceError]) -> list[Source]:
    """The sources of `files`; those that have none are put on record in `errors`."""
    sources = []
    for file in files:
        try:
            sources.append(decode(file.path, file.data))
        except SourceError as error:
            errors.append(error)
    return sources


def _write(result: Result, interrupts: Interrupts) -> None:
    """Replace the files that change: when all of them are ready, or none.

    A signal ends this before the first of them is replaced or after the last.
    """
    from fsdp_migrate.cli.staging import stage, sweep  # most runs write nothing
    from fsdp_migrate.cli.working_tree import working_tree

    wanted = result.changes.keys() if result.wanted is None else result.wanted
    tree = working_tree(sorted(wanted))
    if tree is not None and tree.dirty:
        files = ", ".join(map(str, tree.dirty[:_SHOWN])) + ", ..." * (len(tree.dirty) > _SHOWN)
        message = f"{files}: changed and not committed, so git can't tell those changes from these"
        say(f"warning: {printable(message)}")
    found = result.found
    looked_at = (*found.candidates, *found.linked, *found.configs)
    sweep({path.parent for path in (*result.changes, *(file.path for file in looked_at))})
    staged: list[Staged] = []
    try:
        for path in sorted(wanted):
            with interrupts.held():
                staged.append(stage(result.source(path), result.changes[path]))
        with interrupts.held():
            _commit(staged, result.written)
        result.undo = tree.undo(result.written) if tree is not None else None
    except SourceError as error:
        result.errors.append(error)
    finally:
        with interrupts.held():
            for each in staged[len(result.written) :]:
                each.discard()


def _commit(staged: list[Staged], written: list[Path]) -> None:
    for each in staged:
        each.check()
    for each in staged:
        each.commit()
        written.append(each.path)
