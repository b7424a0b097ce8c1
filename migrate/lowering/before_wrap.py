"""What a program does to a model's parameters before it wraps the model.

The wrap and what precedes it may stand in functions of their own: both are followed up the
calls, to the block where one statement (leading to an optimizer) comes before another (leading
to the wrap), and both are about the same model by the same name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Atom, Method, Symbol, Unknown, Wrapped
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.foreign_groups import groups_of_others
from fsdp_migrate.lowering.kept_parameters import Kept, is_read_after
from fsdp_migrate.lowering.made_of import MadeOf, copies
from fsdp_migrate.lowering.module_names import wholes
from fsdp_migrate.lowering.modules_inside import modules_of
from fsdp_migrate.lowering.parameter_holders import Holder, ParameterHolders, parameter_calls
from fsdp_migrate.lowering.running_order import is_passed_in
from fsdp_migrate.lowering.steps import Step, other_names, steps_outwards
from fsdp_migrate.syntax.blocks import blocks_run_once, common_block
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, overlap, path_of, reads, touches

LEAVES = (ast.Return, ast.Raise)
LEAVES_LOOP = (ast.Continue, ast.Break)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True)
class TakenBeforeWrap:
    """A statement that takes hold of a model's parameters before the wrap replaces them."""

    wrap: WrapFact
    taker: Step  # leads to the optimizer, or takes the list of parameters
    wrapping: Step
    statement: ast.stmt  # around the taker's statement, in the block
    below: ast.stmt  # around the wrapping statement, in the same block
    path: str  # the model
    holder: Holder | None  # what makes the optimizer; None for a list of parameters
    kept: Kept | None = None  # what keeps the parameters, if no optimizer does
    is_handed: bool = False  # it is an optimizer of which only the use is known
    is_inside: bool = False  # the model at `path` may be in what is wrapped, under another name
    crossing: frozenset[str] = frozenset()  # those of its paths that are read after the wrap

    @property
    def names(self) -> frozenset[str]:
        """What the statement gives parameters to keep, by the names there."""
        if self.kept is None or self.kept.module is not self.module:
            return binds(self.statement)
        return self.kept.paths

    @property
    def module(self) -> Module:
        """Where both statements are."""
        return self.taker.module


