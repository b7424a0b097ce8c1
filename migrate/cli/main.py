"""The command line: what can be said to it.  What it then does is in modules loaded when needed."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from fsdp_migrate import __version__
from fsdp_migrate.cli.interrupts import Interrupts

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# name -> (where the command is, what it does)
SUBCOMMANDS = {
    "compare": ("fsdp_migrate.cli.verify:compare", "Compare two recordings."),
    "explain": ("fsdp_migrate.cli.explain:explain", "Say what a rule does and why."),
    "rules": ("fsdp_migrate.cli.explain:rules", "List the rules."),
    "verify": (
        "fsdp_migrate.cli.verify:verify",
        "Prove that the migrated program trains identically.",
    ),
}


class Commands(click.Group):
    """The subcommands; anything else that is said is said to `default`."""

    def __init__(self, default: click.Command) -> None:
        super().__init__(name=default.name, context_settings=CONTEXT)
        self.default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the subcommands, none of which is loaded for it."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, loaded now."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, _, name = SUBCOMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of a subcommand if `args` start with its name, else of the default."""
        if args and args[0] in SUBCOMMANDS:
            return super().make_context(info_name, args, parent, **extra)
        first = args[0] if args else ""
        try:
            return self.default.make_context(info_name, args, parent, **extra)
        except click.BadParameter as error:
            near = _nearest_command(first)
            if near is None:
                raise
            message = f"{error.message} Did you mean the command {near}?"
            raise click.BadParameter(message, error.ctx, error.param) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run what the context is of."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def _nearest_command(word: str) -> str | None:
    """The command that a word is nearly the name of, if there is no such path."""
    if not word or word.startswith("-") or os.path.lexists(word):
        return None
    import difflib  # which few runs have a use for

    return next(iter(difflib.get_close_matches(word.lower(), SUBCOMMANDS)), None)


class DefaultCommand(click.Command):
    """The default command; its help also lists the others."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in SUBCOMMANDS.items()])
        super().format_epilog(ctx, formatter)


def _paths_and_commands(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell may complete a path to: the first one can be a command."""
    names = [] if ctx.params.get("paths") else [n for n in SUBCOMMANDS if n.startswith(incomplete)]
    commands = [CompletionItem(name, help=SUBCOMMANDS[name][1]) for name in names]
    return [*commands, CompletionItem(incomplete, type="file")]


