"""The function that shards a model where only an expression can stand.

`{name: FSDP(net, auto_wrap_policy=policy) for name, net in nets.items()}` takes a loop for each
model: a small function of the program's has it, and returns what it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace

from fsdp_migrate.analysis.definitions import scope_of
from fsdp_migrate.findings.code import Kept, Variable, local_variable, variable
from fsdp_migrate.lowering.steady import is_of_comprehension, is_steady
from fsdp_migrate.lowering.wrap_plan import Function, Parts, WrapPlan, kept_parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

NAME = variable("shard", "shard_model")
_PLAIN = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr)
_STOPPING = (ast.Await, ast.Yield, ast.YieldFrom)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def function_of(site: WrapSite, parts: Parts) -> Function:
    """The function that does what a constructor call does inside of an expression.

    Raises:
        NotNative: what the call is given can't be handed to a function.
    """
    node, module = site.fact.node, site.module
    kept = list(_kept(module, parts))
    if any(isinstance(inner, _STOPPING) for inner in kept):
        raise NotNative("the call is part of an expression, and waits for one of its arguments")
    names = [inner for inner in kept if isinstance(inner, ast.Name)]
    if site.made_by:
        return _of_partial(site, kept, names)
    around = module.parents[node]
    own = _only_parameter(around)
    if isinstance(around, ast.Lambda) and own is not None and _is_given(site, own):
        statement = module.parents[around]
        if isinstance(statement, ast.Assign) and _gives_name(module, statement):
            (target,) = statement.targets
            assert isinstance(target, ast.Name)
            return Function(exactly(target.id), exactly(own), (), around, "instead", called=False)
        if not any(is_local(module, name) for name in names):
            return Function(NAME, exactly(own), (), around, called=False)
    if isinstance(module.scope(node), ast.ClassDef):
        raise NotNative("the call is part of an expression in the body of a class")
    more = tuple(dict.fromkeys(name.id for name in names if is_local(module, name)))
    model = local_variable("model", "net", beside=(name.id for name in names))
    return Function(NAME, model, tuple(exactly(name) for name in more), node)


def _of_partial(site: WrapSite, kept: list[ast.AST], names: list[ast.Name]) -> Function:
    """The function that takes the place of a partial, which is given its arguments only once.

    Raises:
        NotNative: they may be others when it is called, or it can't stand there.
    """
    node, module = site.fact.node, site.module
    unsteady = [inner for inner in kept if not is_steady(site.analysis, module, inner)]
    for inner in unsteady:
        if not isinstance(inner, ast.Name):
            raise NotNative(f"`{module.text(inner)}` is looked at when the partial is made")
    bound = dict.fromkeys(name.id for name in unsteady if isinstance(name, ast.Name))
    more = tuple(exactly(name) for name in bound)
    model = local_variable("model", "net", beside=(name.id for name in names))
    statement = module.parents[node]
    if isinstance(statement, ast.Assign) and _gives_name(module, statement):
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        return Function(exactly(target.id), model, more, node, "instead", called=False)
    if not more and not any(is_local(module, name) for name in names):
        return Function(NAME, model, (), node, called=False)
    inside = (ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)
    around = [a for a in module.ancestors(node) if isinstance(a, (ast.stmt, *inside))]
    statement = around[0]
    if not isinstance(statement, _PLAIN) or isinstance(module.parents[statement], ast.ClassDef):
        raise NotNative("the partial is part of an expression")
    return Function(NAME, model, more, node, "above", called=False)


def exactly(name: str) -> Variable:
    """A variable of the program's own, by its name."""
    return local_variable(name, beside=())


def is_local(module: Module, name: ast.Name) -> bool:
    """Whether a name is a variable of a function or a comprehension, and not of the file."""
    if is_of_comprehension(module, name):
        return True
    scope = scope_of(module, name)
    return scope is not None and not isinstance(scope, ast.Module)


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
        key = (module, function.model, function.more, function.standing, _text(module, plan.parts))
        if key not in first:
            numbers[module] = number = numbers.get(module, 0) + 1
            name = NAME if number == 1 else variable(*(f"{n}_{number}" for n in NAME.names))
            first[key] = replace(plan, function=replace(function, name=name))
        alike = first[key]
        assert alike.function is not None
        name, body = alike.function.name, alike if function.standing == "top" else None
        made[site] = replace(plan, function=replace(function, name=name, body=body))
    return made


def _text(module: Module, value: object) -> object:
    """A part of a plan, with the words of the file in the place of their places."""
    if isinstance(value, Kept):
        words = tuple(module.segment(n) for n in module.parents if _is_at(module, n, value))
        return (words[:1], tuple(_text(module, other) for _, other in value.instead))
    if isinstance(value, tuple):
        return tuple(_text(module, item) for item in value)
    if is_dataclass(value):
        return tuple(_text(module, getattr(value, field.name)) for field in fields(value))
    return None if isinstance(value, ast.AST) else value


def _is_at(module: Module, node: ast.AST, kept: Kept) -> bool:
    return isinstance(node, ast.expr) and module.span(node) == kept.span
