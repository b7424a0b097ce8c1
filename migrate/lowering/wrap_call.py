"""One FSDP1 constructor call, lowered argument by argument.

Each argument becomes FSDP2's by itself: as it is written, as the value that it has become where it
is made, or by a small function of the runtime where only the run knows it.  What can't be taken
apart, as arguments that nobody sees, is a call of the shim's, which takes FSDP1's arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.values import NOTHING, Container, Result, Wrapped
from fsdp_migrate.analysis.wraps import Argument, WrapFact, is_called_back, may_call_another
from fsdp_migrate.findings.options import Style
from fsdp_migrate.lowering.absence import settings_left_out
from fsdp_migrate.lowering.arguments import LOWERINGS
from fsdp_migrate.lowering.arguments.buffer_dtype import casts_buffers
from fsdp_migrate.lowering.arguments.comm_hook import lower_comm_hook
from fsdp_migrate.lowering.arguments.device_and_mesh import device_type, with_default_mesh
from fsdp_migrate.lowering.arguments.ignored import check_ignored, may_ignore
from fsdp_migrate.lowering.arguments.initial_weights import initialised, is_empty_elsewhere
from fsdp_migrate.lowering.arguments.keyword_dicts import (
    THROUGH,
    is_from_outside,
    written_arguments,
)
from fsdp_migrate.lowering.arguments.sharding_strategy import members, with_chosen
from fsdp_migrate.lowering.born_strategies import members_at
from fsdp_migrate.lowering.born_values import NOTHING_BORN, BornValues
from fsdp_migrate.lowering.nesting import Nesting
from fsdp_migrate.lowering.origin import LONG
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.lowering.residues import (
    UNITS,
    left_to_run,
    units_share_mesh,
    with_sharding,
)
from fsdp_migrate.lowering.unit_inputs import get_parameter_dtype
from fsdp_migrate.lowering.wrap_functions import function_of
from fsdp_migrate.lowering.wrap_plan import ModelCall, Parts, Reason, Shape, WrapPlan
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds_names, path_of

CALL = ""  # the reason is the call itself, none of its arguments
LAST = ("param_init_fn", "sync_module_states")  # done to each unit, in this order


# Modules without a `forward`: FSDP1 only warned of them.
CONTAINERS = frozenset({"torch.nn.ModuleDict", "torch.nn.ModuleList"})


@dataclass(frozen=True)
class Lowered:
    """What came of the arguments: as far as the first reason why not, all of them after it."""

    parts: Parts
    reasons: tuple[Reason, ...] = ()


def plan_call(
    analysis: Analysis,
    program: ProgramFacts,
    nesting: Nesting,
    fact: WrapFact,
    style: Style = "native",
    born: BornValues = NOTHING_BORN,
    calls: tuple[WrapFact, ...] = (),
) -> WrapPlan:
    """What becomes of one call, or of a partial of the class, by which `calls` make models."""
    device = fact.arguments["device_id"].value if "device_id" in fact.arguments else NOTHING
    site = WrapSite(
        analysis=analysis,
        program=program,
        nesting=nesting,
        fact=fact,
        arguments=fact.arguments,
        members=members_at(born, fact) or members(fact),
        device_type=device_type(analysis, device),
        born=born,
        style=style,
        made_by=calls,
    )
    shape, function = _shape(site), None
    try:
        site, lowered = _lowered(site)
        if not lowered.reasons:
            shape, lowered = _checked(site, shape, lowered)
        if shape == "function" and not lowered.reasons:
            function, parts = function_of(site, lowered.parts)
            lowered = Lowered(parts)
    except NotNative as error:
        lowered = Lowered(Parts(), (Reason(CALL, str(error)),))
    parts = replace(lowered.parts, absorbed=(), replaced=()) if lowered.reasons else lowered.parts
    return WrapPlan(
        fact=fact,
        shape=shape,
        members=site.members,
        device_type=site.device_type,
        arguments=site.arguments,
        parts=parts,
        reasons=lowered.reasons,
        unknown=tuple(sorted(set(fact.arguments) - set(LOWERINGS))),
        has_ignored=may_ignore(analysis, fact),
        casts_buffers=_leaves_precision(lowered) and casts_buffers(site),
        left_out=() if lowered.reasons else settings_left_out(site, parts),
        function=function,
        calls=calls,
    )


def _leaves_precision(lowered: Lowered) -> bool:
    """Whether the dtype of buffers is that of an object of FSDP1's kind."""
    left = lowered.parts.precision
    return bool(lowered.reasons) or (left is not None and left.fsdp1 is not None)


