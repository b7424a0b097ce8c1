"""Which imports of a file go, move or come, when its edits are made."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.analysis.values import symbols
from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rule.facts import RUNTIME, Facts
from fsdp_migrate.rule.uses import symbol_of
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, STARS, short, starred
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.used_names import exported_apart, exported_names, used_names

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
RENAMED = {"_or_policy": "or_policy", "_module_wrap_policy": "module_wrap_policy"}


@dataclass(frozen=True)
class ImportPlan:
    """What is to become of the imports of one file.

    `gone` are the names (as bound) that may be dropped when nothing uses them any more, and
    `unlisted` those that `__all__` may do without; `moved` gives imported names a new home;
    `needed` are imports to add where the file uses them; `keep` are names that other files
    take from this one.
    """

    gone: frozenset[str] = frozenset()
    moved: Mapping[str, Import] = field(default_factory=dict)
    needed: frozenset[Import] = frozenset()
    keep: frozenset[str] = frozenset()
    unlisted: frozenset[str] = frozenset()


def wanted_elsewhere(facts: Facts, trees: Mapping[Path, ast.Module]) -> dict[str, frozenset[str]]:
    """By module, the names that other modules of the program import from it and go on using.

    `trees` are the files that change, as they will be.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    project = facts.analysis.project
    for module in project.modules.values():
        tree = trees.get(module.path, module.tree)
        used = used_names(tree)
        for node in nodes_in(tree):
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
        for home, name in _read_from_modules(facts, module, tree):
            wanted[home].add(name)
    return {name: frozenset(names) for name, names in wanted.items()}


def _read_from_modules(facts: Facts, module: Module, tree: ast.Module) -> Iterable[tuple[str, str]]:
    """What `module` reads as `other.name`, and goes on reading in `tree`."""
    left = {path_of(node) for node in nodes_in(tree) if isinstance(node, ast.Attribute)}
    for node in nodes_in(module.tree):
        if isinstance(node, ast.Attribute) and (path_of(node) or None) in {*left, None}:
            for atom in facts.value(node.value):
                name = getattr(atom, "module", None)
                if isinstance(name, str):
                    yield name, node.attr


def plan_imports(
    facts: Facts,
    module: Module,
    tree: ast.Module,
    needs: frozenset[Import],
    exported: frozenset[str],
    *,
    stays: bool = False,
) -> ImportPlan:
    """The plan for `module`, which will be `tree`; other files take the names `exported`.

    If it `stays` with FSDP1 in part, what it still uses of FSDP1's names is FSDP1's.
    """
    fate = _Fate(facts, module, tree, exported)
    fate.stays = stays
    for node in nodes_in(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                fate.decide(node, alias)
    keep = {n for n in exported if n in fate.moved and n not in fate.before}
    for symbol in _star_names(module, fate.after | exported) if not stays else ():
        target = _offered(symbol)
        home, _, name = symbol.rpartition(".")
        needs = needs | {Import(RUNTIME, target) if target else Import(home, name)}
        keep |= {name} & exported
    return ImportPlan(
        frozenset(fate.gone), fate.moved, needs, frozenset(keep), frozenset(fate.unlisted)
    )


class _Fate:
    """Decides name by name what becomes of the imports of a module."""

    def __init__(
        self, facts: Facts, module: Module, tree: ast.Module, exported: frozenset[str]
    ) -> None:
        self.facts = facts
        self.module = module
        self.before = used_names(module.tree)
        self.after = used_names(tree)
        self.exported = exported
        self.listed = exported_names(tree) - exported_apart(tree)  # where they can be taken out
        self.read = {
            n.id for n in nodes_in(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        self.stays = False
        self.gone: set[str] = set()
        self.unlisted: set[str] = set()
        self.moved: dict[str, Import] = {}

    def decide(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Decide what becomes of one name of an import statement."""
        bound = alias.asname or alias.name.partition(".")[0]
        symbol = _symbol(self.facts, node, alias)
        replaced = symbols(self.facts.value(alias)) & set(REPLACED)
        if replaced and bound in self.after:
            self.moved[bound] = Import(RUNTIME, REPLACED[min(replaced)], alias.asname)
        elif symbol is None:
            is_package = self.module.path.name == "__init__.py"
            if bound in self.before and bound not in self.after and not is_package:
                self.gone.add(bound)
        elif alias.name == "*" and not self.stays:
            self.gone.add(f"*{node.module if isinstance(node, ast.ImportFrom) else ''}")
        elif isinstance(node, ast.Import):
            if alias.asname is None or bound not in self.exported:
                self.gone |= {bound, alias.name}
        else:
            self._fsdp1_name(node, alias, bound, _offered(symbol))

    def _fsdp1_name(
        self, node: ast.ImportFrom, alias: ast.alias, bound: str, target: str | None
    ) -> None:
        """A name of FSDP1's goes where nothing needs it, and moves if the shim has it."""
        only_listed = bound in self.listed and bound not in self.read
        needed = bound in self.after and target is not None and not only_listed
        if bound not in self.exported and not needed:
            if bound not in self.after or only_listed:
                self.gone.add(bound)
                self.unlisted |= {bound} if only_listed else set()
        home = self.facts.analysis.project.resolve(self.module, node.module or "", node.level)
        if target is not None and home is None and not self.stays:
            other = alias.asname or (alias.name if alias.name != target else None)
            self.moved[bound] = Import(RUNTIME, target, other)


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


def _star_names(module: Module, used: set[str] | frozenset[str]) -> set[str]:
    """What came in by a star import of FSDP and is still used."""
    homes = [
        node.module
        for node in nodes_in(module.tree)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and not node.level
    ]
    names = used - module.bound_names - {short(FSDP1)}
    found = {starred(home, name) for home in homes for name in names}
    return {symbol for symbol in found if symbol is not None}
