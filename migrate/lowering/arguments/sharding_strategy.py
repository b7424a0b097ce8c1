"""`sharding_strategy=`: the mesh, and whether weights are given back after the forward pass."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.analysis.values import NONE
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Kept, Literal, Part, code
from fsdp_migrate.lowering.born_strategies import StrategyForm, form_at
from fsdp_migrate.lowering.mesh_by_strategy import is_given_to_hybrids
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.sharding_function import (
    GET_SHARDING,
    KEEP_UNSHARDED,
    ON_WORLD,
    after_forward,
    get_sharding,
)
from fsdp_migrate.lowering.wrap_plan import Chosen, Parts, Reshard
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.lowering.written_strategies import KEEP, written_members, written_strategy


def members(fact: WrapFact) -> frozenset[str]:
    """The sharding strategies that a call can have; none if only the run knows."""
    if fact.opaque:
        return frozenset()
    argument = fact.arguments.get("sharding_strategy")
    return written_members(argument.value if argument is not None else NONE)


def lower_sharding_strategy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """One strategy, a choice between some, or one that is migrated where it is born."""
    form = form_at(site.born, site.fact)
    if isinstance(form, str):
        raise NotNative(form)
    if form is not None and len(form.rows.members) == 1:
        return replace(parts, reshard=Reshard(KEEP) if site.members <= KEEP_UNSHARDED else None)
    if form is not None:
        return replace(parts, chosen=_chosen(site, argument, form))
    found = written_strategy(site.analysis, site.module, argument.node, site.members)
    return replace(
        parts,
        reshard=found.reshard,
        absorbed=(*parts.absorbed, *found.absorbed),
        replaced=(*parts.replaced, *found.replaced),
    )


def _chosen(site: WrapSite, argument: Argument, form: StrategyForm) -> Chosen:
    """The strategy that the run chooses, as the expression of its label."""
    assert argument.node is not None
    node = form.looked_up.get(argument.node, argument.node)
    label: Part = Kept(site.module.span(node))
    optional = bool(argument.value & NONE) and node is argument.node
    if form.values:
        return Chosen(label, form.rows, form.calls, is_value=True)
    if optional:
        default = Literal(form.rows.labels({"FULL_SHARD"})[0])
        label = code("{strategy} or {default}", strategy=label, default=default)
    return Chosen(label, form.rows, form.calls)


def with_chosen(site: WrapSite, parts: Parts) -> Parts:
    """`parts` with what the strategy that the run chooses means, beside the mesh that is given.

    Raises:
        NotNative: it takes a mesh that units of the model share, or another one than is given.
    """
    chosen = parts.chosen
    if chosen is None:
        return parts
    if parts.sharding is not None:  # with a group or a mesh that is left to the runtime
        if chosen.is_value:
            raise NotNative("the sharding strategy goes with a group that only the run knows")
        return parts
    if chosen.is_value:
        return replace(parts, reshard=Reshard(chosen.label))
    reshard = Reshard(after_forward(chosen.label, chosen.rows))
    if chosen.rows.members <= ON_WORLD:
        return replace(parts, reshard=reshard)
    if parts.mesh is not None:
        _check_given_mesh(site, chosen)
        return replace(parts, reshard=reshard)
    shared = len(chosen.calls) > 1 or site.role is not Role.ROOT or site.has_inner
    sharding = code("{get}({label})", get=GET_SHARDING, label=chosen.label)
    function = get_sharding(
        chosen.rows, site.device_type, cached=shared, width=site.module.line_length
    )
    return replace(parts, sharding=sharding, defined=(*parts.defined, function))


def _check_given_mesh(site: WrapSite, chosen: Chosen) -> None:
    """See to it that the mesh of the program is the one that the strategy takes.

    Raises:
        NotNative: it isn't, or only the run knows.
    """
    strategy, mesh = site.arguments.get("sharding_strategy"), site.arguments.get("device_mesh")
    if "NO_SHARD" in chosen.rows.members:
        raise NotNative("the sharding strategy may be NO_SHARD, on a mesh that shards")
    if mesh is None or strategy is None or strategy.node is None:
        raise NotNative("the sharding strategy is chosen at run time, the ranks are not")
    members = chosen.rows.members
    if not is_given_to_hybrids(site.analysis, site.module, mesh, strategy.node, members):
        raise NotNative("a hybrid sharding strategy may come without a mesh")