def _lowered(site: WrapSite) -> tuple[WrapSite, Lowered]:
    """The arguments of a call, lowered one by one.

    Raises:
        NotNative: they can't be seen, or the model is made in a way that has no native form.
    """
    fact = site.fact
    if not fact.direct and not is_called_back(fact, site.analysis.value):
        raise NotNative("the constructor is reached through a partial or `wrap`")
    if fact.contexts and site.style == "shim":
        raise NotNative("a context says how `wrap` is to shard")
    if fact.opaque:
        raise NotNative(_unseen(site))
    own = {fact.site, *(made.site for made in site.made_by)}
    if fact.inner and all(isinstance(a, Wrapped) and a.site not in own for a in fact.inner):
        raise NotNative("what it is given is sharded already, which FSDP2 does only once")
    if any(isinstance(a, Result) and a.symbol in CONTAINERS for a in fact.inner):
        raise NotNative("it may be a bare list or dict of modules, which fully_shard refuses")
    written = written_arguments(site.analysis, fact)
    site = replace(site, arguments=written.arguments)
    lost = site.program.parameter_attributes
    parts = Parts(absorbed=written.absorbed, attributes=lost.lost_by(fact), tied=lost.tied_by(fact))
    if not is_empty_elsewhere(site) and site.program.may_be_meta(fact.inner):
        parts = initialised(site, parts)
    reasons: list[Reason] = []
    names = [
        *(n for n in site.arguments if n not in LAST),
        *(n for n in LAST if n in site.arguments),
    ]
    for name in names:
        argument = site.arguments[name]
        try:
            if name not in LOWERINGS:
                raise NotNative(f"`{name}` has no native form")
            if name != "module" and argument.node is not None and binds_names(argument.node):
                raise NotNative(f"`{name}` binds a variable on the way")
            made = _argument(site, name, argument, parts)
        except NotNative as error:
            reasons.append(Reason(name, str(error)))
        else:
            parts = parts if reasons else made
    return site, Lowered(parts, tuple(reasons))


def _unseen(site: WrapSite) -> str:
    """Which arguments are not to be seen, and where they come from."""
    spread = [k.value for k in site.fact.node.keywords if k.arg is None]
    known = [n for n in spread if ANY not in _keys(site.analysis, n)]
    for node in spread:
        if node in known:
            continue
        text = site.module.text(node)
        what = f"`**{text}`" if len(text) <= LONG and "\n" not in text else "`**`"
        if is_from_outside(site.analysis, site.fact):
            return f"arguments come in through {what}, from callers that nobody here sees"
        return f"arguments come in through {what}, whose keys only the run knows"
    return THROUGH


def _keys(analysis: Analysis, node: ast.expr) -> frozenset[object]:
    """The keys that a dict can have; `ANY` where they aren't known."""
    found: set[object] = set()
    for atom in analysis.value(node):
        found |= analysis.item_keys(atom.site) if isinstance(atom, Container) else {ANY}
    return frozenset(found)


def _argument(site: WrapSite, name: str, argument: Argument, parts: Parts) -> Parts:
    """`parts` with an argument: natively, or by a function for what only the run knows."""
    try:
        return LOWERINGS[name](site, argument, parts)
    except NotNative as error:
        return left_to_run(site, name, argument, parts, str(error))


def _checked(site: WrapSite, shape: Shape, lowered: Lowered) -> tuple[Shape, Lowered]:
    """What only all arguments together decide.

    Raises:
        NotNative: they don't go together.
    """
    parts = lowered.parts
    try:
        check_ignored(parts)
        parts = _with_mesh(site, with_sharding(site, parts))
        parts = _with_batch_norm(site, _with_one_policy(site, parts))
        parts = lower_comm_hook(site, parts)
        _check_callee(site, parts)
        if shape == "expression" and _takes_statements(parts):
            hoistable = not site.made_by and _is_hoistable(site)
            if not hoistable and site.style == "shim":
                raise NotNative("the call is part of an expression")
            shape = "hoisted" if hoistable else "function"
    except NotNative as error:
        return shape, Lowered(parts, (Reason(CALL, str(error)),))
    return shape, Lowered(parts)


