"""An optimizer is handed the sharded parameters, around the statement that shards them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library_results import LibraryResults, Role
from fsdp_migrate.analysis.values import Unknown, Value
from fsdp_migrate.findings.code import Code, Kept, Part, block, code, loop_variable, variable
from fsdp_migrate.findings.edits import Edit, InsertStatements
from fsdp_migrate.lowering.before_wrap import TakenBeforeWrap, bound_anew, loads
from fsdp_migrate.lowering.running_order import only_wraps
from fsdp_migrate.lowering.steps import Step, named_outside, steps_outwards
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, path_of, reads, touches

UNSHARDED, SHARDED, GROUP = variable("unsharded"), variable("sharded"), variable("group")
PARAMETER = loop_variable("p")


@dataclass(frozen=True)
class Switch:
    """What hands the sharded parameters to that which keeps the old ones, around one statement."""

    module: Module
    statement: ast.stmt  # that shards the model
    model: Kept
    lines: tuple[Code, ...]  # below it, where the new parameters are known by the old ones
    above: ast.stmt | None = None  # that shards units of the model before, in the same block

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of the file; none where another switch has taken the lines over."""
        if not self.lines:
            return ()
        names: dict[str, Part] = {"unsharded": UNSHARDED, "model": self.model}
        before = code("{unsharded} = list({model}.parameters())", **names)
        pairs = code(
            "{sharded} = dict(zip({unsharded}, {model}.parameters()))", sharded=SHARDED, **names
        )
        first = self.module.span(self.above or self.statement)
        span, after = self.module.span(self.statement), block(pairs, *self.lines)
        return InsertStatements(first, before), InsertStatements(span, after, after=True)


def switch_at(
    step: Step, model: str, lines: tuple[Code, ...], kept: Iterable[str]
) -> Switch | None:
    """The switch around the statement of one step; None if it may need what is kept itself."""
    statement, module = step.statement, step.module
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr) or not module.rewrite:
        return None
    if any(loads(statement, path) or path in binds(statement) for path in kept):
        return None
    if step.inner is not None and touches(reads(statement), kept):
        return None
    if not loads(statement, model) or _shares_line(module, statement):
        return None
    said = _said(module, statement, model)
    return Switch(module, statement, said, lines) if said is not None else None


def above_units(analysis: Analysis, switch: Switch) -> Switch:
    """`switch`, with the old parameters noted before the first of the model's units is sharded."""
    module, model = switch.module, path_of(_node(switch)) or ""
    siblings = module.block(switch.statement)
    before = siblings[: siblings.index(switch.statement)]
    wrapping = {
        pair[0]
        for fact in analysis.wraps.values()
        for step in steps_outwards(analysis.call_graph, fact.module, fact.node, frozenset())
        if step.module is module and step.scope is module.scope(switch.statement)
        if (pair := common_block(module, step.statement, switch.statement)) is not None
    }
    above: ast.stmt | None = None
    for statement in reversed(before):
        if model in bound_anew(statement):
            break
        if statement in wrapping and touches(reads(statement), [model]):
            above = statement
    return replace(switch, above=above)


def _node(switch: Switch) -> ast.expr:
    """How the model is called in the statement of a switch."""
    return next(
        node
        for node in nodes_in(switch.statement)
        if isinstance(node, ast.expr) and switch.module.span(node) == switch.model.span
    )


def merged(switches: Sequence[Switch]) -> Iterator[Switch]:
    """`switches` in their order, with all lines for one statement in the first one for it."""
    done: set[ast.stmt] = set()
    for switch in switches:
        beside = [other for other in switches if other.statement is switch.statement]
        lines = tuple(dict.fromkeys(line for other in beside for line in other.lines))
        yield replace(switch, lines=() if switch.statement in done else lines)
        done.add(switch.statement)


def find_switch(analysis: Analysis, taken: TakenBeforeWrap) -> Switch | None:
    """The switch around the wrap, where model and optimizer have a name: here or further in."""
    if taken.holder is None or not taken.holder.is_optimizer:
        return None
    call = taken.holder.call
    named = dict(_names(analysis, taken, call))
    results = LibraryResults(analysis)
    for step in taken.wrapping.inwards():
        found = set(_by_value(results, step, taken.wrapping, call))
        if is_only_way(analysis, step, taken.wrapping):
            found |= set(called_here(step, taken.wrapping, named))
        for model in sorted(step.paths):
            for optimizer in sorted(found):
                switch = _around(step, model, optimizer)
                if switch is not None and only_wraps(analysis, step, [optimizer]):
                    return switch
    return None


