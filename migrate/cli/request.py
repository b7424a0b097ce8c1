"""What the user asks for, and what has come of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.discovery.discover import Discovered
from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.findings.options import Options, RuntimeMode, StateDicts, Style
from fsdp_migrate.reporting import summary as report
from fsdp_migrate.syntax.source import Source, SourceError, read


@dataclass(frozen=True)
class Request:
    """What the user asked for, option by option."""

    paths: tuple[str, ...] = ()
    diff: bool = False
    write: bool = False
    interactive: bool = False
    check: bool = False
    runtime: RuntimeMode = "import"
    state_dict: StateDicts = "dcp"
    style: Style = "native"
    mark: bool = False
    allow_incomplete: bool = False
    exclude: tuple[str, ...] = ()
    safe_only: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    baseline: str | None = None
    write_baseline: str | None = None
    page: str | None = None  # where to write a page about the migration
    no_respect_gitignore: bool = False
    isolated: bool = False
    stdin_filename: str | None = None
    output_format: report.Format = "text"
    quiet: bool = False
    excluded_below: tuple[str, tuple[str, ...]] = ("", ())  # as configured: where, and what
    typed: frozenset[str] | None = None  # the options of the command line; None: all of these

    @property
    def piped(self) -> bool:
        """Whether a program is read from standard input."""
        return self.paths == ("-",)

    @property
    def pending(self) -> bool:
        """Whether changes are only talked about."""
        return self.diff or self.check or not (self.write or self.prints_program)

    @property
    def prints_program(self) -> bool:
        """Whether standard output has what standard input becomes, and not a report."""
        return self.piped and self.output_format in report.FOR_PEOPLE

    @property
    def said(self) -> list[str]:
        """What was said on the command line, but for what is done with the answer."""
        flags = ["mark", "allow_incomplete", "safe_only", "no_respect_gitignore", "isolated"]
        values = ["runtime", "state_dict", "style"]
        default = Request()
        words = [_option(name) for name in flags if self._is_typed(name) and getattr(self, name)]
        for name in values:
            if self._is_typed(name) and getattr(self, name) != getattr(default, name):
                words += [_option(name), getattr(self, name)]
        for name in ("exclude", "select", "ignore"):
            for value in getattr(self, name) if self._is_typed(name) else ():
                words += [_option(name), value]
        return [
            *words,
            *(["--"] if any(p.startswith("-") for p in self.paths) else []),
            *self.paths,
        ]

    def _is_typed(self, name: str) -> bool:
        return self.typed is None or name in self.typed

    @property
    def options(self) -> Options:
        """The choices that the engine has to know."""
        return Options(
            runtime=self.runtime,
            state_dict=self.state_dict,
            mark=self.mark,
            allow_incomplete=self.allow_incomplete,
            style=self.style,
            safe_only=self.safe_only,
            select=self.select,
            ignore=self.ignore,
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass
class Result:
    """What came of a run, so far."""

    found: Discovered
    sources: dict[Path, Source] = field(default_factory=dict)  # those that may be rewritten
    findings: Sequence[Finding] = ()
    silenced: Sequence[Finding] = ()  # by comments
    ruled_out: Sequence[Finding] = ()  # by --select and --ignore
    wanted: frozenset[Path] | None = None  # the files that the user chose; None: all
    undo: str | None = None  # the command that takes back what was written
    known: str = ""  # what is said of the baseline
    changes: Mapping[Path, str] = field(default_factory=dict)
    errors: list[SourceError] = field(default_factory=list)
    warnings: list[SourceError] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)

    def lines(self, path: Path) -> list[str] | None:
        """The lines of a file as they were; None, if it can't be read."""
        try:
            text = self.source(path).text
        except (SourceError, OSError):
            return None
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def source(self, path: Path) -> Source:
        """The file at `path` as it is now; an empty one, if it is new."""
        if path not in self.sources:
            self.sources[path] = read(path) if path.exists() else Source(path, "")
        return self.sources[path]
