"""What becomes of `summon_full_params` where its body is understood."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.code import (
    Code,
    Kept,
    Literal,
    Name,
    Part,
    block,
    call,
    code,
    loop_variable,
    variable,
)
from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    LeaveContext,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.lowering.dtensor_state_dicts import DISTRIBUTE
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.forward_methods import REGISTER, wrap_statement
from fsdp_migrate.rule.queries.running import ends_early
from fsdp_migrate.rule.queries.summoned_births import is_surely_sharded
from fsdp_migrate.rule.queries.summoned_bodies import Body, body_of, loop_target
from fsdp_migrate.rule.queries.summoned_runs import CONDITIONS, Unclear
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

SIGNATURE = ("module", "recurse", "writeback", "rank0_only", "offload_to_cpu", "with_grads")
DTENSOR = Name("torch.distributed.tensor", "DTensor")
FSDP_MODULE = Name(ROOT, "FSDPModule")
WHOLE = variable("full_parameters")
UNIT = variable("module", "fsdp_module")
RESULT = variable("result")


@dataclass(frozen=True)
class Registered:
    """A method that is registered where the model is wrapped."""

    statement: ast.Assign
    model: ast.expr
    method: str


@dataclass(frozen=True, eq=False)
class Summon:
    """A `with` statement that makes parameters whole, and what its body does with them."""

    module: Module
    statement: ast.With
    item: ast.withitem
    model: ast.expr
    wraps: frozenset[Wrapped]
    to_cpu: bool
    body: Body
    recurses: bool = True
    registered: tuple[Registered, ...] = ()  # methods that gather the model's own parameters


@lru_cache(maxsize=1)
def native_summons(facts: Facts) -> frozenset[ast.Call]:
    """The contexts of the program that can go."""
    found: set[ast.Call] = set()
    for use in facts.uses:
        if short(use.name) == "summon_full_params" and use.call is not None:
            try:
                find_summon(use, facts)
            except Unclear:
                continue
            found.add(use.call)
    return frozenset(found)


def find_summon(use: Use, facts: Facts) -> Summon:
    """The statement around `use`.

    Raises:
        Unclear: something about it isn't known, or has no other form.
    """
    module, made = use.module, use.call
    item = module.parents.get(made) if made is not None else None
    if made is None or not isinstance(item, ast.withitem) or item.optional_vars is not None:
        raise Unclear("the context is kept as a value")
    statement = module.parents[item]
    if not isinstance(statement, ast.With):
        raise Unclear("the context is kept as a value")
    given = _given(use, made)
    model = given.get("module")
    if model is None or path_of(model) is None:
        raise Unclear("the model is made on the way")
    wraps, others = split(facts.analysis, facts.value(model))
    if not wraps or others:
        raise Unclear("the model may be another")
    flags = {name: _flag(facts, given.get(name), name) for name in SIGNATURE[1:]}
    if flags["with_grads"]:
        raise Unclear("gradients are made whole")
    body = body_of(facts, module, statement, wraps, units=flags["recurse"])
    if not flags["writeback"] and (body.edits or body.edited):
        raise Unclear("what is changed inside is dropped at the end")
    values = (*body.reads, *body.strange)
    if body.runs and (body.edits or body.edited or body.lists or values):
        raise Unclear("the model is run and its parameters are used")
    registered = tuple(_registered(facts, module, func) for func in body.beside)
    to_cpu = flags["offload_to_cpu"]
    found = Summon(
        module, statement, item, model, wraps, to_cpu, body, flags["recurse"], registered
    )
    lists = {listed for listed, _ in body.each} | {listed for listed, _, _ in body.copies}
    loops = {listed for listed in lists if isinstance(module.parents[listed], ast.For)}
    if not all(_is_direct(found, listed) for listed in loops):
        raise Unclear("parameters are changed or read on some ranks only")
    if any(_needs_hoisting(found, node) for node in body.reads):
        raise Unclear("a parameter is read on some ranks only")
    direct = all(_is_direct(found, each) for each in _read_lists(body))
    if (body.edits or body.edited) and (body.strange or not direct):
        raise Unclear("parameters are changed and read")
    return found


def _given(use: Use, made: ast.Call) -> dict[str, ast.expr]:
    args = list(made.args)
    if not args and use.receiver is not None:
        args = [use.receiver]
    if any(isinstance(each, ast.Starred) for each in args):
        raise Unclear("arguments come through a star")
    found = dict(zip(SIGNATURE, args, strict=False))
    for keyword in made.keywords:
        if keyword.arg is None:
            raise Unclear("arguments come through `**`")
        found[keyword.arg] = keyword.value
    return found


def _flag(facts: Facts, node: ast.expr | None, name: str) -> bool:
    if node is None:
        return name in ("recurse", "writeback")
    known = literals(facts.value(node))
    if known is None or len(known) != 1:
        raise Unclear(f"`{name}` is known only at run time")
    return bool(known[0])


def _registered(facts: Facts, module: Module, func: ast.Attribute) -> Registered:
    """The method as one that gathers the parameters of the model itself, where it is wrapped."""
    wrap = wrap_statement(facts, func.value)
    if wrap is None or wrap.module is not module:
        raise Unclear(f"`{func.attr}` may use parameters without a forward pass")
    return Registered(wrap.statement, wrap.model, func.attr)


# ---------------------------------------------------------------------- the edits
def edits_of(summon: Summon, facts: Facts) -> Iterator[Edit]:
    """The edits that do without the context."""
    module, body = summon.module, summon.body
    above: list[Code] = []
    for listed in _read_lists(body):
        if _is_direct(summon, listed):
            yield _in_loop(summon, listed)
        else:
            name = "values" if _method(listed) == "parameters" else "items"
            if not above:
                above.append(_all_of(summon))
            new = code("{whole}.items()", whole=WHOLE)
            if name == "values":
                new = code("{whole}.values()", whole=WHOLE)
            yield ReplaceExpression(module.span(listed), new)
    for read in (*body.reads, *body.strange, *(name for _, name in body.each)):
        yield ReplaceExpression(module.span(read), _read(summon, facts, read))
    for _, parameter, given in body.copies:
        yield ReplaceExpression(module.span(given), _cut(summon, parameter, given))
    for each in dict.fromkeys(summon.registered):
        new = call(REGISTER, Kept(module.span(each.model)), Literal(each.method))
        yield InsertStatements(module.span(each.statement), new, after=True)
    yield from _left(summon, facts, above)


def _left(summon: Summon, facts: Facts, above: list[Code]) -> Iterator[Edit]:
    """The edits that leave the context, with what stands before and after the body instead."""
    module = summon.module
    before, after = _around(summon, facts) if summon.body.runs else (None, None)
    last = summon.statement.body[-1]
    guarded = after is not None and ends_early(summon.statement)
    if after is not None and isinstance(last, ast.Return) and last.value is not None:
        if not any(ends_early(_as_with(each)) for each in summon.statement.body[:-1]):
            yield ReplaceStatement(
                module.span(last),
                code(
                    "{result} = {value}\n{after}\nreturn {result}",
                    result=RESULT,
                    value=Kept(module.span(last.value)),
                    after=after,
                ),
            )
            after, guarded = None, False
    first = block(*above, *([before] if before is not None else []))
    yield LeaveContext(
        module.span(summon.item.context_expr),
        before=first if above or before is not None else None,
        after=after,
        guarded=guarded,
    )


def _as_with(statement: ast.stmt) -> ast.With:
    return ast.With([], [statement])


def _read_lists(body: Body) -> list[ast.Call]:
    return [each for each in body.lists if each not in body.edited]


def _method(listed: ast.Call) -> str:
    return listed.func.attr if isinstance(listed.func, ast.Attribute) else ""


def _is_direct(summon: Summon, listed: ast.Call) -> bool:
    """Whether a list is gone through by a loop that every rank runs to its end."""
    loop = summon.module.parents[listed]
    target = loop_target(summon.module, listed)
    if not isinstance(loop, ast.For) or target is None or _needs_hoisting(summon, loop):
        return False
    leaves = any(isinstance(node, ast.Break | ast.Return | ast.Raise) for node in nodes_in(loop))
    return not leaves and _parameter_name(listed, target) is not None


def _parameter_name(listed: ast.Call, target: ast.expr) -> ast.Name | None:
    """The variable of a loop that is the parameter."""
    if _method(listed) == "named_parameters":
        pair = target.elts if isinstance(target, ast.Tuple) else []
        target = pair[1] if len(pair) == 2 else target
    return target if isinstance(target, ast.Name) else None


def _needs_hoisting(summon: Summon, node: ast.AST) -> bool:
    """Whether something between `node` and the statement may keep ranks from it."""
    child = node
    for around in summon.module.ancestors(node):
        if around is summon.statement:
            return False
        first = getattr(around, "test", None), getattr(around, "iter", None)
        if isinstance(around, (*CONDITIONS, ast.For)) and child not in first:
            return True
        child = around
    return False


def _read(summon: Summon, facts: Facts, node: ast.expr) -> Code:
    """A parameter as a whole; what may be another module's is left as it is."""
    kept = Kept(summon.module.span(node))
    whole = _whole(summon, kept)
    if node not in summon.body.strange or is_surely_sharded(facts, node):
        return whole
    return code(
        "{whole} if isinstance({value}, {dtensor}) else {value}",
        whole=whole,
        value=kept,
        dtensor=DTENSOR,
    )


