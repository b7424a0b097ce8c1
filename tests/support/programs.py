"""Programs as text: migrate them without a disk, and ask the analysis about them."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fsdp_migrate import engine
from fsdp_migrate.analysis.analysis import analyse
from fsdp_migrate.analysis.values import Value
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.syntax.module import Module, parse
from fsdp_migrate.syntax.project import Project, module_name
from fsdp_migrate.syntax.source import Source

FOLDER = Path("/project")
Files = Mapping[str, str]


def source(name: str, text: str) -> Source:
    """A file of the imagined project."""
    return Source(FOLDER / name, text)


@dataclass(frozen=True)
class Run:
    """A migration: the files before and after, and what was said about them."""

    before: Files
    after: Files
    findings: tuple[Finding, ...]
    errors: tuple[str, ...]
    options: Options = field(default_factory=Options)

    @property
    def changed(self) -> list[str]:
        """The names of the files that are not as before."""
        return [name for name in self.before if self.before[name] != self.after[name]]

    @property
    def tiers(self) -> dict[str, int]:
        """How many findings there are of each tier."""
        return {t.value: n for t in Tier if (n := sum(f.tier is t for f in self.findings))}

    def of(self, name: str) -> list[Finding]:
        """The findings in one file."""
        return [item for item in self.findings if item.path == FOLDER / name]

    @cached_property
    def second(self) -> Run:
        """A migration of what came out."""
        return migrate(self.after, self.options)


def migrate(
    files: Files | str, options: Options | None = None, context: Files | None = None
) -> Run:
    """Migrate a project of files by name; a text alone is `train.py`, `context` isn't given."""
    if isinstance(files, str):
        files = {"train.py": files}
    options = options or Options()
    beside = [source(name, text) for name, text in (context or {}).items()]
    given = [source(name, text) for name, text in files.items()]
    migration = engine.migrate(given, options, beside)
    after = {name: migration.changes.get(FOLDER / name, text) for name, text in files.items()}
    errors = tuple(f"{failure.path}: {failure.message}" for failure in migration.errors)
    return Run(files, after, migration.findings, errors, options)


def dedent(text: str) -> str:
    """An indented literal as a file."""
    return textwrap.dedent(text).lstrip("\n")


class Analysis:
    """The solved facts of a project, with places found by their source text."""

    def __init__(self, files: Files | str) -> None:
        if isinstance(files, str):
            files = {"train.py": files}
        modules = [
            parse(source(name, dedent(text)), module_name(FOLDER / name))
            for name, text in files.items()
        ]
        self.project = Project.of(modules)
        self.solver = analyse(self.project)

    def module(self, name: str = "train.py") -> Module:
        """A file's facts."""
        return self.project.modules[module_name(FOLDER / name)]

    def nodes(self, text: str, name: str = "train.py") -> Iterator[ast.expr]:
        """The expressions that are spelled `text`, in the order of the source."""
        module = self.module(name)
        found = [
            node
            for node in ast.walk(module.tree)
            if isinstance(node, ast.expr)
            and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
            and ast.unparse(node) == text
        ]
        return iter(sorted(found, key=lambda node: (node.lineno, node.col_offset)))

    def value(self, text: str, name: str = "train.py", index: int = -1) -> Value:
        """What the expression `text` can be, where it stands last (or at `index`)."""
        nodes = list(self.nodes(text, name))
        assert nodes, f"no expression {text!r} in {name}"
        return self.solver.value(nodes[index])

    @cached_property
    def wrap_lines(self) -> list[tuple[str, int]]:
        """The constructor calls, as file and line."""
        names = {module.name: module.path.name for module in self.project.modules.values()}
        return sorted((names[site.module], site.line) for site in self.solver.wraps)


def read_folder(folder: Path, suffixes: Sequence[str] = (".py",)) -> dict[str, str]:
    """The Python files below a folder, by their path in it, newlines as they are."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
    }
