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
from fsdp_migrate.lowering.arguments.precision_fields import MIXED_PRECISION, fields_of
from fsdp_migrate.lowering.model_parts import parts_of_model
from fsdp_migrate.lowering.policy_functions import built_by, handed_on
from fsdp_migrate.lowering.unit_functions import (
    BY_SIZE,
    BY_SIZE_BESIDE_ALL,
    BY_SIZE_BESIDE_LISTS,
    BY_SIZE_BESIDE_WHOLE,
)
from fsdp_migrate.lowering.wrap_plan import Attention
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module

SIZE = f"{ROOT}.wrap.size_based_auto_wrap_policy"
SMALLEST = "min_num_params"
DEFAULT = code("100_000_000")
# Modules that are treated in their own way, and those of torch that consist of some.
LISTS = frozenset({"ModuleDict", "ModuleList"})
ATTENTION = frozenset({"MultiheadAttention"})
MADE_OF_THEM = "Transformer"
DTYPES = frozenset({"torch.bfloat16", "torch.float16", "torch.float32", "torch.float64"})

MAY_LOOK = "whether FSDP1 looks into attention depends on a precision that only the run knows"


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


def by_size_function(analysis: Analysis, facts: Iterable[WrapFact]) -> Code:
    """The function that lists the units of the models of all `facts`.

    Raises:
        NotNative: what FSDP1 did with attention in one of them is not to be seen.
    """
    every = list(facts)
    with_attention = [f for f in every if may_hold(analysis, f.inner, ATTENTION)]
    looks = {looks_always(fact) for fact in with_attention}
    for fact in with_attention:
        if looks_always(fact) is None and not _have_parameter_dtype(analysis, fact):
            raise NotNative(MAY_LOOK)
    if len(looks) > 1 or None in looks:
        return BY_SIZE_BESIDE_WHOLE
    if False in looks or not every:
        return BY_SIZE_BESIDE_ALL
    lists = any(may_hold(analysis, fact.inner, LISTS) for fact in every)
    return BY_SIZE_BESIDE_LISTS if lists else BY_SIZE


def attention_of(analysis: Analysis, fact: WrapFact, function: Code) -> Attention:
    """What `function` is told of the attention layers in the model of a call."""
    if function != BY_SIZE_BESIDE_WHOLE or not may_hold(analysis, fact.inner, ATTENTION):
        return ""
    looks = looks_always(fact)
    return "by_precision" if looks is None else "" if looks else "whole"


def _have_parameter_dtype(analysis: Analysis, fact: WrapFact) -> bool:
    """Whether each precision that a call may be given has a dtype of parameters, which tells it."""
    for atom in fact.arguments["mixed_precision"].value - NONE:
        if not isinstance(atom, Result) or atom.symbol != MIXED_PRECISION:
            return False
        dtype = fields_of(analysis.call_nodes[atom.site]).get("param_dtype")
        if dtype is None:
            return False
        given = analysis.value(dtype)
        if not given or not all(isinstance(a, Symbol) and a.name in DTYPES for a in given):
            return False
    return True


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
