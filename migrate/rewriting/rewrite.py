"""Fixes to new files: edits, imports, and the checks that a result has to pass."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fsdp_migrate.analysis.values import symbols
from fsdp_migrate.findings.code import BODY, Kept, parts_of
from fsdp_migrate.findings.finding import (
    Edit,
    Finding,
    Import,
    LeaveContext,
    ReplaceStatement,
    Tier,
    codes,
)
from fsdp_migrate.rewriting.name_clashes import FileSpelling, apart, spell
from fsdp_migrate.rule.rule import RUNTIME, Facts
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, STARS, short, starred
from fsdp_migrate.syntax.module import BUILTINS, Module
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Span

# What the runtime shim offers under FSDP1's own names.
OFFERED = frozenset(
    {
        "BackwardPrefetch", "CPUOffload", "CustomPolicy", "FullOptimStateDictConfig",
        "FullStateDictConfig", "MixedPrecision", "ModuleWrapPolicy", "OptimStateDictConfig",
        "OptimStateKeyType", "ShardedOptimStateDictConfig", "ShardedStateDictConfig",
        "ShardingStrategy", "StateDictConfig", "StateDictSettings", "StateDictType",
        "always_wrap_policy", "enable_wrap", "lambda_auto_wrap_policy",
        "size_based_auto_wrap_policy", "transformer_auto_wrap_policy", "wrap",
    }
)  # fmt: skip
# Library functions that the shim has its own of, under the same name.
REPLACED = {
    "torch.distributed.checkpoint.optimizer.load_sharded_optimizer_state_dict": (
        "load_sharded_optimizer_state_dict"
    )
}
DEPTH = 8  # of files that import a name from each other
RENAMED = {"_or_policy": "or_policy", "_module_wrap_policy": "ModuleWrapPolicy"}


def rewrite(
    facts: Facts, findings: list[Finding]
) -> tuple[list[Finding], dict[Path, str], dict[Path, str]]:
    """The findings, the new texts by file, and messages about files that came out broken."""
    edits: dict[Path, list[Edit]] = defaultdict(list)
    needs: dict[Path, set[Import]] = defaultdict(set)
    fixed = [item for item in findings if item.fix is not None]
    for item in fixed:
        assert item.fix is not None
        for path, some in item.fix.edits.items():
            edits[path].extend(some)
        for path, imports in item.fix.imports.items():
            needs[path] |= imports
    changes: dict[Path, str] = {}
    broken: dict[Path, str] = {}
    touched = {path for path in edits if edits[path] or needs[path]}
    touched |= {item.path for item in fixed}
    texts: dict[Path, str] = {}
    modules = {m.path: m for m in facts.solver.project.modules.values() if m.rewrite}
    for path in sorted(touched):
        edits[path], needs[path] = apart(modules[path], edits[path], needs[path])
        try:
            spelling = spell(modules[path], edits[path])
            needs[path] |= spelling.imports
            text = _edited(modules[path], edits[path], spelling)
            ast.parse(text)
            texts[path] = text
        except Exception as error:  # a defect of ours must not cost the user a file
            broken[path] = f"internal error, the file is left as it was: {error!r}"
    results = dict(texts)
    wanted: dict[str, set[str]] = {}
    stale = set(texts)
    for _ in range(DEPTH):
        # What one file no longer imports, the next one need not offer any more.
        previous, wanted = wanted, _wanted_elsewhere(facts, results)
        stale |= {p for p in texts if wanted.get(modules[p].name) != previous.get(modules[p].name)}
        for path in sorted(stale):
            try:
                results[path] = _with_imports(
                    facts, modules[path], texts[path], needs[path], wanted
                )
            except Exception as error:
                broken[path] = f"internal error, the file is left as it was: {error!r}"
        if not stale:
            break
        stale = set()
    for path in texts:
        problem = unbound(results[path], modules[path])
        if problem:
            broken[path] = f"internal error, the file is left as it was: {problem}"
        elif results[path] != modules[path].source.text:
            changes[path] = results[path]
    if broken:
        changes = {}  # half a program is worse than none
        findings = [
            replace(item, tier=Tier.MANUAL, fix=None) if item.fix is not None else item
            for item in findings
        ]
    return findings, changes, broken


def _edited(module: Module, edits: list[Edit], spelling: FileSpelling) -> str:
    from fsdp_migrate.rewriting.statements import apply_edits

    unique = _outermost(dict.fromkeys(edits))
    return apply_edits(module.source.text, unique, spelling) if unique else module.source.text


def kept_by(edit: Edit) -> Iterable[Span]:
    """The places that an edit's code keeps expressions of."""
    new = [code for code in codes(edit) if not isinstance(code, str)]
    kept = [part.span for code in new for part in parts_of(code) if isinstance(part, Kept)]
    return [*getattr(edit, "holes", ()), *kept]


def _outermost(edits: Iterable[Edit]) -> list[Edit]:
    """The edits without those inside something that another one removes."""
    every = list(edits)
    result = []
    for edit in every:
        inside = [
            other
            for other in every
            if other is not edit
            and other.span.contains(edit.span)
            and other.span != edit.span
            and isinstance(other, ReplaceStatement | LeaveContext)
            and not _keeps_body(other)
            and not any(hole.contains(edit.span) for hole in kept_by(other))
        ]
        if not inside:
            result.append(edit)
    return result


def _keeps_body(edit: ReplaceStatement | LeaveContext) -> bool:
    if isinstance(edit, LeaveContext):
        return False  # its place is the context alone
    if isinstance(edit.code, str):
        return "{body}" in edit.code
    return BODY in parts_of(edit.code)


