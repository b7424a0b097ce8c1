"""Fixes to new files: edits, imports, and the checks that a result has to pass."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fsdp_migrate.findings.code import BODY, parts_of
from fsdp_migrate.findings.edits import (
    Edit,
    LeaveContext,
    ReplaceStatement,
    kept_by,
)
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rewriting.check import problem
from fsdp_migrate.rewriting.definitions import defined_once
from fsdp_migrate.rewriting.exports import unlisted
from fsdp_migrate.rewriting.import_plan import ImportPlan, plan_imports, wanted_elsewhere
from fsdp_migrate.rewriting.imports import import_edits
from fsdp_migrate.rewriting.meant import meant
from fsdp_migrate.rewriting.name_clashes import FileSpelling, spell
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.depth import DEEPEST, TooDeep, longest_chain
from fsdp_migrate.syntax.module import Module

DEPTH = 8  # of files that import a name from each other


@dataclass(frozen=True)
class _Draft:
    """What becomes of a file: its edits but for the imports, and the tree that they mean."""

    module: Module
    edits: tuple[Edit, ...]
    spelling: FileSpelling
    tree: ast.Module


def rewrite(
    facts: Facts, findings: list[Finding]
) -> tuple[list[Finding], dict[Path, str], dict[Path, str]]:
    """The findings, the new texts by file, and messages about files that came out broken."""
    broken: dict[Path, str] = {}
    drafts: dict[Path, _Draft] = {}
    for module, edits in _edits_by_module(facts, findings):
        try:
            drafts[module.path] = _draft(module, edits)
        except RecursionError as error:
            raise TooDeep(module.path) from error
        except Exception as error:  # a defect of ours must not cost the user a file
            broken[module.path] = _internal(repr(error))
    changes: dict[Path, str] = {}
    for path, every in _with_imports(facts, drafts, _of_fsdp1(findings)).items():
        try:
            text, complaint = _written(drafts[path], every)
        except RecursionError as error:
            raise TooDeep(path) from error
        except Exception as error:
            text, complaint = "", repr(error)
        if complaint:
            broken[path] = _internal(complaint)
        elif text != drafts[path].module.source.text:
            changes[path] = text
    if broken:
        changes = {}  # half a program is worse than none
        findings = [
            replace(item, tier=Tier.MANUAL, fix=None) if item.fix is not None else item
            for item in findings
        ]
    return findings, changes, broken


def _internal(complaint: str) -> str:
    return f"internal error, the file is left as it was: {complaint}"


# ---------------------------------------------------------------------- edits
def _edits_by_module(
    facts: Facts, findings: Iterable[Finding]
) -> Iterable[tuple[Module, list[Edit]]]:
    """The edits of all fixes, by the file that they are about, in the order of the files."""
    edits: dict[Path, list[Edit]] = defaultdict(list)
    touched: set[Path] = set()
    for item in findings:
        if item.fix is None:
            continue
        touched.add(item.path)
        for path, some in item.fix.edits.items():
            edits[path].extend(some)
            touched |= {path} if some else set()
    modules = {m.path: m for m in facts.analysis.project.modules.values() if m.given}
    for path in sorted(touched):
        yield modules[path], edits[path]


def _draft(module: Module, edits: list[Edit]) -> _Draft:
    unique = defined_once(module, _outermost(dict.fromkeys(edits)))
    spelling = spell(module, unique)
    return _Draft(module, unique, spelling, meant(module, unique, spelling))


def _outermost(edits: Iterable[Edit]) -> list[Edit]:
    """The edits without those inside something that another one removes."""
    every = list(edits)
    removing = [
        edit
        for edit in every
        if isinstance(edit, LeaveContext)
        or (isinstance(edit, ReplaceStatement) and BODY not in parts_of(edit.code))
    ]
    kept = [span for edit in every for span in kept_by(edit)]
    return [
        edit
        for edit in every
        if not any(
            other is not edit
            and other.span.contains(edit.span)
            and other.span != edit.span
            and not any(other.span.contains(s) and s.contains(edit.span) for s in kept)
            for other in removing
        )
    ]


# ---------------------------------------------------------------------- imports
def _of_fsdp1(findings: Iterable[Finding]) -> set[Path]:
    """The files in which something of FSDP1 stays, and nothing takes values from the shim."""
    left = {item.path for item in findings if item.tier is Tier.MANUAL and item.blocking}
    return left - {item.path for item in findings if item.tier is Tier.SHIM}


def _with_imports(
    facts: Facts, drafts: Mapping[Path, _Draft], of_fsdp1: set[Path]
) -> dict[Path, tuple[Edit, ...]]:
    """All edits of each file; in those `of_fsdp1`, what stays in use comes from where it did.

    What one file no longer imports, the next one need not offer any more: so the files are
    planned again until none of them changes.
    """
    trees = {path: draft.tree for path, draft in drafts.items()}
    every: dict[Path, tuple[Edit, ...]] = {}
    wanted: dict[str, frozenset[str]] = {}
    stale = set(drafts)
    for _ in range(DEPTH):
        previous, wanted = wanted, wanted_elsewhere(facts, trees)
        stale |= {
            path
            for path, draft in drafts.items()
            if wanted.get(draft.module.name) != previous.get(draft.module.name)
        }
        if not stale:
            break
        for path in sorted(stale):
            draft = drafts[path]
            exported = wanted.get(draft.module.name, frozenset())
            needs, stays = draft.spelling.imports, path in of_fsdp1
            plan = plan_imports(facts, draft.module, draft.tree, needs, exported, stays=stays)
            every[path] = (*draft.edits, *_import_edits(draft, plan))
            trees[path] = meant(draft.module, every[path], draft.spelling)
        stale = set()
    return every


def _import_edits(draft: _Draft, plan: ImportPlan) -> list[Edit]:
    """The edits of import statements and of `__all__`, but for those in what is removed."""
    listed = [*unlisted(draft.module, plan.unlisted)]
    tree = meant(draft.module, [*draft.edits, *listed], draft.spelling)
    made = [*listed, *import_edits(draft.module, tree, plan)]
    outer = _outermost([*draft.edits, *made])
    return [edit for edit in made if edit in outer]


# ---------------------------------------------------------------------- texts
def _written(draft: _Draft, edits: tuple[Edit, ...]) -> tuple[str, str]:
    """The new text of a file, and what is wrong with it."""
    if not edits:
        return draft.module.source.text, ""
    if longest_chain(draft.module) > DEEPEST:
        raise TooDeep(draft.module.path)  # with enough of them, LibCST takes the process down
    # LibCST takes longer to load than most runs that change nothing take at all.
    from fsdp_migrate.rewriting.statements import apply_edits

    module = draft.module
    text = apply_edits(module.source.text, edits, draft.spelling, module.line_length)
    return text, problem(text, meant(draft.module, edits, draft.spelling), draft.module)