@click.command(
    cls=DefaultCommand,
    context_settings=CONTEXT,
    epilog="A path that is called like a command is written ./NAME.",
)
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(exists=True, allow_dash=True),
    shell_complete=_paths_and_commands,
)
@click.option("--diff", is_flag=True, help="Print the changes as a diff; findings go to stderr.")
@click.option("--write", is_flag=True, help="Make the changes.")
@click.option("--interactive", is_flag=True, help="Ask before each part of the changes is made.")
@click.option("--check", is_flag=True, help="Only report, without advice; for CI.")
@click.option(
    "--runtime",
    type=click.Choice(["import", "vendor", "never"]),
    default="import",
    show_default=True,
    help="Where values are known only at run time: import fsdp_migrate.runtime, write what is "
    "needed of it into the tree, or leave the place to you.",
)
@click.option(
    "--state-dict",
    type=click.Choice(["dcp", "dtensor"]),
    default="dcp",
    show_default=True,
    help="How a model's state dicts are written: by the functions of torch.distributed.checkpoint, "
    "or by full_tensor() and distribute_tensor().",
)
@click.option(
    "--style",
    type=click.Choice(["native", "shim"]),
    default="native",
    show_default=True,
    help="What becomes of a constructor call with values that are known only at run time: plain "
    "FSDP2 but for these values, or FSDP1's call as it is, carried out by fsdp_migrate.runtime.",
)
@click.option("--mark", is_flag=True, help="Put a TODO comment above what is left to you.")
@click.option(
    "--allow-incomplete",
    is_flag=True,
    help="Migrate also what depends on places that are left to you; these raise "
    "NotImplementedError until they are changed.",
)
@click.option(
    "--safe-only",
    is_flag=True,
    help="Leave what can change the outcome of a run ([unsafe]), and what depends on it.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out what matches, written as in .gitignore.  Can be repeated.",
)
@click.option(
    "--select",
    multiple=True,
    metavar="CODES",
    help="Only what is reported by these rules: codes, how they begin (FSDP3), or names.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="CODES",
    help="Leave what is reported by these rules, and what depends on it, as it is.",
)
@click.option(
    "--baseline",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Report only what is not in this file.",
)
@click.option(
    "--write-baseline",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write what is found to this file, for --baseline.",
)
@click.option("--no-respect-gitignore", is_flag=True, help="Look at ignored files too.")
@click.option(
    "--stdin-filename",
    type=click.Path(dir_okay=False),
    metavar="PATH",
    help="What to take standard input for: its name in findings, its place for imports.",
)
@click.option(
    "--output-format",
    type=click.Choice(["text", "full", "concise", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How findings are printed: text is full on a terminal, with the lines that they are "
    "about, and concise elsewhere, a line each.",
)
@click.option("--isolated", is_flag=True, help="Don't read pyproject.toml.")
@click.option("--show-settings", is_flag=True, help="Print the settings, and do nothing else.")
@click.option("--show-files", is_flag=True, help="Print the files that a run is about.")
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write a page for a review: what is left to do, and each hunk with the rule behind it.  "
    "FILE ends in .html or .md.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print findings and errors, nothing else.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def migration(ctx: click.Context, /, **chosen: Any) -> None:
    """Move PyTorch training code from FSDP1 (FullyShardedDataParallel) to FSDP2 (fully_shard).

    PATHS are files and folders, by default the current folder.  Give the whole project: what
    a file becomes depends on the others.  Without --write nothing is changed.  A dash reads
    standard input and prints what it becomes; with --output-format json, the report.
    """
    from fsdp_migrate.cli import configuration

    said = frozenset(name for name in chosen if _is_said(ctx, name))
    isolated, show_settings = chosen["isolated"], chosen.pop("show_settings")
    places = chosen["paths"] if "-" not in chosen["paths"] else _place(chosen["stdin_filename"])
    found = configuration.Configuration() if isolated else configuration.find(places)
    chosen = configuration.merged(chosen, said, found)
    _check(chosen)
    chosen["write"] = chosen["write"] or chosen["interactive"]
    if show_settings:
        click.echo(configuration.shown(chosen, said, found))
        return
    from fsdp_migrate.cli.migrate import run, show_files
    from fsdp_migrate.cli.request import Request
    from fsdp_migrate.cli.selection import prefixes

    for name in ("select", "ignore"):
        chosen[name] = prefixes(f"--{name}", chosen[name])
    only_files = chosen.pop("show_files")
    request = Request(**chosen, excluded_below=found.excluded, typed=said)
    if only_files:
        show_files(request)
        return
    ctx.exit(run(request, ctx.obj or Interrupts()))


def _is_said(ctx: click.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _place(stdin_filename: str | None) -> tuple[str, ...]:
    """Where standard input is taken to be."""
    return (stdin_filename,) if stdin_filename else ()


def _check(chosen: dict[str, Any]) -> None:
    """Refuse what makes no sense together."""
    if chosen["interactive"] and (chosen["diff"] or chosen["check"] or "-" in chosen["paths"]):
        raise click.UsageError("--interactive excludes --diff, --check and -.")
    if chosen["interactive"] and chosen["output_format"] not in ("text", "full", "concise"):
        raise click.UsageError("--interactive asks people: it needs a format for them.")
    if chosen["write"] and (chosen["diff"] or chosen["check"]):
        raise click.UsageError("--write excludes --diff and --check.")
    changes_or_diff = chosen["write"] or chosen["diff"] or "-" in chosen["paths"]
    if chosen["write_baseline"] and changes_or_diff:
        raise click.UsageError("--write-baseline excludes --write, --diff and -.")
    if chosen["page"] and not chosen["page"].endswith((".html", ".md")):
        raise click.UsageError("--report: the name of the file has to end in .html or .md.")
    if "-" in chosen["paths"] and chosen["paths"] != ("-",):
        raise click.UsageError("Standard input (-) can't be combined with other paths.")
    if "-" in chosen["paths"] and chosen["write"]:
        raise click.UsageError("Standard input (-) is always printed; --write has no meaning.")
    if "-" in chosen["paths"] and chosen["runtime"] == "vendor":
        raise click.UsageError("--runtime vendor writes files; it needs paths instead of -.")
    if chosen["stdin_filename"] and "-" not in chosen["paths"]:
        raise click.UsageError("--stdin-filename needs - as the path.")


cli = Commands(migration)


def main() -> None:
    """The command `fsdp-migrate`."""
    try:
        cli(prog_name="fsdp-migrate", obj=Interrupts(to_the_end=True))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush
        click.echo(f"fsdp-migrate: cannot print: {error.strerror}", err=True)
        sys.exit(2)