# ---------------------------------------------------------------------- imports
def _wanted_elsewhere(facts: Facts, texts: dict[Path, str]) -> dict[str, set[str]]:
    """By module, the names that other modules of the program import from it and go on using."""
    from fsdp_migrate.rewriting.imports import used_names

    wanted: dict[str, set[str]] = defaultdict(set)
    project = facts.solver.project
    for module in project.modules.values():
        text = texts.get(module.path)
        tree = ast.parse(text) if text is not None else module.tree
        used = used_names(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            home = project.resolve(module, node.module or "", node.level)
            if home is None:
                continue
            for alias in node.names:
                if alias.name == "*":
                    wanted[home] |= used
                elif (alias.asname or alias.name) in used or module.path.name == "__init__.py":
                    wanted[home].add(alias.name)
        left = {path_of(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and (path_of(node) or None) in {*left, None}:
                for atom in facts.value(node.value):
                    name = getattr(atom, "module", None)
                    if isinstance(name, str):
                        wanted[name].add(node.attr)
    return wanted


def _with_imports(
    facts: Facts, module: Module, text: str, needs: set[Import], wanted: dict[str, set[str]]
) -> str:
    from fsdp_migrate.rewriting.imports import ImportPlan, exported_names, fix_imports, used_names

    before = used_names(module.tree)
    after = used_names(ast.parse(text))
    is_package = module.path.name == "__init__.py"
    exported = wanted.get(module.name, set())
    gone: set[str] = set()
    unlisted: set[str] = set()
    read = _read_names(text)
    moved: dict[str, Import] = {}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            name = _symbol(facts, node, alias)
            if symbols(facts.value(alias)) & set(REPLACED) and bound in after:
                (old,) = symbols(facts.value(alias))
                moved[bound] = Import(RUNTIME, REPLACED[old], alias.asname)
                continue
            if name is None:
                if bound in before and bound not in after and not is_package:
                    gone.add(bound)
                continue
            if alias.name == "*":
                gone.add(f"*{node.module if isinstance(node, ast.ImportFrom) else ''}")
                continue
            if isinstance(node, ast.Import):
                if alias.asname is None or bound not in exported:
                    gone |= {bound, alias.name}
                continue
            target = _offered(name)
            if bound not in exported and (bound not in after or target is None):
                only_listed = bound in exported_names(ast.parse(text)) and bound not in read
                if bound not in after or only_listed:
                    gone.add(bound)
                    unlisted |= {bound} if only_listed else set()
            if target is not None and isinstance(node, ast.ImportFrom):
                home = facts.solver.project.resolve(module, node.module or "", node.level)
                if home is None:
                    alias_name = alias.asname or (alias.name if alias.name != target else None)
                    moved[bound] = Import(RUNTIME, target, alias_name)
    keep = {n for n in exported if n in moved and n not in before}
    for symbol in _star_names(module, after | exported):
        target = _offered(symbol)
        home, _, name = symbol.rpartition(".")
        needs = needs | {Import(RUNTIME, target) if target else Import(home, name)}
        keep |= {name} & exported
    plan = ImportPlan(
        gone=frozenset(gone), moved=moved, needed=frozenset(needs), keep=frozenset(keep)
    )
    return fix_imports(_unlist(text, unlisted), plan)


def _read_names(text: str) -> set[str]:
    return {
        n.id
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }


def _unlist(text: str, names: set[str]) -> str:
    """Take names that are gone out of `__all__`."""
    from fsdp_migrate.rewriting.statements import apply_edits

    for node in ast.parse(text).body:
        if not names or not isinstance(node, ast.Assign):
            continue
        listed = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
        if listed and isinstance(node.value, ast.List | ast.Tuple):
            kept = [
                str(item.value)
                for item in node.value.elts
                if isinstance(item, ast.Constant) and item.value not in names
            ]
            quoted = ", ".join(f'"{name}"' for name in kept)
            span = Span(node.lineno, node.col_offset, node.end_lineno or 0, 0)
            text = apply_edits(text, [ReplaceStatement(span, f"__all__ = [{quoted}]")])
    return text


def _symbol(facts: Facts, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str | None:
    """The FSDP1 name (or module) that an import binds, or None."""
    if isinstance(node, ast.Import):
        return alias.name if alias.name.startswith(ROOT) else None
    if alias.name == "*":
        return node.module if (node.module or "").startswith(ROOT) else None
    if node.module == "torch.distributed" and alias.name == "fsdp":
        return None
    return symbol_of(facts.value(alias))


def _offered(name: str) -> str | None:
    if name in STARS:
        return None  # a module: `wrap` is one, and a function in it
    last = RENAMED.get(short(name), short(name))
    return last if last in OFFERED or last in RENAMED.values() else None


def _star_names(module: Module, used: set[str]) -> set[str]:
    """What came in by a star import of FSDP and is still used."""
    homes = [
        node.module
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and not node.level
    ]
    names = used - module.bound_names - {short(FSDP1)}
    found = {starred(home, name) for home in homes for name in names}
    return {symbol for symbol in found if symbol is not None}


# ---------------------------------------------------------------------- the check
def unbound(text: str, module: Module) -> str:
    """A complaint if `text` uses a name that nothing binds and that was bound before."""
    from fsdp_migrate.rewriting.imports import used_names

    tree = ast.parse(text)
    probe = Module(module.name, module.source, tree)
    star = any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in ast.walk(tree))
    if star:
        return ""
    before = used_names(module.tree) - module.bound_names
    loose = used_names(tree) - probe.bound_names - BUILTINS - before - {"__file__", "__name__"}
    return f"the result leaves {', '.join(sorted(loose))} undefined" if loose else ""
