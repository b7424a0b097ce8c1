"""`functools.partial(FSDP, ...)`: a constructor call in two pieces.

Where the partial has a variable of its own that is only called, each call is one of the class
with all the arguments.  Else the partial becomes a function that shards what it is given, or a
partial of `fully_shard`, and its callers stay as they are.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Assignment, removable
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.values import Partial, Symbol, join
from fsdp_migrate.analysis.wraps import Argument, WrapFact, is_called_itself
from fsdp_migrate.lowering.arguments.keyword_dicts import UNSEEN
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.steady import is_local, is_steady
from fsdp_migrate.lowering.value_flow import flow_of
from fsdp_migrate.lowering.value_reads import PARTIAL, Act
from fsdp_migrate.lowering.wrap_plan import Shape, Units, WrapPlan
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

MODULE = "module"
DEFAULT = "FULL_SHARD"
DEVICE = "device_id"
# What may be done with a partial that becomes another function.
KNOWN = frozenset({Act.CALLED, Act.TESTED})
Arguments = Mapping[str, Argument]


@dataclass(frozen=True, eq=False)
class PartialWrap:
    """A partial of the class, and the calls by which it makes models."""

    node: ast.Call
    calls: tuple[WrapFact, ...]
    fact: WrapFact | None = None  # of a call that shards whatever the partial is called with
    inlined: tuple[WrapFact, ...] = ()  # the calls as those of the class, with all arguments
    definition: Assignment | None = None  # of the variable that is called then

    @property
    def facts(self) -> tuple[WrapFact, ...]:
        """The constructor calls that are planned in the place of the calls."""
        return self.inlined if self.fact is None else (self.fact,)


def partial_wraps(analysis: Analysis) -> Mapping[Site, PartialWrap]:
    """The partials of a program all of whose calls are known, by their places."""
    calls: dict[Site, list[WrapFact]] = defaultdict(list)
    for fact in analysis.wraps.values():
        for site in fact.partials:
            calls[site].append(fact)
    made = {site: _made(analysis, site, facts) for site, facts in calls.items()}
    found = {site: partial for site, partial in made.items() if partial is not None}
    while torn := [site for site, partial in found.items() if _is_torn(partial, found)]:
        found = {site: partial for site, partial in found.items() if site not in torn}
    return found


def _is_torn(partial: PartialWrap, found: Mapping[Site, PartialWrap]) -> bool:
    """Whether a call of it may be one of another partial that isn't among those `found`."""
    return any(site not in found for fact in partial.calls for site in fact.partials)


def _made(analysis: Analysis, site: Site, calls: Sequence[WrapFact]) -> PartialWrap | None:
    node = _node_at(analysis, site)
    given, kwargs = analysis.calls.get(site, ([], {}))
    seen = all(_is_seen(fact) and _is_by(analysis, fact, site) for fact in calls)
    if node is None or len(given) != 1 or len(node.args) != 1 or not seen:
        return None
    nodes = {k.arg: k.value for k in node.keywords if k.arg is not None}
    values = {n: Argument(nodes.get(n), value) for n, value in kwargs.items() if n != ANY}
    more = {n for fact in calls for n in _own(analysis, fact)}
    if more and any(_callees(analysis, fact) > 1 for fact in calls):
        return None
    definition = _definition(analysis, node, calls)
    spread = any(keyword.arg is None for keyword in node.keywords)
    if definition is not None and not spread and (len(calls) == 1 or more - UNSEEN):
        inlined = _inlined(analysis, calls, values)
        return PartialWrap(node, tuple(calls), inlined=inlined, definition=definition)
    others = any(analysis.value(fact.node.func) - {Partial(site)} for fact in calls)
    known = _is_only_called(analysis, site, calls)
    if more - UNSEEN and known and not spread and _means_the_same(analysis, node, calls):
        return PartialWrap(node, tuple(calls), inlined=_inlined(analysis, calls, values))
    if more - UNSEEN or (more and others) or not known:
        return None
    device = [fact.arguments[DEVICE] for fact in calls if DEVICE in _own(analysis, fact)]
    if device:  # the partial has none to give
        values[DEVICE] = replace(device[0], node=None)
    model = Argument(None, join(*(fact.inner for fact in calls)))
    module = analysis.project.modules[site.module]
    fact = WrapFact(site, module, node, True, {MODULE: model, **values}, ANY in kwargs)
    return PartialWrap(node, tuple(calls), fact)


def _node_at(analysis: Analysis, site: Site) -> ast.Call | None:
    node = analysis.call_nodes.get(site)
    made = node is not None and analysis.value(node.func) == {PARTIAL}
    return node if made else None


def _is_seen(fact: WrapFact) -> bool:
    """Whether all that a call gives can be seen."""
    starred = any(isinstance(a, ast.Starred) for a in fact.node.args)
    spread = any(k.arg is None for k in fact.node.keywords)
    return not (fact.direct or fact.contexts or fact.opaque or starred or spread)


def _is_by(analysis: Analysis, fact: WrapFact, site: Site) -> bool:
    """Whether a call is one of the partial itself, or hands it to what calls it."""
    given = (*fact.node.args, *(keyword.value for keyword in fact.node.keywords))
    return any(Partial(site) in analysis.value(node) for node in (fact.node.func, *given))


