"""The plan of a constructor call, written out: the statements, or the expression, it becomes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.definitions import bindings
from fsdp_migrate.findings.code import (
    Code,
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    Starred,
    attribute,
    block,
    both,
    call,
    code,
    definition,
    dictionary,
    local_variable,
    qualified,
    variable,
)
from fsdp_migrate.findings.edits import (
    Define,
    Edit,
    InsertStatements,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.findings.spelling import width
from fsdp_migrate.lowering.arguments.precision_fields import POLICY
from fsdp_migrate.lowering.condition import UNIT
from fsdp_migrate.lowering.memory_functions import CHILDREN_FIRST, ORDER
from fsdp_migrate.lowering.unit_functions import WHOLE_CLASSES
from fsdp_migrate.lowering.vanished_comments import vanished_comments
from fsdp_migrate.lowering.whole_units import WHOLE, bound_above, whole_classes
from fsdp_migrate.lowering.wrap_keywords import IGNORED, current_device, keywords
from fsdp_migrate.lowering.wrap_plan import Function, Parts, Precision, WrapPlan
from fsdp_migrate.lowering.wrap_states import (
    BATCH_NORM,
    buffers,
    initial_weights,
    state_of_first_rank,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

FULLY_SHARD = Name(ROOT, "fully_shard")
FSDP_MODULE = Name(ROOT, "FSDPModule")
FLOAT32 = qualified("torch.float32")
MODEL = variable("model")
KEYWORDS = variable("fsdp_kwargs", "shard_kwargs", "sharding")
UNSHARDED = variable("unsharded")
REMADE = ("cpu_offload",)  # of which a function makes new ones
MANY, LONG = 3, 60  # keywords of that number, or beyond that width, are written once, in a dict


@dataclass(frozen=True)
class Sharding:
    """The statements up to the root, the call that shards it, and the statements below."""

    model: Part
    above: tuple[Code, ...]
    root: Code
    below: tuple[Code, ...]


def native_edits(plan: WrapPlan) -> tuple[Edit, ...]:
    """The edits of the file of a call, which has a native form, that write it down."""
    module, made = plan.fact.module, plan.fact.node
    place = module.span(made)
    elsewhere: list[Edit] = [
        ReplaceExpression(module.span(node), part) for node, part in plan.parts.replaced
    ]
    statement = module.statement(made)
    defined = (*plan.parts.defined, *_order(plan.parts))
    elsewhere += [Define(module.span(statement), function) for function in defined]
    if plan.shape == "expression" and plan.model is None:
        given = keywords(plan, MODEL, named=False)
        every = (*given.shared, *given.root)
        part: Part = FULLY_SHARD
        if every or isinstance(module.scope(made), ast.ClassDef):
            part = call(Kept(module.span(made.func)), FULLY_SHARD, *every)
        return ReplaceExpression(place, part), *elsewhere
    if plan.shape == "expression":
        assert plan.model is not None
        model = Kept(module.span(plan.model))
        found = keywords(plan, model, named=False)
        new = call(FULLY_SHARD, model, *found.shared, *found.root)
        return ReplaceExpression(place, new), *elsewhere
    if plan.shape == "hoisted":
        done = _sharding(plan, MODEL)
        lines = (*done.above, done.root, *done.below) if done.below else done.above
        inside = done.model if done.below else done.root
        hoisted = InsertStatements(module.span(statement), block(*lines))
        return hoisted, ReplaceExpression(place, inside), *elsewhere
    if plan.function is not None:
        return *_of_function(plan, plan.function, statement), *elsewhere
    new = block(*_statements(plan, statement))
    gone = vanished_comments(plan)
    return ReplaceStatement(module.span(statement), new, without_comments=gone), *elsewhere


def _of_function(plan: WrapPlan, function: Function, statement: ast.stmt) -> Iterator[Edit]:
    """The function that shards, and its call or its name in the place of the constructor's."""
    module = plan.fact.module
    done = _sharding(function.body or plan, function.model, is_given=True)
    lines = [*done.above, code("return {sharded}", sharded=done.root)]
    if done.below:
        lines[-1:] = [done.root, *done.below, code("return {model}", model=done.model)]
    given = [name for name, _ in function.more] if function.called else []
    bound = () if function.called else function.more
    defined = definition(function.name, (done.model, *given), block(*lines), bound)
    at = module.span(statement)
    if function.standing == "instead":
        yield ReplaceStatement(at, defined)
        return
    yield Define(at, defined) if function.standing == "top" else InsertStatements(at, defined)
    new: Part = function.name
    if function.called:
        assert plan.model is not None
        new = call(function.name, Kept(module.span(plan.model)), *(v for _, v in function.more))
    elif plan.calls and isinstance(module.scope(function.place), ast.ClassDef):
        new = call(Kept(module.span(plan.fact.node.func)), new)  # which no instance binds
    yield ReplaceExpression(module.span(function.place), new)


