"""An optimizer that is built before the wrap goes below it.

https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html

`fully_shard` puts new parameters in the place of the old ones.  An optimizer that holds the old
ones finds no gradients in them, updates nothing, and says nothing.  The statements that build
the optimizer, its scheduler and its groups go below the wrap, where nothing notices; where
something would, the optimizer is handed the new parameters instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fsdp_migrate.analysis.values import Unknown, Wrapped, constants
from fsdp_migrate.findings.finding import (
    Edit,
    Finding,
    Fix,
    InsertStatements,
    MoveStatement,
    Safety,
    Tier,
)
from fsdp_migrate.lowering.before_wrap import Early, Frame, Order, loads, outward
from fsdp_migrate.lowering.moving import Move, Stays
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds, own_nodes, path_of, reads, touches

SWITCH = """\
{sharded} = dict(zip({unsharded}, {model}.parameters()))
for {group} in {optimizer}.param_groups:
    {group}["params"] = [{sharded}.get(p, p) for p in {group}["params"]]"""


def survey(facts: Facts) -> Iterable[Finding]:
    """Look for optimizers and lists of parameters above every wrap."""
    if not facts.solver.wraps:
        return
    order = facts.order
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
    statements = [early.statement for early in seeds]
    for early in seeds:
        statements += [s for s in _sources(order, early) if s not in statements]
    try:
        move = Move(
            order, first.module, statements, first.below, first.path, first.wrap.inner
        ).statements()
        for early in seeds:
            left = _leaves_behind(order, early, move)
            if left is not None:
                raise Stays(f"`{left}` holds parameters from before")
    except Stays as reason:
        for early in seeds:
            yield _switched(facts, order, early, str(reason))
        return
    span = first.module.span
    below = span(first.below)
    others = [early.statement for early in seeds if early is not first]
    for early in seeds:
        mine = [early.statement]
        if early is first:
            mine = [statement for statement in move if statement not in others]
        yield _finding(
            facts,
            early,
            f"built before the model is wrapped in line {early.below.lineno}, it goes below",
            Tier.NATIVE,
            [MoveStatement(span(statement), below) for statement in mine],
        )


def _sources(order: Order, early: Early) -> Iterator[ast.stmt]:
    """The statements above that take of the model what `early` reads."""
    block = early.module.block(early.below)
    wanted = set(reads(early.statement))
    for statement in reversed(block[: block.index(early.statement)]):
        bound = binds(statement)
        if touches(bound, [early.path]):
            if order.keeps_model(statement, early.path):
                continue
            return
        if touches(bound, wanted):
            wanted |= reads(statement)
            if loads(statement, early.path):
                yield statement


def _leaves_behind(order: Order, early: Early, moved: list[ast.stmt]) -> str | None:
    """A variable with old parameters that moved statements read and that would not move."""
    bound = {path for statement in moved for path in binds(statement)}
    inner = early.wrap.inner
    for node in (n for statement in moved for n in ast.walk(statement)):
        path = path_of(node)
        if path is None or not isinstance(getattr(node, "ctx", None), ast.Load):
            continue
        if path in bound or touches([path], [early.path]):
            continue
        if order.params_in(order.solver.value(node)) & inner and path in reads(
            early.module.statement(node)
        ):
            return path
        for statement in own_nodes(early.taker.scope):
            if isinstance(statement, ast.Assign) and statement.lineno < early.below.lineno:
                if path in binds(statement) and loads(statement, early.path):
                    return path
    return None


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
    switch = _switch(order, early) if early.call is not None else None
    if switch is not None:
        home, edits = switch
        message = f"{where}, it is handed the sharded parameters"
        return _finding(facts, early, message, Tier.NATIVE, edits, home)
    message = (
        f"{where}, it keeps parameters that fully_shard replaces and would never train: "
        f"build it after the wrap ({reason})"
    )
    return _finding(facts, early, message, Tier.MANUAL)


def _switch(order: Order, early: Early) -> tuple[Module, list[Edit]] | None:
    """The edits around the wrap, where model and optimizer have a name: here or further in."""
    assert early.call is not None
    named = dict(_names(order, early, early.call))
    frame: Frame | None = early.wrapping
    while frame is not None:
        for model in sorted(frame.paths) if _is_only_way(order, frame, early.wrapping) else ():
            for optimizer in sorted(_called_here(frame, early.wrapping, named)):
                edits = _around(frame, model, optimizer)
                if edits is not None:
                    return frame.module, edits
        frame = frame.inner
    return None


def _is_only_way(order: Order, frame: Frame, outer: Frame) -> bool:
    """Whether `frame` runs for `outer` alone, so that what is added there is for it alone."""
    step: Frame | None = outer
    while step is not None and step is not frame:
        step = step.inner
        if (
            step is not None
            and len(order.solver.call_graph.callers_of(step.module.site(step.scope))) != 1
        ):
            return False
    return True


def _around(frame: Frame, model: str, optimizer: str) -> list[Edit] | None:
    """The edits around the statement of one frame, if nothing in it needs them earlier."""
    statement, module = frame.statement, frame.module
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        return None
    if loads(statement, optimizer) or optimizer in binds(statement) or not module.rewrite:
        return None
    if not loads(statement, model) or _shares_line(module, statement):
        return None
    names = {name: _fresh(module, name) for name in ("unsharded", "sharded", "group")}
    text = SWITCH.format(model=model, optimizer=optimizer, **names)
    before = f"{names['unsharded']} = list({model}.parameters())"
    span = module.span(statement)
    return [InsertStatements(span, before), InsertStatements(span, text, after=True)]


def _names(order: Order, early: Early, call: ast.Call) -> Iterator[tuple[str, Frame]]:
    """What the optimizer is called where it is built, said as in the frame of `early`."""
    made = frozenset(a for a in order.solver.value(call) if not isinstance(a, Unknown))
    frame: Frame | None = early.taker
    while frame is not None:
        statement = frame.statement
        own = isinstance(statement, ast.Assign) and statement.value is call
        for path in sorted(binds(statement)):
            if own or any(
                order.solver.value(node) & made
                for node in ast.walk(frame.module.tree)
                if path_of(node) == path and isinstance(getattr(node, "ctx", None), ast.Load)
            ):
                outside = outward(frame, path, early.taker)
                if outside is not None:
                    yield outside, frame
        frame = frame.inner


def _called_here(frame: Frame, outer: Frame, named: Mapping[str, Frame]) -> Iterator[str]:
    """What the optimizer is called in `frame`, given its names in `outer`."""
    if frame is outer:
        yield from named
        return
    function = frame.scope
    if not isinstance(function, ast.FunctionDef):
        return
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        outside = outward(frame, argument.arg, outer)
        for name in named:
            if outside is not None and (name == outside or name.startswith(f"{outside}.")):
                yield argument.arg + name[len(outside) :]


def _shares_line(module: Module, statement: ast.stmt) -> bool:
    block = module.block(statement)
    return any(s.lineno == statement.lineno for s in block if s is not statement)


def _fresh(module: Module, name: str) -> str:
    while name in module.bound_names:
        name = f"fsdp_{name}"
    return name


# ---------------------------------------------------------------------- what is said
def _finding(
    facts: Facts,
    early: Early,
    message: str,
    tier: Tier,
    edits: Iterable[Edit] = (),
    home: Module | None = None,
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
    result = finding_at(
        RULE,
        early.module,
        early.statement,
        f"{kind}: {message}",
        tier=tier,
        edits=edits,
        safety=safety if tier is Tier.NATIVE else Safety.SAFE,
        units=facts.units([Wrapped(early.wrap.site)]),
    )
    if result.fix is not None and home is not None:
        fix = Fix({home.path: tuple(edits)}, {}, result.safety)
        result = replace(result, fix=fix)
    return result


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
