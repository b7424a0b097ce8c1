"""`sharding_strategy=`: whether weights are given back after the forward pass."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.definitions import bindings, definition, is_imported, scope_of
from fsdp_migrate.analysis.values import NONE, Symbol
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Literal, Part, code, variable
from fsdp_migrate.lowering.wrap_plan import HYBRID, KEEP_UNSHARDED, Parts, Reshard
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none, resolve
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.nodes import nodes_in

STRATEGY = f"{ROOT}.ShardingStrategy"
AFTER_FORWARD = variable("reshard_after_forward")
# The default, FULL_SHARD among them: the root keeps its weights, all other units give them back.
DEFAULT = Literal(None)
KEEP = Literal(False)


def members(fact: WrapFact) -> frozenset[str]:
    """The sharding strategies that a call can have; none if only the run knows."""
    if fact.opaque:
        return frozenset()
    argument = fact.arguments.get("sharding_strategy")
    if argument is None:
        return frozenset({"FULL_SHARD"})
    names: set[str] = set()
    for atom in argument.value:
        if atom in NONE:
            names.add("FULL_SHARD")
        elif isinstance(atom, Symbol) and atom.name.startswith(f"{STRATEGY}."):
            names.add(short(atom.name))
        else:
            return frozenset()
    return frozenset(names)


def lower_sharding_strategy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """One strategy, or a choice between those that differ in when weights are given back."""
    if not site.members:
        raise NotNative("the sharding strategy is known only at run time")
    node = argument.node
    needs_mesh = bool(site.members & (HYBRID | {"NO_SHARD"}))
    if isinstance(node, ast.Name) and not needs_mesh and definition(site.module, node) is None:
        return _chosen(site, node, parts)
    if len(site.members) > 1:
        if needs_mesh:
            raise NotNative("the sharding strategy is chosen at run time")
        written, through = resolve(site, node)
        reshard = Reshard(_after_forward(site, written))
        return replace(parts, reshard=reshard, absorbed=(*parts.absorbed, *through))
    through = ()
    if isinstance(node, ast.Name):
        _, through = resolve(site, node)
    elif node is None or isinstance(node, ast.Subscript | ast.Call):
        raise NotNative("the sharding strategy is looked up")
    elif isinstance(node, ast.Attribute) and not is_member(site, node):
        raise NotNative("the sharding strategy comes from a configuration")
    keeps = site.members <= KEEP_UNSHARDED
    return replace(
        parts,
        reshard=Reshard(KEEP) if keeps else None,
        absorbed=(*parts.absorbed, *through),
    )


def _chosen(site: WrapSite, name: ast.Name, parts: Parts) -> Parts:
    """The variable of a strategy, made one of what it says of the weights after a forward.

    Raises:
        NotNative: it is bound to more than members of the enum, or read elsewhere.
    """
    unsure = NotNative(f"`{name.id}` is known only at run time")
    scope = scope_of(site.module, name)
    if scope is None or (
        isinstance(scope, ast.Module) and is_imported(site.analysis, site.module, name.id)
    ):
        raise unsure
    bound = list(bindings(scope, name.id))
    same = [n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name.id]
    named = any(isinstance(n, ast.Constant) and n.value == name.id for n in nodes_in(scope))
    if named or {*same} != {name, *bound}:
        raise unsure
    replaced: list[tuple[ast.expr, Part]] = []
    for target in bound:
        statement = site.module.parents.get(target)
        if not isinstance(statement, ast.Assign) or statement.targets != [target]:
            raise unsure
        replaced.append((statement.targets[0], AFTER_FORWARD))
        replaced.append((statement.value, _after_forward(site, statement.value)))
    return replace(parts, reshard=Reshard(AFTER_FORWARD), replaced=(*parts.replaced, *replaced))


def is_member(site: WrapSite, node: ast.expr) -> bool:
    """Whether a member of the enum is written there."""
    return isinstance(node, ast.Attribute) and site.analysis.value(node.value) == frozenset(
        {Symbol(STRATEGY)}
    )


def _after_forward(site: WrapSite, node: ast.expr) -> Part:
    """What an expression of strategies says of the weights after a forward."""
    if isinstance(node, ast.IfExp):
        yes, no = _after_forward(site, node.body), _after_forward(site, node.orelse)
        return code("{yes} if {test} else {no}", yes=yes, test=site.kept(node.test), no=no)
    if is_none(node):
        return DEFAULT
    if isinstance(node, ast.Attribute) and is_member(site, node):
        return KEEP if node.attr in KEEP_UNSHARDED else DEFAULT
    raise NotNative("the sharding strategy is chosen at run time")
