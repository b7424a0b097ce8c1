"""What the settings say that a program gives to a framework around FSDP."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fsdp_migrate.analysis.definitions import Definition, definition, removable
from fsdp_migrate.analysis.values import NONE, Atom, Cls, Const, Result, Symbol, constants, symbols
from fsdp_migrate.frameworks import settings
from fsdp_migrate.lowering.wrap_policy import lower_policy
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.fsdp1_names import is_fsdp1, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


@dataclass(frozen=True)
class SettingValues:
    """The answers to `frameworks.conversion.Values` for the expressions of one file."""

    facts: Facts
    module: Module

    # ------------------------------------------------------------------ what is passed
    def is_given(self, node: ast.expr | None) -> bool:
        """Whether it is passed, and is or may be something else than None."""
        return node is not None and bool(self.facts.value(node) - NONE)

    def is_none(self, node: ast.expr | None) -> bool:
        """Whether it is None, and nothing else."""
        return self.facts.value(node) == NONE

    def literals(self, node: ast.expr | None) -> list[object] | None:
        """The literals that it can be, or None if it can be something else."""
        return constants(self.facts.value(node))

    def flag(self, node: ast.expr | None) -> bool | None:
        """What a flag says: False where it isn't passed; None if only the run knows."""
        if node is None:
            return False
        known = self.literals(node)
        said = {settings.truth(value) for value in known} if known is not None else set()
        return said.pop() if len(said) == 1 else None

    def strategy(self, node: ast.expr | None) -> str | None:
        """The one sharding strategy that it is: by name, by number or FSDP1's own."""
        return _one(_strategy_of(atom) for atom in self.facts.value(node) - NONE)

    def resharding(self, node: ast.expr | None) -> str | None:
        """The same where True stands for FULL_SHARD and False for SHARD_GRAD_OP."""
        return _one(_resharding_of(atom) for atom in self.facts.value(node))

    def state_dict_types(self, node: ast.expr | None) -> set[str | None]:
        """The kinds of state dict that it can be; None for what is not known."""
        return {_state_dict_type(atom) for atom in self.facts.value(node) - NONE}

    def words(self, node: ast.expr) -> list[str] | None:
        """The words of Transformers' `fsdp`; None if only the run knows them."""
        if isinstance(node, ast.List | ast.Tuple):
            parts = [self.words(item) for item in node.elts]
            return None if None in parts else [word for part in parts if part for word in part]
        known = self.literals(node)
        if known is not None and len(known) == 1:
            return settings.words_of(known[0]) if known[0] else []
        names = {short(name).lower() for name in self.names(node)}
        certain = len(names) == len(self.facts.value(node)) == 1
        return list(names) if certain and names <= settings.OPTIONS else None

    # ------------------------------------------------------------------ where it comes from
    def names(self, node: ast.expr | None) -> set[str]:
        """The things of libraries that it can be, by canonical name."""
        return symbols(self.facts.value(node))

    def calls(self, node: ast.expr | None, names: Iterable[str]) -> bool:
        """Whether it is a call of one of the functions or classes `names`, and of nothing else."""
        if not isinstance(node, ast.Call):
            return False
        called = self.facts.value(node.func) - NONE
        found = symbols(called)
        return bool(found) and len(found) == len(called) and found <= set(names)

    def takes_fsdp1(self, node: ast.expr | None) -> bool:
        """Whether it can be something of FSDP1's."""
        return any(
            (isinstance(atom, Symbol) and is_fsdp1(atom.name))
            or (isinstance(atom, Result) and is_fsdp1(atom.symbol))
            for atom in self.facts.value(node)
        )

    def homes(self, node: ast.expr | None) -> list[Path]:
        """The files that make what it can be."""
        modules = self.facts.analysis.project.modules
        sites = [a.site.module for a in self.facts.value(node) if isinstance(a, Result)]
        return [modules[name].path for name in sites if name in modules]

    def definition(self, node: ast.expr) -> ast.Assign | None:
        """What alone gives the variable its value, if nothing but `node` reads that."""
        found = definition(self.module, node) if isinstance(node, ast.Name) else None
        if not isinstance(found, ast.Assign):
            return None
        return found if removable(self.facts.analysis, self.module, found, {node}) else None

    def unread(self, statements: Iterable[ast.stmt], gone: set[ast.AST]) -> list[ast.stmt]:
        """Those of the definitions that nothing reads any more without the nodes in `gone`."""
        found: list[ast.stmt] = []
        gone = set(gone)
        for statement in reversed(list(dict.fromkeys(statements))):
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.FunctionDef):
                made = cast(Definition, statement)
                if removable(self.facts.analysis, self.module, made, gone):
                    gone |= set(nodes_in(statement))
                    found.append(statement)
        return found

    # ------------------------------------------------------------------ FSDP1's own objects
    def precision(self, node: ast.Call) -> Mapping[str, ast.expr] | None:
        """The fields that a `MixedPrecision(...)` sets; None if FSDP2 has no form for them."""
        names = ("param_dtype", "reduce_dtype", "buffer_dtype", "keep_low_precision_grads")
        fields = dict(zip(names, node.args, strict=False))
        fields |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        spread = any(keyword.arg is None for keyword in node.keywords)
        low = fields.get("keep_low_precision_grads")
        if spread or (low is not None and self.literals(low) != [False]):
            return None
        return fields

    def policy_classes(self, node: ast.expr) -> tuple[Sequence[str], Sequence[ast.stmt]] | None:
        """The classes that are all that a wrap policy asks for, and the definitions it is in."""
        followed: list[Definition] = []
        analysis = self.facts.analysis
        condition = lower_policy(analysis, self.module, node, followed)
        if condition is None or condition.open or not condition.is_class_test:
            return None
        own = {analysis.classes[site].node.name for site in condition.classes}
        return sorted(own | {short(name) for name in condition.libraries}), followed


def _one(found: Iterable[str | None]) -> str | None:
    every = set(found)
    return every.pop() if len(every) == 1 else None


def _strategy_of(atom: Atom) -> str | None:
    if isinstance(atom, Const):
        return settings.strategy(atom.value)
    return settings.strategy(short(atom.name)) if isinstance(atom, Symbol) else None


def _resharding_of(atom: Atom) -> str | None:
    if isinstance(atom, Const) and isinstance(atom.value, bool):
        return "FULL_SHARD" if atom.value else "SHARD_GRAD_OP"
    return _strategy_of(atom)


def _state_dict_type(atom: Atom) -> str | None:
    if isinstance(atom, Const):
        return settings.state_dict_type(atom.value)
    return settings.state_dict_type(short(atom.name)) if isinstance(atom, Symbol) else None


def calls_of_subclasses(facts: Facts, names: Iterable[str]) -> Iterator[tuple[Module, ast.Call]]:
    """The calls of the project's own classes that derive from one of the library's `names`."""
    wanted = set(names)
    for module in facts.analysis.project.modules.values():
        for node in nodes_in(module.tree) if module.rewrite else ():
            if isinstance(node, ast.Call):
                classes = [a.site for a in facts.value(node.func) if isinstance(a, Cls)]
                if any(facts.analysis.library_bases(site) & wanted for site in classes):
                    yield module, node