class BeforeWrap:
    """Finds what takes hold of parameters before a wrap."""

    def __init__(self, analysis: Analysis, holders: ParameterHolders) -> None:
        self.analysis = analysis
        self.holders = holders
        self._made_of = MadeOf(analysis)

    def taken(self, fact: WrapFact) -> Iterator[TakenBeforeWrap]:
        """What takes hold of the parameters before the wrap of `fact`."""
        paths = self._wrapped_paths(fact)
        calls = self.analysis.call_graph
        wrapping = list(steps_outwards(calls, fact.module, fact.node, paths))
        parts, is_open = modules_of(self.analysis, fact)
        for holder in self.holders.all:
            known = {_whole(o) for o in holder.owners if not isinstance(o, Unknown)}
            if known and known.isdisjoint(parts) and not is_open:
                continue
            whose = wholes(holder.module.scope(holder.call), holder.paths)
            for taker in steps_outwards(calls, holder.module, holder.call, whose):
                for step in wrapping:
                    yield from self._matched(fact, taker, step, holder)
        for kept in self._kept(fact, wrapping):
            here = Step(kept.module, kept.statement, kept.owners)
            others = (name for path in kept.owners for name in other_names(path, here))
            whose = wholes(kept.module.scope(kept.statement), kept.owners.union(others))
            for taker in steps_outwards(calls, kept.module, kept.statement, whose):
                for step in wrapping:
                    for found in self._matched(fact, taker, step, None):
                        yield self._with_kept(found, kept, wrapping)

    def _kept(self, fact: WrapFact, wrapping: list[Step]) -> Iterator[Kept]:
        """What may keep parameters: variables beside a step to the wrap, attributes anywhere."""
        found = list(self.holders.kept.in_attributes())
        for step in wrapping:
            found += self.holders.kept.in_scope(step.module, step.scope)
            made_of = replace(step, paths=step.paths | self._made_of.sources(fact, step))
            found += groups_of_others(self.analysis, self.holders, made_of)
        done: set[tuple[ast.stmt, frozenset[str]]] = set()
        for kept in found:
            if (kept.statement, kept.paths) not in done:
                done.add((kept.statement, kept.paths))
                yield kept

    def _with_kept(
        self, found: TakenBeforeWrap, kept: Kept, wrapping: list[Step]
    ) -> TakenBeforeWrap:
        """`found`, with those paths of `kept` that are read when the wrap is done."""
        crossing = frozenset(
            path
            for path in kept.paths
            if is_read_after(self.analysis, kept, path, found.wrapping, wrapping)
        )
        return replace(found, kept=kept, crossing=crossing)

    def _wrapped_paths(self, fact: WrapFact) -> frozenset[str]:
        """How the model is called in the arguments of its wrap."""
        argument = fact.arguments.get("module")
        given: ast.AST = fact.node
        if argument is not None and argument.node is not None:
            given = argument.node
        path = path_of(given)
        if path is not None:
            return frozenset({path})
        found = set()
        for node in nodes_in(given):
            own = path_of(node)
            if own is not None and self.analysis.value(node) & fact.inner:
                found.add(own)
        return frozenset(found)

    def _matched(
        self, fact: WrapFact, taker: Step, wrapping: Step, holder: Holder | None
    ) -> Iterator[TakenBeforeWrap]:
        """The pair of steps, if the first is before the second and about the same model."""
        if taker.module is not wrapping.module or taker.scope is not wrapping.scope:
            return
        if _of_another_call(taker, wrapping):
            return
        siblings = common_block(taker.module, taker.statement, wrapping.statement)
        if siblings is None:
            if taker.statement is wrapping.statement:
                yield from self._in_one_statement(fact, taker, wrapping, holder)
            return
        before, below = siblings
        if not _runs_into(taker, before, wrapping, below):
            return
        paths = taker.paths & wrapping.paths or _overlapping(wrapping.paths, taker.paths)
        if not paths:
            own = frozenset(path for path, _ in parameter_calls(taker.statement))
            paths = (own | binds(taker.statement)) & wrapping.paths
        for path in sorted(paths):
            if self._is_same_model(taker.module, before, below, path, Wrapped(fact.site)):
                yield TakenBeforeWrap(fact, taker, wrapping, before, below, path, holder)
                return
        made_of = self._made_of.sources(fact, wrapping)
        for path in sorted(_overlapping(taker.paths, made_of)):
            if self._may_be_inside(taker.module, before, below, path, Wrapped(fact.site)):
                yield TakenBeforeWrap(
                    fact, taker, wrapping, before, below, path, holder, is_inside=True
                )
                return

    def _in_one_statement(
        self, fact: WrapFact, taker: Step, wrapping: Step, holder: Holder | None
    ) -> Iterator[TakenBeforeWrap]:
        """The pair of steps in one statement: what is taken is passed to what wraps."""
        call = taker.call if holder is None or taker.call is not None else holder.call
        place = call if call is not None else taker.statement
        if not is_passed_in(taker.module, place, wrapping):
            return
        paths = _overlapping(wrapping.paths, taker.paths)
        argument = fact.arguments.get("module")
        made = argument is not None and argument.node is taker.call and taker.call is not None
        same = holder is not None and any(
            not isinstance(owner, Unknown) for owner in holder.owners & fact.inner
        )
        if made or (same and not paths):
            paths = frozenset({""})  # it is made there, and has no name yet
        for path in sorted(paths):
            yield TakenBeforeWrap(
                fact, taker, wrapping, taker.statement, taker.statement, path, holder
            )
            return

    def _is_same_model(
        self, module: Module, before: ast.stmt, below: ast.stmt, path: str, wrapped: Wrapped
    ) -> bool:
        """Whether `path` is the bare model at `before`, and still that model at `below`."""
        if self._is_wrapped(before, path, wrapped):
            return False
        return all(
            keeps_model(self.analysis, statement, path)
            for statement in _between(module, before, below)
            if _leads(bound_anew(statement), path)
        )

    def _may_be_inside(
        self, module: Module, before: ast.stmt, below: ast.stmt, path: str, wrapped: Wrapped
    ) -> bool:
        """Whether what is wrapped may be made of that which `path` is at `before`."""
        if self._is_wrapped(before, path, wrapped):
            return False
        for statement in _between(module, before, below):
            if _leads(bound_anew(statement), path):
                value = getattr(statement, "value", None)
                is_copy = value is not None and copies(self.analysis, value)
                return not is_copy and touches(reads(statement), [path])  # made of it, not anew
        return True

    def _is_wrapped(self, statement: ast.stmt, path: str, wrapped: Wrapped) -> bool:
        """Whether `path` is not the bare model any more where `statement` reads it."""
        return "." not in path and any(
            path_of(node) == path and wrapped in self.analysis.value(node)
            for node in nodes_in(statement)
        )