def _order(parts: Parts) -> tuple[Code, ...]:
    """The function that says in which order units get their memory, where that matters."""
    condition = parts.units.condition if parts.units is not None else None
    nested = condition is not None and condition.nested
    return (ORDER,) if nested and parts.materialized is not None else ()


def _statements(plan: WrapPlan, statement: ast.stmt) -> tuple[Code, ...]:
    """What takes the place of an assignment or a return."""
    module = plan.fact.module
    if not isinstance(statement, ast.Assign):
        done = _sharding(plan, _returned(module, statement), at_once=True)
        if done.below:
            back = code("return {model}", model=done.model)
            return *done.above, done.root, *done.below, back
        return *done.above, code("return {sharded}", sharded=done.root)
    target = statement.targets[0]
    done = _sharding(plan, Kept(module.span(target)))
    assert plan.model is not None
    own = path_of(plan.model)
    root = done.root
    if own is not None and own != path_of(target):
        root = code("{target} = {sharded}", target=Kept(module.span(target)), sharded=root)
    return *done.above, root, *done.below


def _returned(module: Module, statement: ast.stmt) -> Part:
    """The name of a model that is sharded on its way out of a function.

    It may be that of a variable of the function, which has come to its end, but of none that
    others see, or that it gets from around it.
    """
    function = module.function(statement)
    names = [n for n in nodes_in(function or module.tree) if isinstance(n, ast.Name)]
    if function is None or (
        any(bindings(function, "model"))
        and all(module.function(n) is function for n in names if n.id == "model")
        and not _declared(function, "model")
    ):
        return local_variable("model", beside=())
    return local_variable("model", beside=(n.id for n in names))


def _declared(function: ast.AST, name: str) -> bool:
    """Whether a function says that a variable is of the scope around it."""
    return any(
        isinstance(node, ast.Global | ast.Nonlocal) and name in node.names
        for node in nodes_in(function)
    )


def _sharding(
    plan: WrapPlan, made: Part, at_once: bool = False, is_given: bool = False
) -> Sharding:
    """How the units and the root are sharded; a model that has no name yet is called `made`.

    It gets none where it may be sharded `at_once` and nothing else is done to it, and it has it
    where it `is_given` to a function.
    """
    module, parts = plan.fact.module, plan.parts
    argument = made if plan.model is None else Kept(module.span(plan.model))
    named = is_given or (plan.model is not None and path_of(plan.model) is not None)
    model: Part = argument if named and not is_given else made
    above = [] if named else [code("{model} = {argument}", model=model, argument=argument)]
    found = keywords(plan, model, named=True)
    above += [*current_device(plan), *found.above]
    if parts.units is not None and parts.units.policy is not None:
        policy, said = parts.units.policy
        above.append(code("{policy} = {said}", policy=policy, said=said))
    shared: tuple[Element, ...] = found.shared
    long = len(shared) >= MANY or _width(module, shared) > LONG
    if _shares_dict(parts, long):
        above.append(code("{name} = {made}", name=KEYWORDS, made=_dict(found.shared)))
        shared = (Starred(KEYWORDS, double=True),)
    below: list[Code] = []
    above += _bound(parts)
    if parts.initial is not None and parts.initial.by_unit is None:
        above += state_of_first_rank(parts.initial, model)
        below += initial_weights(plan, model)
    below += buffers(plan, model, found.policy)
    if parts.attributes:
        above.append(
            code("{unsharded} = list({model}.parameters())", unsharded=UNSHARDED, model=model)
        )
        below.append(_attributes(model))
    if parts.precision is not None and parts.precision.batch_norm:
        above.append(_batch_norm(parts.precision, model, shared, found.policy))
    if parts.units is not None:
        whole = whole_classes(parts, found.policy)
        told = (Keyword(WHOLE_CLASSES, WHOLE),) if whole is not None else ()
        above += [bound_above(whole)] if whole is not None else []
        above.append(_units(plan, model, (*shared, *found.child), told))
    above += _before(plan, model)
    if at_once and not named and len(above) == 1 and not below:
        above, model = [], argument
    root = call(FULLY_SHARD, model, *shared, *found.root)
    return Sharding(model, tuple(above), root, tuple(below))


def _bound(parts: Parts) -> Iterator[Code]:
    """What first weights depend on, as variables of what is more than a name."""
    initial, materialized = parts.initial, parts.materialized
    if initial is not None and initial.bound is not None:
        assert initial.test is not None
        yield code("{name} = {value}", name=initial.test, value=initial.bound)
    if materialized is not None and materialized.bound is not None:
        assert materialized.init is not None
        yield code("{name} = {value}", name=materialized.init, value=materialized.bound)


