"""An optimizer that is built before the wrap goes below it.

https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html

`fully_shard` puts new parameters in the place of the old ones.  An optimizer that holds the old
ones finds no gradients in them, updates nothing, and says nothing.  The statements that build
the optimizer, its scheduler and its groups go below the wrap, where nothing notices; where
something would, the optimizer is handed the new parameters instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.effects import binds, own_nodes, path_of, reads
from fsdp_migrate.facts import Module
from fsdp_migrate.findings import Edit, Finding, InsertStatements, MoveStatement, Safety, Tier
from fsdp_migrate.moving import Move, Stays
from fsdp_migrate.order import Early, Order, loads
from fsdp_migrate.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.values import Wrapped, constants

SWITCH = """\
{sharded} = dict(zip({unsharded}, {model}.parameters()))
for {group} in {optimizer}.param_groups:
    {group}["params"] = [{sharded}[{p}] for {p} in {group}["params"]]"""


def survey(facts: Facts) -> Iterable[Finding]:
    """Look for optimizers and lists of parameters above every wrap."""
    if not facts.solver.wraps:
        return
    order = Order(facts.solver)
    done: set[int] = set()
    for fact in facts.solver.wraps.values():
        groups: dict[int, list[Early]] = {}
        for early in order.early(fact):
            if early.module.rewrite:
                groups.setdefault(id(early.below), []).append(early)
        for group in groups.values():
            if id(group[0].below) not in done:
                done.add(id(group[0].below))
                yield from _settle(facts, order, group)


def _settle(facts: Facts, order: Order, group: list[Early]) -> Iterator[Finding]:
    """Deal with all that precedes one wrap."""
    makers = _distinct(early for early in group if early.call is not None)
    lists = _distinct(early for early in group if early.call is None and _is_needed(early, makers))
    seeds = sorted([*makers, *lists], key=lambda e: e.statement.lineno)
    if not seeds:
        return
    first = seeds[0]
    try:
        statements = [early.statement for early in seeds]
        move = Move(
            order, first.module, statements, first.below, first.path, first.wrap.inner
        ).statements()
    except Stays as reason:
        for early in seeds:
            yield _switched(facts, order, early, str(reason))
        return
    span = first.module.span
    below = span(first.below)
    for early in seeds:
        mine = [early.statement]
        if early is first:
            mine += [s for s in move if s not in statements]
        yield _finding(
            facts,
            early,
            f"built before the model is wrapped in line {early.below.lineno}, it goes below",
            Tier.NATIVE,
            [MoveStatement(span(statement), below) for statement in mine],
        )


def _distinct(group: Iterable[Early]) -> list[Early]:
    return list({id(early.statement): early for early in group}.values())


def _is_needed(early: Early, makers: list[Early]) -> bool:
    """Whether a list of parameters is in use after the wrap."""
    (name,) = binds(early.taker.statement)
    if any(name in reads(maker.statement) for maker in makers):
        return True
    end = early.below.end_lineno or 0
    return any(
        node.id == name and node.lineno > end
        for node in own_nodes(early.taker.scope)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


# ---------------------------------------------------------------------- where it can't be moved
def _switched(facts: Facts, order: Order, early: Early, reason: str) -> Finding:
    """Hand the optimizer the new parameters, or say why that is for a person to do."""
    where = f"built before the model is wrapped in line {early.below.lineno}"
    edits = _switch(order, early) if early.call is not None else None
    if edits is not None:
        return _finding(
            facts, early, f"{where}, it is handed the sharded parameters", Tier.NATIVE, edits
        )
    message = (
        f"{where}, it keeps parameters that fully_shard replaces and would never train: "
        f"build it after the wrap ({reason})"
    )
    return _finding(facts, early, message, Tier.MANUAL)


def _switch(order: Order, early: Early) -> list[Edit] | None:
    """The edits around the wrap, if model and optimizer have a name there."""
    frame, module = early.wrapping, early.module
    statement = frame.statement
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        return None
    assert early.call is not None
    optimizer = _name_of(order, early, early.call)
    if optimizer is None or loads(statement, optimizer) or _shares_line(module, statement):
        return None
    if not loads(statement, early.path) or optimizer in binds(statement):
        return None
    names = {name: _fresh(module, name) for name in ("unsharded", "sharded", "group", "p")}
    text = SWITCH.format(model=early.path, optimizer=optimizer, **names)
    before = f"{names['unsharded']} = list({early.path}.parameters())"
    span = module.span(statement)
    return [InsertStatements(span, before), InsertStatements(span, text, after=True)]


def _name_of(order: Order, early: Early, call: ast.Call) -> str | None:
    """What the optimizer is called after the statement that leads to it."""
    made = order.solver.value(call)
    bound = binds(early.taker.statement)
    for node in own_nodes(early.taker.scope):
        path = path_of(node)
        if path in bound and isinstance(getattr(node, "ctx", None), ast.Load):
            if order.solver.value(node) & made:
                return path
    return None


def _shares_line(module: Module, statement: ast.stmt) -> bool:
    block = module.block(statement)
    return any(s.lineno == statement.lineno for s in block if s is not statement)


def _fresh(module: Module, name: str) -> str:
    while name in module.bound_names:
        name = f"fsdp_{name}"
    return name


# ---------------------------------------------------------------------- what is said
def _finding(
    facts: Facts, early: Early, message: str, tier: Tier, edits: Iterable[Edit] = ()
) -> Finding:
    kind = "the optimizer" if early.call is not None else "the list of parameters"
    argument = early.wrap.arguments.get("use_orig_params")
    known = constants(argument.value) if argument is not None else [False]
    safety = Safety.SAFE
    if known == [False] and not early.wrap.opaque:
        safety = Safety.UNSAFE
        message += (
            "; FSDP1 without use_orig_params never updated anything this way, "
            "the migrated program trains"
        )
    elif known != [True]:
        safety = Safety.UNSAFE
        message += (
            "; with use_orig_params=False FSDP1 never updated anything this way, "
            "the migrated program trains"
        )
    return finding_at(
        RULE,
        early.module,
        early.statement,
        f"{kind}: {message}",
        tier=tier,
        edits=edits,
        safety=safety if tier is Tier.NATIVE else Safety.SAFE,
        units=facts.units([Wrapped(early.wrap.site)]),
    )


RULE = Rule(
    code="FSDP501",
    name="optimizer-order",
    summary="an optimizer built before the wrap goes below it",
    why=(
        "`fully_shard` replaces the parameters.  An optimizer that was built before holds the old "
        "ones: it never updates anything, without a message."
    ),
    fix_safety=(
        "Safe with `use_orig_params=True`, where FSDP1 trained: statements move only past others "
        "that they have nothing to do with.  Unsafe without it: FSDP1 trained nothing then, and "
        "the migrated program does."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model = FSDP(model, use_orig_params=True)
    return model, optimizer
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(model):
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return model, optimizer
""",
        ),
    ),
)