def _by_value(results: LibraryResults, step: Step, outer: Step, call: ast.Call) -> Iterator[str]:
    """What the optimizer that `call` makes is called in `step`, where nothing else is called so.

    Whoever else calls the function passes an optimizer there too: it may be handed new parameters
    just as well.
    """
    analysis, function = results.analysis, step.scope
    made = frozenset(a for a in analysis.value(call) if not isinstance(a, Unknown))
    if not made or not isinstance(function, ast.FunctionDef):
        return
    arguments = [a.arg for a in [*function.args.args, *function.args.kwonlyargs]]
    values: dict[str, Value] = {}
    for node in nodes_in(step.module.tree):
        path = path_of(node) if isinstance(node, ast.Name | ast.Attribute) else None
        head, _, rest = (path or "").partition(".")
        if path is None or head not in arguments or not isinstance(node.ctx, ast.Load):  # type: ignore[attr-defined]
            continue
        if not rest and step.module.function(node) is not function:
            continue
        values[path] = values.get(path, frozenset()) | analysis.value(node)
    for path, value in values.items():
        optimizers = all(results.role(atom) is Role.OPTIMIZER for atom in value)
        if value & made and optimizers and ("." not in path or _is_bound(path, step, outer)):
            yield path


def _is_bound(path: str, step: Step, outer: Step) -> bool:
    """Whether an attribute is there when `step` runs, on the way from `outer`."""
    for on_the_way in outer.inwards():
        nodes = [n for n in own_nodes(on_the_way.scope) if isinstance(n, ast.Assign)]
        if any(
            path in binds(n) and common_block(on_the_way.module, n, on_the_way.statement)
            for n in nodes
        ):
            return True
        if on_the_way is step:
            break
    return False


def is_only_way(analysis: Analysis, step: Step, outer: Step) -> bool:
    """Whether `step` runs for `outer` alone, so that what is added there is for it alone."""
    for outside in outer.inwards():
        if outside is step or outside.inner is None:
            return True
        inner = outside.inner
        if len(analysis.call_graph.runs_of(inner.module.site(inner.scope))) != 1:
            return False
    return True


def _around(step: Step, model: str, optimizer: str) -> Switch | None:
    """What hands an optimizer the sharded parameters; None if that can't be said there."""
    said = _said(step.module, None, optimizer)
    if said is None:
        return None
    return switch_at(step, model, (new_groups(said),), {optimizer})


def new_groups(optimizer: Part) -> Code:
    """The statement that hands an optimizer the sharded parameters."""
    return code(
        "for {group} in {optimizer}.param_groups:\n"
        '    {group}["params"] = [{sharded}.get({p}, {p}) for {p} in {group}["params"]]',
        sharded=SHARDED,
        group=GROUP,
        p=PARAMETER,
        optimizer=optimizer,
    )


def _said(module: Module, inside: ast.stmt | None, path: str) -> Kept | None:
    """An expression of the file (or of a statement in it) that says `path`."""
    nodes = nodes_in(inside or module.tree)
    found = next((n for n in nodes if isinstance(n, ast.expr) and path_of(n) == path), None)
    return Kept(module.span(found)) if found is not None else None


def _shares_line(module: Module, statement: ast.stmt) -> bool:
    block = module.block(statement)
    return any(s.lineno == statement.lineno for s in block if s is not statement)


def _names(
    analysis: Analysis, taken: TakenBeforeWrap, call: ast.Call
) -> Iterator[tuple[str, Step]]:
    """What the optimizer is called where it is built, said as where it is taken."""
    made = frozenset(a for a in analysis.value(call) if not isinstance(a, Unknown))
    for step in taken.taker.inwards():
        statement = step.statement
        own = isinstance(statement, ast.Assign) and statement.value is call
        for path in sorted(binds(statement)):
            if own or any(
                path_of(node) == path and analysis.value(node) & made
                for node in nodes_in(step.module.tree)
                if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
            ):
                outside = named_outside(step, path, taken.taker)
                if outside is not None:
                    yield outside, step


def called_here(step: Step, outer: Step, named: Iterable[str]) -> Iterator[str]:
    """What is called in `step` that has the names `named` in `outer`."""
    if step is outer:
        yield from named
        return
    function = step.scope
    if not isinstance(function, ast.FunctionDef):
        return
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        outside = named_outside(step, argument.arg, outer)
        for name in named:
            if outside is not None and (name == outside or name.startswith(f"{outside}.")):
                yield argument.arg + name[len(outside) :]
