"""What becomes of that which takes hold of parameters before a wrap.

It goes below the wrap, with what depends on it, if nothing notices.  An optimizer for which
something would notice is handed the new parameters instead; else it is for a person.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.lowering.before_wrap import BeforeWrap, TakenBeforeWrap, keeps_model, loads
from fsdp_migrate.lowering.handed_over import handed_over
from fsdp_migrate.lowering.moving import CannotMove, Move
from fsdp_migrate.lowering.optimizer_switch import Switch, above_units, find_switch, merged
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from fsdp_migrate.lowering.remapping import find_remap
from fsdp_migrate.lowering.running_order import only_wraps
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, overlap, path_of, reads, touches


@dataclass(frozen=True)
class Remedy:
    """What becomes of one statement that takes hold of parameters too early."""

    taken: TakenBeforeWrap
    moved: tuple[ast.stmt, ...] = ()  # they go below the wrap
    switch: Switch | None = None  # where the optimizer is handed the new parameters
    reason: str = ""  # why it can't be moved


def remedies(effects: Effects, holders: ParameterHolders) -> Iterator[Remedy]:
    """What becomes of all that takes hold of parameters before they are wrapped."""
    found = list(_of_wraps(effects, holders))
    known = {r.switch.statement for r in found if r.switch is not None and r.taken.holder}
    for fact in holders.analysis.wraps.values():
        for taken, switch in handed_over(holders.results, fact):
            if switch.statement not in known:
                found.append(Remedy(taken, switch=switch))
    switches = [remedy.switch for remedy in found if remedy.switch is not None]
    whole = merged([above_units(holders.analysis, switch) for switch in switches])
    for remedy in found:
        yield replace(remedy, switch=next(whole)) if remedy.switch is not None else remedy


def _of_wraps(effects: Effects, holders: ParameterHolders) -> Iterator[Remedy]:
    """What becomes of what is seen to take hold of them, wrap by wrap."""
    analysis = holders.analysis
    finder = BeforeWrap(analysis, holders)
    found = [list(finder.taken(fact)) for fact in analysis.wraps.values()]
    named = [taken for each in found for taken in each if not taken.is_inside]
    inside = [taken for each in found for taken in each if taken.is_inside]
    done: set[int] = set()
    for each in found:
        groups: dict[int, list[TakenBeforeWrap]] = {}
        for taken in each:
            if taken.module.rewrite and not _is_seen_elsewhere(taken, named, inside):
                groups.setdefault(id(taken.below), []).append(taken)
        for key, group in groups.items():
            if key not in done:
                done.add(key)
                yield from _of_group(effects, holders, group)


def _is_seen_elsewhere(
    taken: TakenBeforeWrap, named: list[TakenBeforeWrap], inside: list[TakenBeforeWrap]
) -> bool:
    """Whether what may be inside of one wrap is wrapped by its name, or inside of a later one."""
    if not taken.is_inside:
        return False
    if any(t.statement is taken.statement and overlap(t.path, taken.path) for t in named):
        return True
    block = taken.module.block(taken.below)
    return any(
        t.statement is taken.statement
        and t.below in block
        and block.index(t.below) > block.index(taken.below)
        for t in inside
    )


def _of_group(
    effects: Effects, holders: ParameterHolders, group: list[TakenBeforeWrap]
) -> Iterator[Remedy]:
    """What becomes of all that precedes one wrap."""
    makers = _distinct(taken for taken in group if taken.holder is not None)
    lists = _needed([taken for taken in group if taken.holder is None], makers)
    found = _distinct([*makers, *lists])
    seeds = sorted(found, key=lambda taken: taken.statement.lineno)
    if not seeds:
        return
    first = seeds[0]
    try:
        moved = _moved(effects, holders, seeds)
    except CannotMove as error:
        yield from _switched(holders, [*lists, *makers], str(error))
        return
    others = [taken.statement for taken in seeds if taken is not first]
    yield Remedy(first, tuple(statement for statement in moved if statement not in others))
    for taken in seeds[1:]:
        yield Remedy(taken, (taken.statement,))


def _switched(
    holders: ParameterHolders, seeds: list[TakenBeforeWrap], reason: str
) -> Iterator[Remedy]:
    """What keeps parameters stays where it is, and is handed the new ones below the wrap."""
    needed = [taken for taken in seeds if taken.holder is not None or taken.crossing]
    needed = sorted(needed, key=lambda taken: taken.statement.lineno)
    switches = [_new_parameters(holders, taken) for taken in needed]
    told: set[ast.stmt] = set()
    for taken, switch in zip(needed, switches, strict=True):
        beside = [
            s for t, s in zip(needed, switches, strict=True) if t.statement is taken.statement
        ]
        failed = any(other is None for other in beside)
        if not failed or taken.statement not in told:
            yield Remedy(taken, switch=None if failed else switch, reason=reason)
        told.add(taken.statement)


def _new_parameters(holders: ParameterHolders, taken: TakenBeforeWrap) -> Switch | None:
    """What hands the new parameters to that which keeps the old ones."""
    if taken.is_inside:
        return None  # what is wrapped may have more parameters, or others
    if taken.holder is not None:
        return find_switch(holders.analysis, taken)
    return find_remap(holders.kept, taken)


def _distinct(group: Iterable[TakenBeforeWrap]) -> list[TakenBeforeWrap]:
    return list({id(taken.statement): taken for taken in group}.values())


def _needed(lists: list[TakenBeforeWrap], makers: list[TakenBeforeWrap]) -> list[TakenBeforeWrap]:
    """Those that keep parameters which are in use after the wrap, be it by way of others."""
    needed = [taken for taken in lists if taken.crossing]
    while True:
        read = {path for taken in [*makers, *needed] for path in reads(taken.statement)}
        more = [t for t in lists if t not in needed and touches(t.names, read)]
        if not more:
            return needed
        needed += more


def _moved(
    effects: Effects, holders: ParameterHolders, seeds: list[TakenBeforeWrap]
) -> list[ast.stmt]:
    """The statements that go below the wrap, in their order.

    Raises:
        CannotMove: something would notice, or would still hold the old parameters.
    """
    first = seeds[0]
    statements = [taken.statement for taken in seeds]
    for taken in seeds:
        statements += [s for s in _sources(holders.analysis, taken) if s not in statements]
    module, below, inner = first.module, first.below, first.wrap.inner
    if below in statements:
        raise CannotMove("it is built in the statement that wraps the model")
    if any(taken.is_inside and taken.wrapping.inner is not None for taken in seeds):
        raise CannotMove("what wraps the model may change it first")
    filled = holders.kept.flow.frame(module, module.scope(below)).made
    move = Move(
        holders.analysis, effects, module, statements, below, first.path, inner, filled
    ).statements()
    shared = {path for s in move for path in binds(s) if "." in path or below in module.tree.body}
    if shared and not all(only_wraps(holders.analysis, t.wrapping, shared) for t in seeds):
        raise CannotMove("what wraps the model may use it")
    for taken in seeds:
        left = _leaves_behind(holders, taken, move)
        if left is not None:
            raise CannotMove(f"`{left}` holds parameters from before")
    return move


def _sources(analysis: Analysis, taken: TakenBeforeWrap) -> Iterator[ast.stmt]:
    """The statements above that take of the model what `taken` reads."""
    block = taken.module.block(taken.below)
    wanted = set(reads(taken.statement))
    for statement in reversed(block[: block.index(taken.statement)]):
        bound = binds(statement)
        if touches(bound, [taken.path]):
            if keeps_model(analysis, statement, taken.path):
                continue
            return
        if touches(bound, wanted):
            wanted |= reads(statement)
            if loads(statement, taken.path):
                yield statement


def _leaves_behind(
    holders: ParameterHolders, taken: TakenBeforeWrap, moved: list[ast.stmt]
) -> str | None:
    """A variable with old parameters that moved statements read and that would not move."""
    bound = {path for statement in moved for path in binds(statement)}
    bound |= _filled_below(holders, taken, moved)
    for node in (n for statement in moved for n in nodes_in(statement)):
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        path = path_of(node)
        if path is None or path in bound or touches([path], [taken.path]):
            continue
        held = holders.params_in(holders.analysis.value(node)) & taken.wrap.inner
        if held and path in reads(taken.module.statement(node)):
            return path
        if _is_made_of_model(taken, path):
            return path
    return None


def _filled_below(
    holders: ParameterHolders, taken: TakenBeforeWrap, moved: list[ast.stmt]
) -> set[str]:
    """The lists that stay above, as nothing but moved statements puts parameters into them."""
    inside = {node for statement in moved for node in nodes_in(statement)}
    filled, others = set[str](), set[str]()
    for statement, paths in holders.kept.flow.frame(taken.module, taken.taker.scope).made.items():
        (filled if statement in inside else others).update(paths)
    return filled - others


def _is_made_of_model(taken: TakenBeforeWrap, path: str) -> bool:
    """Whether `path` is bound above the wrap by a statement that reads the model."""
    return any(
        isinstance(statement, ast.Assign)
        and statement.lineno < taken.below.lineno
        and path in binds(statement)
        and loads(statement, taken.path)
        for statement in own_nodes(taken.taker.scope)
    )
