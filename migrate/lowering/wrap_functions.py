"""The function that shards a model where only an expression can stand.

`{name: FSDP(net, auto_wrap_policy=policy) for name, net in nets.items()}` takes a loop for each
model: a small function of the program's has it, and returns what it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fsdp_migrate.findings.code import Part, Variable, local_variable, variable
from fsdp_migrate.lowering.parts_of_plans import with_names, words_of
from fsdp_migrate.lowering.steady import is_local, is_steady
from fsdp_migrate.lowering.wrap_plan import Function, Parts, WrapPlan, kept_parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

NAME = variable("shard", "shard_model")
SELF = "self"
# What the value of an argument is called once it is FSDP2's.
NEW_NAMES = {
    "auto_wrap_policy": "policy",
    "cpu_offload": "offload_policy",
    "device_mesh": "mesh",
    "mixed_precision": "mp_policy",
    "sharding_strategy": "strategy",
}
_PLAIN = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr)
_STOPPING = (ast.Await, ast.Yield, ast.YieldFrom)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def function_of(site: WrapSite, parts: Parts) -> tuple[Function, Parts]:
    """The function that does what a constructor call does inside of an expression, and its parts.

    Raises:
        NotNative: what the call is given can't be handed to a function.
    """
    node, module = site.fact.node, site.module
    kept = list(_kept(module, parts))
    if any(isinstance(inner, _STOPPING) for inner in kept):
        raise NotNative("the call is part of an expression, and waits for one of its arguments")
    names = [inner for inner in kept if isinstance(inner, ast.Name)]
    if site.made_by:
        return _of_partial(site, parts)
    around = module.parents[node]
    own = _only_parameter(around)
    if isinstance(around, ast.Lambda) and own is not None and _is_given(site, own):
        statement = module.parents[around]
        if isinstance(statement, ast.Assign) and _gives_name(module, statement):
            (target,) = statement.targets
            assert isinstance(target, ast.Name)
            name, model = exactly(target.id), exactly(own)
            return Function(name, model, (), around, "instead", called=False), parts
        if not any(is_local(module, name) for name in names):
            return Function(NAME, exactly(own), (), around, called=False), parts
    if isinstance(module.scope(node), ast.ClassDef):
        raise NotNative("the call is part of an expression in the body of a class")
    local = [name for name in names if is_local(module, name)]
    more = {name.id: site.kept(name) for name in local}
    attributes = _attributes(module, local)
    if attributes and not set(attributes) & {name.id for name in names}:
        spans = {module.span(node): exactly(name) for name, node in attributes.items()}
        parts = _with_policy(with_names(parts, spans))
        more = {n: k for n, k in more.items() if n != SELF}
        more |= {name: site.kept(node) for name, node in attributes.items()}
    model = local_variable("model", "net", beside=(*more, *(name.id for name in names)))
    given = tuple((exactly(name), kept) for name, kept in more.items())
    return Function(NAME, model, given, node), parts


def _attributes(module: Module, names: Sequence[ast.Name]) -> dict[str, ast.Attribute]:
    """The attributes of `self`, by name, if `names` have it for nothing else."""
    found: dict[str, ast.Attribute] = {}
    for name in names:
        around = module.parents[name]
        if name.id == SELF:
            if not isinstance(around, ast.Attribute) or around.attr in found:
                return {}
            found[around.attr] = around
    return found


def _of_partial(site: WrapSite, parts: Parts) -> tuple[Function, Parts]:
    """The function that takes the place of a partial, which is given its arguments only once.

    Raises:
        NotNative: they may be others when it is called, or it can't stand there.
    """
    node, module = site.fact.node, site.module
    bound: dict[str, Part] = {}
    for inner in list(_kept(module, parts)):
        if is_steady(site.analysis, module, inner):
            continue
        if isinstance(inner, ast.Name):
            bound[inner.id] = site.kept(inner)
            continue
        name, value = _argument_around(site, inner)
        if name in bound or not any(part == site.kept(value) for part in kept_parts(parts)):
            raise NotNative(f"`{module.text(inner)}` is looked at when the partial is made")
        bound[name] = site.kept(value)
        parts = _with_policy(with_names(parts, {module.span(value): exactly(name)}))
    names = [inner for inner in _kept(module, parts) if isinstance(inner, ast.Name)]
    more = tuple((exactly(name), value) for name, value in bound.items())
    model = local_variable("model", "net", beside=(*bound, *(name.id for name in names)))
    statement = module.parents[node]
    if isinstance(statement, ast.Assign) and _gives_name(module, statement):
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        named = exactly(target.id)
        return Function(named, model, more, node, "instead", called=False), parts
    if not more and not any(is_local(module, name) for name in names):
        return Function(NAME, model, (), node, called=False), parts
    inside = (ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)
    around = [a for a in module.ancestors(node) if isinstance(a, (ast.stmt, *inside))]
    statement = around[0]
    if not isinstance(statement, _PLAIN) or isinstance(module.parents[statement], ast.ClassDef):
        raise NotNative("the partial is part of an expression")
    return Function(NAME, model, more, node, "above", called=False), parts


def _with_policy(parts: Parts) -> Parts:
    """`parts` whose precision is known to be a variable, where it has become one."""
    precision = parts.precision
    if precision is None or not isinstance(precision.policy, Variable):
        return parts
    return replace(parts, precision=replace(precision, is_name=True))


def _argument_around(site: WrapSite, node: ast.AST) -> tuple[str, ast.expr]:
    """What FSDP2 calls the argument that `node` is of, and the argument.

    Raises:
        NotNative: it is of none, or of one without a name there.
    """
    for name, argument in site.arguments.items():
        if argument.node is not None and node in nodes_in(argument.node) and name in NEW_NAMES:
            return NEW_NAMES[name], argument.node
    text = site.module.text(node)
    raise NotNative(f"`{text}` is looked at when the partial is made")


def exactly(name: str) -> Variable:
    """A variable of the program's own, by its name."""
    return local_variable(name, beside=())