def _own(analysis: Analysis, fact: WrapFact) -> Arguments:
    """The arguments that a call gives beside the model itself."""
    if not is_called_itself(fact, analysis.value):
        return {}
    own = {k.arg for k in fact.node.keywords}
    return {n: a for n, a in fact.arguments.items() if n in own and n != MODULE}


def _callees(analysis: Analysis, fact: WrapFact) -> int:
    """How many ways to make a model a call may be one of."""
    return len(fact.partials) + (Symbol(FSDP1) in analysis.value(fact.node.func))


def _definition(analysis: Analysis, node: ast.Call, calls: Iterable[WrapFact]) -> Assignment | None:
    """The assignment that gives a partial the variable by which alone it is called."""
    callees: set[ast.AST] = set()
    found = None
    for fact in calls:
        callee = fact.node.func
        found = followed(fact.module, callee) if isinstance(callee, ast.Name) else None
        if found is None or found.value is not node:
            return None
        callees.add(callee)
    module = next(fact.module for fact in calls)
    if found is None or not removable(analysis, module, found, callees):
        return None
    values = [k.value for k in node.keywords if k.arg not in UNSEEN]
    steady = all(is_steady(analysis, module, n) for value in values for n in nodes_in(value))
    return found if steady or _is_next(module, found, calls) else None


def _is_next(module: Module, statement: ast.stmt, calls: Iterable[WrapFact]) -> bool:
    """Whether the statement below has all the calls."""
    block = module.block(statement)
    below = block[block.index(statement) + 1 :][:1]
    return all(module.statement(fact.node) in below for fact in calls)


def alias_of(analysis: Analysis, fact: WrapFact) -> Assignment | None:
    """The assignment that gives the class the variable by which only this call knows it."""
    callee = fact.node.func
    if not fact.direct or fact.partials or not isinstance(callee, ast.Name):
        return None
    found = followed(fact.module, callee)
    if found is None or not isinstance(found.value, ast.Name | ast.Attribute):
        return None
    return found if removable(analysis, fact.module, found, {callee}) else None


def _inlined(
    analysis: Analysis, calls: Iterable[WrapFact], values: Arguments
) -> tuple[WrapFact, ...]:
    """Calls of a partial as those of the class."""
    return tuple(
        replace(
            fact,
            direct=True,
            arguments={MODULE: fact.arguments[MODULE], **values, **_own(analysis, fact)},
        )
        for fact in calls
    )


def _means_the_same(analysis: Analysis, node: ast.Call, calls: Iterable[WrapFact]) -> bool:
    """Whether what a partial is given is the same at its calls, all of which are in its file."""
    itself = all(len(analysis.value(fact.node.func)) == 1 for fact in calls)
    if not itself or not all(node in fact.module.parents for fact in calls):
        return False
    module = next(fact.module for fact in calls)
    values = [k.value for k in node.keywords if k.arg not in UNSEEN]
    every = [inner for value in values for inner in nodes_in(value)]
    local = any(isinstance(n, ast.Name) and is_local(module, n) for n in every)
    return not local and all(is_steady(analysis, module, inner) for inner in every)


def _is_only_called(analysis: Analysis, site: Site, calls: Iterable[WrapFact]) -> bool:
    """Whether nothing is done with a partial but to call it, or to hand it to what does."""
    nodes = {fact.node for fact in calls}
    return all(
        (read.act is not Act.UNKNOWN) if read.inside else read.act in KNOWN or read.parent in nodes
        for read in flow_of(analysis).reads({Partial(site)})
    )


def by_partials(analysis: Analysis, plans: Sequence[WrapPlan], fact: WrapFact) -> WrapPlan:
    """What becomes of a call that is one of the partials with these `plans`."""
    plan, *others = plans
    given = fact.module.parents.get(fact.node)
    shape: Shape = "assign" if isinstance(given, ast.Assign) else "expression"
    units = plan.parts.units
    itself = Symbol(FSDP1) in analysis.value(fact.node.func)
    if others or itself:
        alike = all(other.parts.units == units for other in others)
        units = units if alike and (units is None or not itself) else Units()
    precision = next((p.parts.precision for p in plans if p.parts.precision is not None), None)
    members = frozenset({DEFAULT} if itself else ()).union(*(p.members for p in plans))
    residues = tuple(residue for p in plans for residue in p.parts.residues)
    parts = replace(plan.parts, units=units, precision=precision, residues=residues)
    return replace(
        plan,
        fact=fact,
        shape=shape,
        members=members if all(p.members for p in plans) else frozenset(),
        arguments={**plan.arguments, MODULE: fact.arguments[MODULE]},
        parts=replace(parts, absorbed=(), replaced=(), defined=()),
        reasons=tuple(reason for p in plans for reason in p.reasons),
        has_ignored=any(p.has_ignored for p in plans),
        casts_buffers=any(p.casts_buffers for p in plans),
        left_out=(),
        function=None,
        calls=(),
        through=plan,
    )