def _whole(summon: Summon, parameter: Part) -> Code:
    full = code("{parameter}.full_tensor()", parameter=parameter)
    return code("{full}.cpu()", full=full) if summon.to_cpu else full


def _cut(summon: Summon, name: ast.Name, given: ast.expr) -> Code:
    """A whole tensor, cut up as the parameter is: each rank takes its part of its own."""
    return code(
        "{distribute}({given}, {p}.device_mesh, {p}.placements, src_data_rank={none})",
        distribute=DISTRIBUTE,
        given=Kept(summon.module.span(given)),
        p=Kept(summon.module.span(name)),
        none=Literal(None),
    )


def _in_loop(summon: Summon, listed: ast.Call) -> Edit:
    """The edit that makes each parameter whole where a loop comes to it."""
    module, loop = summon.module, summon.module.parents[listed]
    assert isinstance(loop, ast.For)
    name = _parameter_name(listed, loop.target)
    assert name is not None
    kept = Kept(module.span(name))
    new = code("{name} = {whole}", name=kept, whole=_whole(summon, kept))
    return InsertStatements(module.span(loop.body[0]), new)


def _all_of(summon: Summon) -> Code:
    """The dict of all parameters, on every rank."""
    parameter = loop_variable("p", "parameter")
    return code(
        "{whole} = {{{name}: {full} for {name}, {parameter} in {model}.named_parameters()}}",
        whole=WHOLE,
        name=loop_variable("name"),
        parameter=parameter,
        full=_whole(summon, parameter),
        model=Kept(summon.module.span(summon.model)),
    )


