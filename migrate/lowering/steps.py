"""The way from outside to a place in the program: through the calls that lead to it.

A wrap may stand in a function of its own.  Each call of that function leads to the wrap, and so
does each call of the function around that call; each of them may name the model differently.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.library.modules import RETURN_SELF
from fsdp_migrate.syntax.module import Module, Scope
from fsdp_migrate.syntax.nodes import own_nodes
from fsdp_migrate.syntax.paths import path_of

DEPTH = 6  # calls that are followed outwards


@dataclass(frozen=True)
class Step:
    """A statement that leads to some place, and how the model is called there."""

    module: Module
    statement: ast.stmt
    paths: frozenset[str]
    inner: Step | None = None  # the next one on the way to the place
    call: ast.Call | None = None  # in the statement, what leads to the next one
    place: ast.AST | None = None  # the place itself, where this is the last step

    @property
    def scope(self) -> Scope:
        """The function or module that the statement runs in."""
        return self.module.scope(self.statement)

    def inwards(self) -> Iterator[Step]:
        """This step and those after it, to the place."""
        step: Step | None = self
        while step is not None:
            yield step
            step = step.inner


def steps_outwards(
    calls: CallGraph, module: Module, node: ast.AST, paths: frozenset[str]
) -> Iterator[Step]:
    """The statement around `node`, and those that call the function it is in, outwards."""
    queue = [(Step(module, module.statement(node), paths, place=node), 0)]
    seen: set[tuple[ast.stmt, frozenset[str]]] = set()
    while queue:
        step, depth = queue.pop(0)
        if (step.statement, step.paths) in seen:
            continue
        seen.add((step.statement, step.paths))
        yield step
        function = step.scope
        if depth == DEPTH or not isinstance(function, ast.FunctionDef):
            continue
        for call in calls.callers_of(step.module.site(function)):
            home = calls.module_of(call)
            known = {path for own in step.paths for path in (own, *other_names(own, step))}
            outside = {path_outside(path, step, call, home) for path in known}
            outside.update(name for path in known for name in made_of(calls, path, step, call))
            named = frozenset(path for path in outside if path is not None)
            queue.append((Step(home, home.statement(call), named, step, call), depth + 1))


def made_of(calls: CallGraph, path: str, step: Step, call: ast.Call) -> Iterator[str | None]:
    """What `self.net` of a method is called where the object was made: `net` of `Job(net)`.

    `call` calls the method of `step` on the object, which was made in the same function.
    """
    function, (owner, _, field) = step.scope, path.partition(".")
    around = step.module.parents[function]
    if (
        not field
        or not isinstance(function, ast.FunctionDef)
        or not isinstance(around, ast.ClassDef)
    ):
        return
    home = calls.module_of(call)
    called_on = _given_as(owner, function, _is_method(step.module, function), call, home)
    for init in around.body:
        if not isinstance(init, ast.FunctionDef) or init.name != "__init__" or called_on is None:
            continue
        for making in calls.callers_of(step.module.site(init)):
            made = _receiver(init, making, home) if calls.module_of(making) is home else None
            if made is None or path_of(made) != path_of(called_on):
                continue
            if home.scope(making) is home.scope(call):
                inside = Step(step.module, init.body[-1], frozenset())
                for given in _stored(init, field):
                    yield path_outside(given, inside, making, home)


def _stored(init: ast.FunctionDef, field: str) -> Iterator[str]:
    """What the parameters of `__init__` call that which it stores as this attribute."""
    own = init.args.args[0].arg if init.args.args else "self"
    name = f"{own}.{field}"
    for _, stored, source in _renamings(init):
        if name == stored or name.startswith(f"{stored}."):
            yield source + name[len(stored) :]


def other_names(path: str, step: Step) -> Iterator[str]:
    """What else the function of `step` calls that which is at `path`, one made of the other.

    After `self.m = m` both are the same, whichever of them is asked about.
    """
    for line, own, source in _renamings(step.scope):
        if own == source:
            continue
        if line < step.statement.lineno and (path == own or path.startswith(f"{own}.")):
            yield source + path[len(own) :]
        elif "." in own and (path == source or path.startswith(f"{source}.")):
            yield own + path[len(source) :]


@lru_cache(maxsize=4096)
def _renamings(scope: Scope) -> Sequence[tuple[int, str, str]]:
    """The assignments in `scope` of one path to another: their line, and both paths."""
    found: list[tuple[int, str, str]] = []
    for statement in own_nodes(scope):
        for target in statement.targets if isinstance(statement, ast.Assign) else ():
            assert isinstance(statement, ast.Assign)
            for one, value in _pairs(target, statement.value):
                own, source = path_of(one), path_of(_unchanged(value))
                if own is not None and source is not None:
                    found.append((statement.lineno, own, source))
    return found


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What an assignment binds, with the value for each."""
    both = (ast.Tuple, ast.List)
    if isinstance(target, both) and isinstance(value, both) and len(target.elts) == len(value.elts):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


