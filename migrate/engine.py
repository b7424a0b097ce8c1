"""From files to findings and new files: analyse, ask the rules, plan, apply, check."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.findings.options import Options
from fsdp_migrate.planning.suppressions import is_ignored
from fsdp_migrate.syntax.module import Module, parse
from fsdp_migrate.syntax.project import Project, module_name
from fsdp_migrate.syntax.source import Source


@dataclass(frozen=True)
class Failure:
    """A file that could not be handled."""

    path: Path
    message: str


@dataclass(frozen=True)
class Outcome:
    """What a run found, and the new text of the files that change."""

    findings: tuple[Finding, ...] = ()
    changes: Mapping[Path, str] = field(default_factory=dict)
    errors: tuple[Failure, ...] = ()


def migrate(sources: Sequence[Source], options: Options, context: Sequence[Source] = ()) -> Outcome:
    """Migrate `sources`, which may depend on each other; `context` is read and left alone."""
    modules, errors = _parse(sources, context)
    if not modules:
        return Outcome(errors=tuple(errors))
    from fsdp_migrate.planning.ask import decide
    from fsdp_migrate.rewriting.rewrite import rewrite

    facts, findings = decide(Project.of(modules), options)
    findings, changes, broken = rewrite(facts, findings)
    if options.runtime == "vendor":
        from fsdp_migrate.rewriting.vendoring import vendor

        changes = vendor(facts.solver.project, changes)
    if options.mark:
        from fsdp_migrate.rewriting.todo_comments import mark

        for module in facts.solver.project.modules.values():
            mine = [item for item in findings if item.path == module.path]
            text = changes.get(module.path, module.source.text)
            if module.path not in changes and (new := mark(text, mine)) != text:
                changes[module.path] = new
    return Outcome(
        findings=tuple(sorted(findings, key=lambda f: (f.path, f.line, f.col, f.code))),
        changes=changes,
        errors=(*errors, *(Failure(path, message) for path, message in broken.items())),
    )


def _parse(
    sources: Sequence[Source], context: Sequence[Source]
) -> tuple[list[Module], list[Failure]]:
    modules: list[Module] = []
    errors: list[Failure] = []
    for source, rewrite in [*((s, True) for s in sources), *((s, False) for s in context)]:
        try:
            rewrite = rewrite and not is_ignored(source.text)
            modules.append(parse(source, module_name(source.path), rewrite))
        except (SyntaxError, ValueError, RecursionError) as error:
            where = f"{error.lineno}:{error.offset} " if isinstance(error, SyntaxError) else ""
            text = error.msg if isinstance(error, SyntaxError) else str(error)
            if rewrite:
                errors.append(Failure(source.path, f"{where}cannot be parsed: {text}"))
    return modules, errors


def parses(text: str) -> bool:
    """Whether `text` is Python."""
    try:
        compile(text, "<migrated>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True