def _check_callee(site: WrapSite, parts: Parts) -> None:
    """See to it that a call which may be one of something else can stay as it is.

    Raises:
        NotNative: it would have to be another one.
    """
    fact, value = site.fact, site.analysis.value
    if site.made_by or not (may_call_another(fact, value) or is_called_back(fact, value)):
        return
    bare = replace(parts, absorbed=(), replaced=()) == Parts()
    given = len(fact.node.args) + len(fact.node.keywords)
    if not bare or (fact.direct and given > 1):
        raise NotNative(f"`{site.module.text(fact.node.func)}` may call something else than FSDP")


def _with_one_policy(site: WrapSite, parts: Parts) -> Parts:
    """`parts` that cast the inputs of all units, where those below the root are cast anyway."""
    precision, units = parts.precision, parts.units
    if precision is None or units is None or not precision.own_cast:
        return parts
    if not get_parameter_dtype(site.analysis, site.program, units.condition):
        return parts
    return replace(parts, precision=replace(precision, children_cast=True, child_policy=None))


def _with_batch_norm(site: WrapSite, parts: Parts) -> Parts:
    """`parts` that except BatchNorm layers from the precision, if there may be any.

    Raises:
        NotNative: the units are listed in a way that doesn't know of it.
    """
    precision, units = parts.precision, parts.units
    if precision is None or units is None:
        return parts
    why = site.program.may_hold_batch_norm(site.fact.inner)
    if not why:
        return parts
    if units.listed is not None and units.listed.function != UNITS:
        raise NotNative(why)
    return replace(parts, precision=replace(precision, batch_norm=True))


def _with_mesh(site: WrapSite, parts: Parts) -> Parts:
    try:
        if parts.chosen is not None:
            return with_chosen(site, parts)
        return parts if parts.sharding is not None else with_default_mesh(site, parts)
    except NotNative as error:
        return units_share_mesh(site, parts, str(error))


# ---------------------------------------------------------------------- where the call stands
def _shape(site: WrapSite) -> Shape:
    fact = site.fact
    parent = fact.module.parents.get(fact.node)
    if fact.contexts or site.made_by:
        return "expression"  # what `wrap` returns is the module that it is given, in either version
    if isinstance(parent, ast.Return):
        return "return"
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
        return "assign" if path_of(parent.targets[0]) is not None else "expression"
    return "expression"


def _takes_statements(parts: Parts) -> bool:
    """Whether what the call becomes is more than an expression."""
    casts = parts.precision is not None and parts.precision.casts_buffers
    ignores = parts.ignored is not None and isinstance(parts.ignored.parameters, ModelCall)
    several = (parts.units, parts.initial, parts.materialized)
    return casts or ignores or bool(parts.attributes) or any(p is not None for p in several)


def _is_hoistable(site: WrapSite) -> bool:
    """Whether the model may as well be sharded right above the statement that says so."""
    around = _around(site.module, site.fact.node)
    *brackets, statement = around
    plain = (ast.Assign, ast.AnnAssign, ast.Return, ast.Expr)
    kinds = (ast.Call, ast.Tuple, ast.List, ast.Dict, ast.keyword, ast.Starred)
    if not isinstance(statement, plain) or not all(isinstance(a, kinds) for a in brackets):
        return False
    if _shares_name(site, statement, around):
        return False
    wraps = {fact.node for fact in site.analysis.wraps.values()}
    calls = [n for n in nodes_in(statement) if isinstance(n, ast.Call) and n not in around]
    inside = {n for call in calls if call in wraps for n in nodes_in(call)}
    return all(call in inside for call in calls)


def _shares_name(site: WrapSite, statement: ast.AST, around: Collection[ast.AST]) -> bool:
    """Whether another model, made beside this one, would be called the same above the statement."""
    own = set(nodes_in(site.fact.node))
    unnamed = [
        fact.node
        for fact in site.analysis.wraps.values()
        if fact.module is site.module and _is_unnamed(fact)
    ]
    beside = [n for n in unnamed if n not in own and n not in around]
    inside = set(nodes_in(statement))
    return _is_unnamed(site.fact) and any(node in inside for node in beside)


def _is_unnamed(fact: WrapFact) -> bool:
    argument = fact.arguments.get("module")
    return argument is not None and argument.node is not None and path_of(argument.node) is None


def _around(module: Module, node: ast.AST) -> list[ast.AST]:
    """What is around `node`, up to its statement."""
    around: list[ast.AST] = []
    while not isinstance(node, ast.stmt):
        node = module.parents[node]
        around.append(node)
    return around