def _batch_norm(
    precision: Precision, model: Part, shared: tuple[Element, ...], policy: Part
) -> Code:
    """The loop that makes units of BatchNorm layers, which compute in full precision."""
    exempt = call(POLICY, FLOAT32, output_dtype=attribute(policy, "param_dtype"))
    test = code("isinstance({unit}, {norm})", unit=UNIT, norm=BATCH_NORM)
    given = precision.given
    if precision.fsdp1 is not None:
        given = code("{precision} is not None", precision=precision.fsdp1)
    return code(
        "# BatchNorm computes in full precision, as it did under FSDP1\n"
        "for {unit} in {model}.modules():\n"
        "    if {test}:\n"
        "        {sharded}",
        unit=UNIT,
        model=model,
        test=test if given is None else both(given, test),
        sharded=call(FULLY_SHARD, UNIT, *shared, mp_policy=exempt),
    )


def _attributes(model: Part) -> Code:
    """The statement that copies what the program has set on parameters to the new ones."""
    return code(
        "for {old}, {new} in zip({unsharded}, {model}.parameters()):\n"
        "    vars({new}).update(vars({old}))",
        old=variable("old"),
        new=variable("new"),
        unsharded=UNSHARDED,
        model=model,
    )


def _dict(keywords: tuple[Keyword | Starred, ...]) -> Part:
    """The dict of the keywords of several calls."""
    if len(keywords) == 1 and isinstance(keywords[0], Starred):
        return keywords[0].value  # which is made for these calls
    return dictionary(
        *(k if isinstance(k, Starred) else Item(Literal(k.name), k.value) for k in keywords)
    )


def _width(module: Module, elements: tuple[Element, ...]) -> int:
    return sum(width(module, element) for element in elements) + 2 * (len(elements) - 1)


def _shares_dict(parts: Parts, long: bool) -> bool:
    """Whether the keywords are made once, above the calls that they are for."""
    if parts.sharding is not None and parts.initial is not None and parts.initial.by_unit:
        return True  # the mesh is asked for
    if parts.units is None:
        return False
    return long or parts.sharding is not None or any(r.parameter in REMADE for r in parts.residues)


def _before(plan: WrapPlan, unit: Part) -> Iterator[Code]:
    """What is done to a unit right before it is sharded."""
    parts = plan.parts
    if parts.materialized is not None:
        yield parts.materialized.made.of(unit)
    if parts.initial is None or parts.initial.by_unit is None:
        return
    given: list[Element] = []
    if parts.initial.on_world:
        pass
    elif parts.sharding is not None:
        given.append(code('{kwargs}["mesh"]', kwargs=KEYWORDS))
    elif parts.mesh is not None:
        given.append(parts.mesh.name)
    if parts.ignored is not None:
        given.append(Keyword("ignored_params", IGNORED))
    made = call(parts.initial.by_unit, unit, *given)
    if parts.initial.test is None:
        yield made
    else:
        yield code("if {test}:\n    {made}", test=parts.initial.test, made=made)


def _units(
    plan: WrapPlan, model: Part, given: tuple[Element, ...], more: tuple[Element, ...]
) -> Code:
    """The loop that shards the units; `more` is what the function is told that lists them."""
    units = plan.parts.units
    assert units is not None
    sharded = block(*_before(plan, UNIT), call(FULLY_SHARD, UNIT, *given))
    if units.listed is not None:
        listed = replace(units.listed, more=(*units.listed.more, *more)).of(model)
        return code(
            "for {unit} in {units}:\n    {sharded}", unit=UNIT, units=listed, sharded=sharded
        )
    condition = units.condition
    assert condition is not None
    test = condition.without(model) if units.root_matches else condition.test
    if plan.parts.precision is not None and plan.parts.precision.batch_norm:
        if condition.open or not condition.is_class_test or condition.libraries:
            test = both(code("not isinstance({unit}, {done})", unit=UNIT, done=FSDP_MODULE), test)
    holes: dict[str, Part] = {"unit": UNIT, "model": model, "test": test, "sharded": sharded}
    if condition.nested and plan.parts.materialized is not None:
        return code(
            "for {unit} in dict.fromkeys({children_first}({model})):\n"
            "    if {test}:\n"
            "        {sharded}",
            children_first=CHILDREN_FIRST,
            **holes,
        )
    if condition.nested:
        return code(
            "# children before their parents\n"
            "for {unit} in reversed(list({model}.modules())):\n"
            "    if {test}:\n"
            "        {sharded}",
            **holes,
        )
    return code("for {unit} in {model}.modules():\n    if {test}:\n        {sharded}", **holes)
