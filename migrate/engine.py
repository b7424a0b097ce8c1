"""From files to findings and new files: load, solve, lower, ask, plan, rewrite, check."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsdp_migrate.analysis.analysis import analyse
from fsdp_migrate.findings.finding import Finding
from fsdp_migrate.findings.options import Options
from fsdp_migrate.lowering.chosen_modes import with_choices
from fsdp_migrate.lowering.state_dict_modes import find_modes, settled
from fsdp_migrate.lowering.wraps import plan_wraps
from fsdp_migrate.planning.ask import (
    ask,
    calls_in_modes,
    every_use,
    outermost_uses,
    places_that_go,
)
from fsdp_migrate.planning.hold_back import Plan, hold_back
from fsdp_migrate.planning.spelling_out import Number, SpeltOut, is_no_worse, spell_out
from fsdp_migrate.planning.suppressions import ignores_file
from fsdp_migrate.rewriting.rewrite import rewrite
from fsdp_migrate.rewriting.seals import is_sealed
from fsdp_migrate.rewriting.todo_comments import PREFIX, mark
from fsdp_migrate.rewriting.vendoring import NotOurs, vendor
from fsdp_migrate.rule.dead_code import removed_nodes
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.state_dict_configs import configs_of
from fsdp_migrate.rule.registry import Registry, load_rules
from fsdp_migrate.syntax.depth import DEEPEST, TooDeep, depth_of, room_for_depth
from fsdp_migrate.syntax.module import Module, parse
from fsdp_migrate.syntax.project import Project, module_name
from fsdp_migrate.syntax.source import Source

DEEP = "an expression, or a chain of elif, is nested too deeply or too long; break it up"
_NEW_OBJECTS = 200_000
_USUAL = 60  # levels that no program can be blamed for


@dataclass(frozen=True)
class Failure:
    """A file that could not be handled; `for_all`, if because of it no file changes."""

    path: Path
    message: str
    for_all: bool = False


@dataclass(frozen=True)
class Migration:
    """What a run found, and the new text of the files that change."""

    findings: tuple[Finding, ...] = ()
    changes: Mapping[Path, str] = field(default_factory=dict)
    errors: tuple[Failure, ...] = ()
    silenced: tuple[Finding, ...] = ()
    ruled_out: tuple[Finding, ...] = ()  # by the options
    remarks: tuple[Failure, ...] = ()  # on comments that do nothing; no reason to stop


def migrate(
    sources: Sequence[Source], options: Options, context: Sequence[Source] = ()
) -> Migration:
    """Migrate `sources`, which may depend on each other; `context` is read and left alone."""
    with warnings.catch_warnings():
        # What Python's parser thinks of the user's code is not what this run is about.
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        with room_for_depth():
            result = _migrate_what_can_be(*_load(sources, context), options)
            marked = _marked(sources, result.findings, options)
            if not marked:
                return result
            again = [
                replace(source, text=marked.get(source.path, source.text)) for source in sources
            ]
            # Places are reported as they are now; the comments are part of what is written.
            changes = _migrate_what_can_be(*_load(again, context), options).changes
            return replace(result, changes={**marked, **changes})


def _marked(
    sources: Sequence[Source], findings: Sequence[Finding], options: Options
) -> dict[Path, str]:
    """The files whose comments about what is left change."""
    texts = {}
    for source in sources:
        if PREFIX in source.text or any(item.path == source.path for item in findings):
            with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
                about = [item for item in findings if item.path == source.path]
                text = mark(source.text, about, add=options.mark)
                if text != source.text and not ignores_file(source.text):
                    texts[source.path] = text
    return texts


@contextmanager
def _few_collections() -> Iterator[None]:
    """Have garbage looked for rarely: nearly all that is made here is needed to the end."""
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _migrate_what_can_be(
    modules: list[Module], errors: list[Failure], options: Options
) -> Migration:
    """Migrate all files, or all but those that turn out to be nested too deeply."""
    while True:
        try:
            return _migrate(Project.of(modules), options, errors)
        except TooDeep as error:
            modules = [module for module in modules if module.path != error.path]
            errors = [*errors, Failure(error.path, f"is left as it is: {DEEP}")]
        except RecursionError:
            deepest = max(modules, key=lambda module: depth_of(module.tree)[0])
            depth, line = depth_of(deepest.tree)
            if depth <= _USUAL:
                raise
            modules = [module for module in modules if module is not deepest]
            message = f"{line}:1 is left as it is: {DEEP} ({depth:,} levels)"
            errors = [*errors, Failure(deepest.path, message)]


def _migrate(project: Project, options: Options, errors: Sequence[Failure]) -> Migration:
    facts, plan, spelt = _planned(project, options, load_rules())
    findings, changes, broken = rewrite(facts, list(plan.findings))
    if spelt is not None and broken:  # the program as it is written comes out in any case
        facts, plan = _asked(project, options, load_rules())
        findings, changes, broken = rewrite(facts, list(plan.findings))
    elif spelt is not None:
        findings = [spelt.as_written(finding) for finding in findings]
    if options.runtime == "vendor":
        try:
            changes = vendor(project, changes)
        except NotOurs as error:
            changes, broken = {}, {**broken, error.path: str(error)}
    copies = {m.path for m in project.modules.values() if is_sealed(m.source.text)}
    return Migration(
        findings=tuple(sorted(findings, key=lambda f: (f.path, f.line, f.col, f.code))),
        changes=changes,
        errors=(*errors, *(Failure(path, said, for_all=True) for path, said in broken.items())),
        silenced=tuple(item for item in plan.silenced if item.path not in copies),
        ruled_out=plan.ruled_out,
        remarks=tuple(Failure(s.path, f"{s.line}:1 {s.message}") for s in plan.stale),
    )


def _planned(
    project: Project, options: Options, registry: Registry
) -> tuple[Facts, Plan, SpeltOut | None]:
    """What is planned: where it helps, for the program in which calls name their arguments."""
    facts, plan = _asked(project, options, registry)
    without: frozenset[Number] = frozenset()
    while options.style != "shim" and (spelt := spell_out(facts, without)) is not None:
        tried, planned = _asked(spelt.project, options, registry)
        left = spelt.left(tried, planned)
        if not left and is_no_worse(planned.findings, plan.findings):
            return tried, replace(planned, stale=plan.stale), spelt
        without |= left or spelt.calls.keys()
    return facts, plan, None


def _asked(project: Project, options: Options, registry: Registry) -> tuple[Facts, Plan]:
    facts = facts_of(project, options, registry)
    return facts, hold_back(ask(facts, registry), facts, registry)


def facts_of(project: Project, options: Options, registry: Registry) -> Facts:
    """What the analysis finds out, and what becomes of each model and each state-dict context."""
    analysis = analyse(project)
    wraps = plan_wraps(analysis, options.style)
    modes, born = with_choices(analysis, find_modes(analysis)), wraps.born
    facts = Facts(analysis, options, wraps.plans, modes, born=born, partials=wraps.partials)
    facts = replace(facts, uses=every_use(facts, registry), known=facts.once)
    facts = _with_modes(facts, registry)
    gone = places_that_go(facts, registry)
    facts = replace(facts, uses=outermost_uses(facts, registry), gone=gone)
    return replace(facts, removed=removed_nodes(facts))


def _with_modes(facts: Facts, registry: Registry) -> Facts:
    """`facts`, with the contexts that go: those whose values can be said to the calls inside."""
    while True:
        facts = replace(facts, modes=settled(facts.modes, calls_in_modes(facts, registry)))
        unfit = configs_of(replace(facts, removed=removed_nodes(facts))).unfit
        if not unfit:
            return facts
        facts = replace(facts, modes=facts.modes.without_carried(unfit))


def _load(
    sources: Sequence[Source], context: Sequence[Source]
) -> tuple[list[Module], list[Failure]]:
    """The files that can be followed, and complaints about those that were to be migrated."""
    modules: list[Module] = []
    errors: list[Failure] = []
    for source, given in [*((s, True) for s in sources), *((s, False) for s in context)]:
        changes = given and not ignores_file(source.text)
        complaint = ""
        try:
            module = parse(source, module_name(source.path), changes)
            complaint = _too_deep(module)
        except SyntaxError as error:
            complaint = f"{error.lineno}:{error.offset} cannot be parsed: {error.msg}"
        except (MemoryError, RecursionError):  # the parser's words for it
            complaint = f"cannot be parsed: {DEEP}"
        except ValueError as error:
            complaint = f"cannot be parsed: {error}"
        if not complaint:
            modules.append(module)
        elif changes:
            errors.append(Failure(source.path, complaint))
    return modules, errors


def _too_deep(module: Module) -> str:
    """What is to be said of a file that is nested more deeply than can be followed."""
    depth, line = depth_of(module.tree)
    if depth <= DEEPEST:
        return ""
    return f"{line}:1 is left as it is: {DEEP} ({depth:,} levels; up to {DEEPEST} can be followed)"
