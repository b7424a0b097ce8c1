"""What several rules ask of the facts: whose parameters, where from, what becomes of a value."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from fsdp_migrate.analysis.values import (
    Const,
    Method,
    Params,
    Result,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    constants,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds

MIXED_PRECISION = f"{ROOT}.MixedPrecision"


def rewritable(facts: Facts) -> Iterator[Module]:
    """The files that may be rewritten."""
    return (module for module in facts.analysis.project.modules.values() if module.rewrite)


def modules(facts: Facts) -> Iterator[Module]:
    """The files that may be rewritten, if the program has FSDP1 models, made here or elsewhere."""
    return rewritable(facts) if facts.analysis.has_models else iter(())


def attributes(facts: Facts, names: Collection[str]) -> Iterator[tuple[Module, ast.Attribute]]:
    """The attributes in those files that are called one of `names`."""
    for module in modules(facts):
        for node in module.parents:
            if isinstance(node, ast.Attribute) and node.attr in names:
                yield module, node


def calls(facts: Facts) -> Iterator[tuple[Module, ast.Call]]:
    """The calls in those files, in the order of the source."""
    wanted = {module.name: module for module in modules(facts)}
    for site, call in facts.analysis.calls_in_order if wanted else ():
        if site.module in wanted:
            yield wanted[site.module], call


def owners(facts: Facts, node: ast.AST | None) -> frozenset[Wrapped]:
    """The FSDP models whose parameters `node` can be, or hold in a list."""
    found = facts.holders.params_in(facts.value(node))
    return frozenset(owner for owner in found if isinstance(owner, Wrapped))


def owners_of_part(facts: Facts, node: ast.AST | None) -> frozenset[Wrapped]:
    """The FSDP models of which `node` may be the parameters of a part: `model.head`'s."""
    found: set[Wrapped] = set()
    for owner in facts.holders.params_in(facts.value(node)):
        while isinstance(owner, Method):
            owner = owner.receiver
            if isinstance(owner, Wrapped):
                found.add(owner)
    return frozenset(found)


def models_of_list(facts: Facts, module: Module, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that a list of parameters is of, be it asked of the module inside of one."""
    found = owners(facts, node) | owners_of_part(facts, node)
    return found or facts.sharded.models(module, node, lists=True)


def is_certain(facts: Facts, node: ast.AST) -> bool:
    """Whether `node` is parameters of FSDP models and nothing else, on every path to it."""
    value = facts.value(node)
    found = facts.holders.params_in(value)
    known = not any(isinstance(atom, Unknown) for atom in value)
    return known and bool(found) and all(isinstance(owner, Wrapped) for owner in found)


def is_parameters(facts: Facts, node: ast.AST) -> bool:
    """Whether `node` is of FSDP models' parameters or their names, one of them or all."""
    value = facts.value(node)
    return bool(value) and all(
        isinstance(atom, Params) and isinstance(atom.owner, Wrapped) for atom in value
    )


def called(facts: Facts, call: ast.Call) -> set[str]:
    """The names of the library functions that `call` may call."""
    return {atom.name for atom in facts.value(call.func) if isinstance(atom, Symbol)}


def model_of(facts: Facts, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that `model.layer.weight` is a parameter of."""
    while isinstance(node, ast.Attribute):
        node = node.value
        found = facts.analysis.wrapped(facts.value(node))
        if found:
            return frozenset(found)
    return frozenset()


def use_orig_params(facts: Facts, wrapped: Wrapped) -> bool | None:
    """Whether FSDP1 ran with `use_orig_params=True`; None if that isn't known."""
    fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
    if fact is None:
        return None
    argument = fact.arguments.get("use_orig_params")
    if argument is None:
        return None if fact.opaque else False
    known = constants(argument.value)
    if known == [True]:
        return True
    return False if known == [False] and not fact.opaque else None


def is_summoned(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` runs inside `summon_full_params`, here or in every caller."""
    return facts.sharded.is_summoned(module, node)


def derived(scope: ast.AST, seeds: set[ast.AST]) -> set[str]:
    """The variables of `scope` that are computed from the expressions in `seeds`."""
    found: set[str] = set()
    statements = [
        s for s in own_nodes(scope) if isinstance(s, ast.Assign | ast.AugAssign | ast.AnnAssign)
    ]
    while True:
        new = set(found)
        for statement in statements:
            if statement.value is not None and feeds(statement.value, seeds, found):
                new |= {name for name in binds(statement) if "." not in name}
        if new == found:
            return found
        found = new


def feeds(node: ast.AST, seeds: set[ast.AST], names: set[str]) -> bool:
    """Whether one of `seeds`, or a variable of `names`, is read in `node`."""
    return any(
        item in seeds
        or (isinstance(item, ast.Name) and item.id in names and isinstance(item.ctx, ast.Load))
        for item in nodes_in(node)
    )


def dtypes(facts: Facts, wrapped: Wrapped) -> set[tuple[str | None, str | None]]:
    """The (param_dtype, reduce_dtype) that a wrap can have, as far as they are known."""
    fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
    argument = fact.arguments.get("mixed_precision") if fact is not None else None
    found: set[tuple[str | None, str | None]] = set()
    for atom in argument.value if argument is not None else ():
        if isinstance(atom, Result) and atom.symbol == MIXED_PRECISION:
            args, kwargs = facts.analysis.calls[atom.site]
            given = dict(zip(("param_dtype", "reduce_dtype"), args, strict=False)) | kwargs
            for param in _dtype(given.get("param_dtype")):
                for reduce in _dtype(given.get("reduce_dtype")):
                    found.add((param, reduce))
    return found


def _dtype(value: Value | None) -> set[str | None]:
    if value is None:
        return {None}
    return {
        atom.name.removeprefix("torch.") if isinstance(atom, Symbol) else None
        for atom in value
        if isinstance(atom, Symbol) or atom == Const.of(None)
    }