def _unchanged(value: ast.expr) -> ast.expr:
    """The module that `value` is, given back by methods such as `cuda()`."""
    while (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in RETURN_SELF
    ):
        value = value.func.value
    return value


def path_outside(path: str, step: Step, call: ast.Call, module: Module) -> str | None:
    """What `module` names the thing that is `path` in the function of `step`, which it calls."""
    head, _, rest = path.partition(".")
    function = step.scope
    if not isinstance(function, ast.FunctionDef):
        return None
    given = _given_as(head, function, _is_method(step.module, function), call, module)
    outer = path_of(given) if given is not None else None
    if outer is None:
        return None
    return f"{outer}.{rest}" if rest else outer


def _is_method(module: Module, function: ast.FunctionDef) -> bool:
    """Whether the function's first parameter is the object (or the class) that it is called on."""
    static = any(path_of(decorator) == "staticmethod" for decorator in function.decorator_list)
    return isinstance(module.parents[function], ast.ClassDef) and not static


def _given_as(
    parameter: str, function: ast.FunctionDef, is_method: bool, call: ast.Call, module: Module
) -> ast.expr | None:
    """What `call`, in `module`, passes for a parameter of `function`."""
    args = function.args
    names = [a.arg for a in [*args.posonlyargs, *args.args]]
    if parameter not in [*names, *(a.arg for a in args.kwonlyargs)]:
        return None
    if is_method and parameter == names[0]:
        return _receiver(function, call, module)
    named = [keyword.value for keyword in call.keywords if keyword.arg == parameter]
    if named or parameter not in names:
        return named[0] if named else None
    index = names.index(parameter) - is_method
    before = call.args[: index + 1]
    if 0 <= index < len(call.args) and not any(isinstance(a, ast.Starred) for a in before):
        return call.args[index]
    return None


def _receiver(function: ast.FunctionDef, call: ast.Call, module: Module) -> ast.expr | None:
    """The object whose method `function` is called, or what the made object is bound to."""
    if isinstance(call.func, ast.Attribute) and function.name != "__init__":
        return call.func.value
    made = module.parents[call]
    while isinstance(made, ast.Attribute) and made.attr in RETURN_SELF:  # `Net().cuda()`
        around = module.parents[made]
        if not isinstance(around, ast.Call) or around.func is not made:
            return None
        made = module.parents[around]
    if isinstance(made, ast.Assign) and len(made.targets) == 1:
        return made.targets[0]
    return None


def named_outside(step: Step, path: str, outer: Step) -> str | None:
    """What `outer`, on the way out from `step`, calls what `step` calls `path`."""
    chain: list[Step] = []
    for on_the_way in outer.inwards():
        if on_the_way is step:
            break
        chain.append(on_the_way)
    else:
        return None
    found: str | None = path
    for outside in reversed(chain):
        if outside.inner is None or outside.call is None or found is None:
            return None
        found = path_outside(found, outside.inner, outside.call, outside.module)
    return found
