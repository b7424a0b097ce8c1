"""Wrap policies that go by size: what `size_based_auto_wrap_policy` is given, and what it means."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import NONE, Atom, Func, Partial, Result, Symbol, Value
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.findings.code import Code, Kept, Keyword, Part, code
from fsdp_migrate.lowering.model_parts import parts_of_model
from fsdp_migrate.lowering.policy_functions import built_by, handed_on
from fsdp_migrate.lowering.unit_functions import (
    BY_SIZE,
    BY_SIZE_BESIDE_ALL,
    BY_SIZE_BESIDE_LISTS,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module

SIZE = f"{ROOT}.wrap.size_based_auto_wrap_policy"
SMALLEST = "min_num_params"
DEFAULT = code("100_000_000")
# Modules that are treated in their own way, and those of torch that consist of some.
LISTS = frozenset({"ModuleDict", "ModuleList"})
ATTENTION = frozenset({"MultiheadAttention"})
MADE_OF_THEM = "Transformer"


@dataclass(frozen=True)
class BySize:
    """A policy that makes units of what is large enough: the least size, as it is written."""

    smallest: ast.expr | None  # None: the default of FSDP1
    through: tuple[Definition, ...] = ()

    def size(self, module: Module) -> Part:
        """The least size, for new code."""
        return Kept(module.span(self.smallest)) if self.smallest is not None else DEFAULT

    def keyword(self, module: Module) -> Keyword:
        """The argument that says it."""
        return Keyword(SMALLEST, self.size(module))


def by_size(analysis: Analysis, module: Module, node: ast.expr) -> BySize | None:
    """What the policy written at `node` says of sizes, or None if it says more, or else."""
    if analysis.value(node) == {Symbol(SIZE)}:
        return BySize(None)
    if isinstance(node, ast.Call) and analysis.value(node.func) == {Symbol("functools.partial")}:
        given = {str(k.arg): k.value for k in node.keywords}
        if len(node.args) != 1 or not set(given) <= {SMALLEST}:
            return None
        if analysis.value(node.args[0]) == {Symbol(SIZE)}:
            return BySize(given.get(SMALLEST))
        return _handed_on(analysis, module, node.args[0], given)
    if isinstance(node, ast.Call):
        return _returned(analysis, module, node)
    return _handed_on(analysis, module, node, {})


def _handed_on(
    analysis: Analysis, module: Module, node: ast.expr, more: Mapping[str, ast.expr]
) -> BySize | None:
    """The size that a function of the file hands on."""
    found = handed_on(analysis, module, node, dict(more))
    if found is None or analysis.value(found.policy) != {Symbol(SIZE)}:
        return None
    if found.name not in (None, SMALLEST):
        return None
    return BySize(found.given, (found.function,) if found.function is not None else ())


def _returned(analysis: Analysis, module: Module, call: ast.Call) -> BySize | None:
    """What a function of the file without parameters returns, that does nothing else."""
    built = built_by(analysis, module, call)
    if built is None:
        return None
    function, made = built
    found = by_size(analysis, module, made)
    return BySize(found.smallest, (function, *found.through)) if found is not None else None


def is_by_size(analysis: Analysis, atom: Atom) -> bool:
    """Whether a policy may be FSDP1's by size, or a function that may hand on to it."""
    if isinstance(atom, Partial):
        given, _ = analysis.calls.get(atom.site, ([], {}))
        return any(is_by_size(analysis, inner) for value in given[:1] for inner in value)
    return atom == Symbol(SIZE) or isinstance(atom, Func)


def by_size_function(
    analysis: Analysis, models: Iterable[tuple[Value, bool | None]]
) -> Code | None:
    """The function that lists the units of all `models`, or None if there is no one for all.

    Each comes with whether FSDP1 looked into all modules, None if only the run knows.
    """
    every = list(models)
    looks = {looks for model, looks in every if may_hold(analysis, model, ATTENTION)}
    if len(looks) > 1 or None in looks:
        return None
    if False in looks:
        return BY_SIZE_BESIDE_ALL
    lists = any(may_hold(analysis, model, LISTS) for model, _ in every)
    return BY_SIZE_BESIDE_LISTS if lists else BY_SIZE


def may_hold(analysis: Analysis, model: Value, kinds: frozenset[str]) -> bool:
    """Whether one of torch's modules `kinds` may be among those of a model."""
    parts = parts_of_model(analysis, model)
    names = {short(t.symbol if isinstance(t, Result) else t.name) for t in parts.libraries}
    made_of_them = any(name.startswith(MADE_OF_THEM) for name in names)
    return bool(parts.unfollowed) or made_of_them or not names.isdisjoint(kinds)


def looks_always(fact: WrapFact) -> bool | None:
    """Whether FSDP1 looked into all modules, as it did with mixed precision; None if unknown."""
    argument = fact.arguments.get("mixed_precision")
    given = argument.value if argument is not None else NONE
    return None if given - NONE and given & NONE else bool(given - NONE)