def _kept(module: Module, parts: Parts) -> Iterator[ast.AST]:
    """The nodes of the file that what a call's arguments have become keeps."""
    for part in kept_parts(parts):
        span, *others = part.spans
        for node in module.parents:
            if isinstance(node, ast.expr):
                at = module.span(node)
                if span.contains(at) and not any(other.contains(at) for other in others):
                    yield node


def _only_parameter(around: ast.AST) -> str | None:
    """The name of the one parameter of a lambda."""
    if not isinstance(around, ast.Lambda):
        return None
    given = around.args
    every = [*given.posonlyargs, *given.args]
    if len(every) != 1 or given.kwonlyargs or given.vararg or given.kwarg or given.defaults:
        return None
    return every[0].arg


def _is_given(site: WrapSite, name: str) -> bool:
    """Whether what is wrapped is the parameter of that name."""
    argument = site.arguments.get("module")
    node = argument.node if argument is not None else None
    return isinstance(node, ast.Name) and node.id == name


def _gives_name(module: Module, statement: ast.Assign) -> bool:
    """Whether an assignment gives a function the one name that it has."""
    target, *others = statement.targets
    in_class = isinstance(module.parents[statement], ast.ClassDef)
    return isinstance(target, ast.Name) and not others and not in_class


# ---------------------------------------------------------------------- several in one file
def named_apart(plans: Mapping[Site, WrapPlan]) -> dict[Site, WrapPlan]:
    """`plans` with a name of its own for each function of a file, and one for those alike."""
    made = dict(plans)
    first: dict[object, WrapPlan] = {}
    numbers: dict[Module, int] = {}
    for site, plan in sorted(plans.items()):
        function, module = plan.function, plan.fact.module
        if function is None or function.standing == "instead":
            continue
        given = tuple(name for name, _ in function.more)
        key = (module, function.model, given, function.standing, words_of(module, plan.parts))
        if key not in first:
            numbers[module] = number = numbers.get(module, 0) + 1
            name = NAME if number == 1 else variable(*(f"{n}_{number}" for n in NAME.names))
            first[key] = replace(plan, function=replace(function, name=name))
        alike = first[key]
        assert alike.function is not None
        name, body = alike.function.name, alike if function.standing == "top" else None
        made[site] = replace(plan, function=replace(function, name=name, body=body))
    return made