def _around(summon: Summon, facts: Facts) -> tuple[Code | None, Code | None]:
    """What keeps the units gathered from one forward pass to the next, and ends that.

    The model itself stays gathered until a backward pass, whatever is written in between.
    """
    before, after = _around_units(summon, facts) if summon.recurses else (None, None)
    root = code("{model}.reshard()", model=Kept(summon.module.span(summon.model)))
    return before, block(*([after] if after is not None else []), root)


def _around_units(summon: Summon, facts: Facts) -> tuple[Code | None, Code | None]:
    plans = [facts.plan(wrapped) for wrapped in summon.wraps]
    if any(plan is None or plan.keeps_unsharded is not False for plan in plans):
        return None, None
    if all(plan is not None and "auto_wrap_policy" not in plan.arguments for plan in plans):
        return None, None
    holes: dict[str, Part] = {
        "unit": UNIT,
        "model": Kept(summon.module.span(summon.model)),
        "fsdp_module": FSDP_MODULE,
    }
    before = code(
        "for {unit} in {model}.modules():\n"
        "    if isinstance({unit}, {fsdp_module}) and {unit} is not {model}:\n"
        "        {unit}.set_reshard_after_forward(False, recurse=False)",
        **holes,
    )
    after = code(
        "for {unit} in {model}.modules():\n"
        "    if isinstance({unit}, {fsdp_module}) and {unit} is not {model}:\n"
        "        {unit}.set_reshard_after_forward(True, recurse=False)\n"
        "        {unit}.reshard()",
        **holes,
    )
    return before, after