def _of_another_call(taker: Step, wrapping: Step) -> bool:
    """Whether two calls of one function lead there, each of which makes a model of its own."""
    inner = taker.inner
    if inner is None or wrapping.inner is None or taker.call is wrapping.call:
        return False
    function = inner.scope
    if function is not wrapping.inner.scope or not isinstance(function, ast.FunctionDef):
        return False
    given = {node.arg for node in nodes_in(function.args) if isinstance(node, ast.arg)}
    bound = frozenset[str]().union(*map(binds, function.body))
    outer = {
        name
        for node in nodes_in(function)
        if isinstance(node, ast.Global | ast.Nonlocal)
        for name in node.names
    }
    heads = {path.partition(".")[0] for path in inner.paths}
    return bool(heads) and heads <= bound - given - outer


def _between(module: Module, before: ast.stmt, below: ast.stmt) -> list[ast.stmt]:
    block = module.block(before)
    return block[block.index(before) + 1 : block.index(below)]


def _whole(owner: Atom) -> Atom:
    """The module whose parameters are taken, or of which it is a part."""
    while isinstance(owner, Method):
        owner = owner.receiver
    return owner


def keeps_model(analysis: Analysis, statement: ast.stmt, path: str) -> bool:
    """Whether `statement` binds `path` to the model that it was, as `m = m.cuda()` does."""
    blocks = list(blocks_run_once(statement))
    if blocks:
        inside = [s for block in blocks for s in block]
        head = binds(statement) - frozenset().union(*map(binds, inside))
        binding = [s for s in inside if _leads(binds(s), path)]
        return not _leads(head, path) and all(keeps_model(analysis, s, path) for s in binding)
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    called = statement.value if isinstance(statement.value, ast.Call) else None
    is_target = path_of(statement.targets[0]) == path
    return is_target and called is not None and _gives_back(analysis, called, path)


def _gives_back(analysis: Analysis, call: ast.Call, path: str) -> bool:
    """Whether `call` gives the model at `path`: by a method of it, or compiled."""
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if receiver is not None and path_of(receiver) == path:
        return bool(analysis.value(call) & analysis.value(receiver))
    compiled = Symbol("torch.compile") in analysis.value(call.func)
    return compiled and bool(call.args) and path_of(call.args[0]) == path


def bound_anew(statement: ast.stmt) -> frozenset[str]:
    """What a statement binds, without that into which it only puts an item: `net[0] = block`."""
    stores = [n for n in nodes_in(statement) if isinstance(getattr(n, "ctx", None), ast.Store)]
    filled = {path_of(node.value) for node in stores if isinstance(node, ast.Subscript)}
    return binds(statement) - (filled - {path_of(node) for node in stores})


def _leads(bound: Iterable[str], path: str) -> bool:
    """Whether one of the paths `bound` is `path`, or the start of it."""
    return any(b == path or path.startswith(f"{b}.") for b in bound)


def _runs_into(taker: Step, before: ast.stmt, wrapping: Step, below: ast.stmt) -> bool:
    """Whether the program can get from the taker to the wrap with what was taken in use."""
    if isinstance(taker.statement, ast.Return):
        return False
    module = taker.module
    node = taker.statement
    while node is not before:
        block = module.block(node)
        leaves = LEAVES if _loops_inside(module, node, before) else LEAVES + LEAVES_LOOP
        if any(isinstance(s, leaves) for s in block[block.index(node) :]):
            return False
        node = next(a for a in module.ancestors(node) if isinstance(a, ast.stmt))
    inside = before is not taker.statement and not isinstance(before, LOOPS)
    if inside and below is not wrapping.statement:
        if not isinstance(before, ast.If) or not isinstance(below, ast.If):
            return False
        if not same(before.test, below.test):
            return False
    return not _is_built_anew(taker, wrapping)


def _loops_inside(module: Module, node: ast.stmt, before: ast.stmt) -> bool:
    """Whether the loop around `node` is `before`, or stands in it."""
    for around in module.ancestors(node):
        if isinstance(around, LOOPS):
            return True
        if around is before:
            return False
    return False


def _overlapping(wrapped: Iterable[str], taken: Iterable[str]) -> frozenset[str]:
    """The paths of what is wrapped that have to do with the models at the paths `taken`."""
    taken = list(taken)
    return frozenset(path for path in wrapped if any(overlap(path, other) for other in taken))


def _is_built_anew(taker: Step, wrapping: Step) -> bool:
    """Whether what was taken is bound again below the wrap before anything reads it."""
    targets = binds(taker.statement)
    block = taker.module.block(wrapping.statement)
    for later in block[block.index(wrapping.statement) + 1 :]:
        if targets & reads(later):
            return False
        if isinstance(later, ast.Assign) and targets & binds(later):
            return True
    return False


def loads(node: ast.AST, path: str) -> bool:
    """Whether `node` reads `path`, or something below it."""
    return any(read == path or read.startswith(f"{path}.") for read in reads(node))
