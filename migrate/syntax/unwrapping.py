"""Code that takes wrappers off a model: `if isinstance(m, (DDP, FSDP)): m = m.module`.

Sharding in place leaves nothing to take off.  FSDP can be dropped from the test, and what is left
is right for the other wrappers, if the branch does nothing but go on with `m.module`, and without
the test the program goes on with `m` in the same way.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

WRAPPED = frozenset({"module", "_fsdp_wrapped_module"})


@dataclass(frozen=True)
class Unwrapping:
    """The `statement` (or expression) that asks for wrappers, by `test`.

    `negated`: it asks whether there is none, and `below` is what comes after an early return then.
    """

    statement: ast.While | ast.If | ast.IfExp
    test: ast.Call
    below: ast.Return | None = None
    negated: bool = False

    @property
    def classes(self) -> list[ast.expr]:
        """What is asked for."""
        tested = self.test.args[1]
        return tested.elts if isinstance(tested, ast.Tuple) else [tested]


def unwrapping(module: Module, node: ast.AST) -> Unwrapping | None:
    """The unwrapping whose test, or whose `m.module`, `node` is part of; or None."""
    for around in module.ancestors(node):
        if isinstance(around, ast.stmt):
            break
        if isinstance(around, ast.IfExp):
            test, negated = _test(module, around.test)
            if test is not None and _chooses(around, test.args[0], negated):
                return Unwrapping(around, test, negated=negated)
    statement = module.statement(node)
    parent = module.parents.get(statement)
    block = module.block(statement)
    above = block[: block.index(statement)][-1:] if statement in block else []
    for candidate in (statement, parent, *above):
        if isinstance(candidate, ast.While | ast.If):
            found = _recognised(module, candidate)
            if found is not None and _takes_part(found, node):
                return found
    return None


def _test(module: Module, node: ast.expr) -> tuple[ast.Call | None, bool]:
    """The `isinstance` that a condition is, and whether it is negated."""
    test, negated = node, False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, negated = test.operand, True
    if (
        isinstance(test, ast.Call)
        and isinstance(test.func, ast.Name)
        and test.func.id == "isinstance"
        and "isinstance" not in module.bound_names
        and len(test.args) == 2
    ):
        return test, negated
    return None, negated


def _chooses(node: ast.IfExp, model: ast.expr, negated: bool) -> bool:
    inner, plain = (node.orelse, node.body) if negated else (node.body, node.orelse)
    return _is_inner(inner, model) and same(plain, model)


def _takes_part(found: Unwrapping, node: ast.AST) -> bool:
    assert isinstance(found.statement, ast.While | ast.If)
    places: list[ast.AST] = [found.test, *found.statement.body]
    if found.negated:
        places += [*found.statement.orelse, *([found.below] if found.below else [])]
    return any(node is inner for place in places for inner in nodes_in(place))


def _recognised(module: Module, statement: ast.While | ast.If) -> Unwrapping | None:
    """The unwrapping that a statement is by itself, or with the `return` below it."""
    test, negated = _test(module, statement.test)
    if test is None or len(statement.body) != 1:
        return None
    body, model = statement.body[0], test.args[0]
    if not negated and _rebinds(body, model):
        goes_on = _goes_on(module, statement.orelse, model)
        return Unwrapping(statement, test) if goes_on else None
    if isinstance(statement, ast.If) and isinstance(body, ast.Return):
        return _returning(module, statement, body, Unwrapping(statement, test, negated=negated))
    return None


def _returning(
    module: Module, statement: ast.If, body: ast.Return, found: Unwrapping
) -> Unwrapping | None:
    """`if isinstance(m, FSDP): return m.module` and `return m` below, or the other way round."""
    model = found.test.args[0]
    rest = statement.orelse or _next(module, statement)
    if not rest:
        return None
    last = rest[0]
    if isinstance(last, ast.Return):
        wrapped, plain = (last, body) if found.negated else (body, last)
        if not _returns(plain, model) or not _inner(module, wrapped, model):
            return None
        return found if statement.orelse else replace(found, below=last)
    asks_again = isinstance(last, ast.If) and _asks_again(module, last, model)
    return found if asks_again and not found.negated and _inner(module, body, model) else None


def _asks_again(module: Module, statement: ast.If, model: ast.expr) -> bool:
    """Whether a branch is the same question about other wrappers."""
    return _about(module, statement, model) and _recognised(module, statement) is not None


def _about(module: Module, statement: ast.If, model: ast.expr) -> bool:
    """Whether a branch asks for the class of `model`."""
    test, negated = _test(module, statement.test)
    return test is not None and not negated and same(test.args[0], model)


def _next(module: Module, statement: ast.stmt) -> list[ast.stmt]:
    """What runs after a branch that was not taken."""
    parent = module.parents[statement]
    while isinstance(parent, ast.If) and parent.orelse == [statement]:
        statement, parent = parent, module.parents[parent]
    block = module.block(statement)
    index = block.index(statement) + 1
    return block[index : index + 1]


def _goes_on(module: Module, orelse: list[ast.stmt], model: ast.expr) -> bool:
    """Whether an `else` holds nothing but the same question about other wrappers."""
    if not orelse:
        return True
    (first, *more) = orelse
    return not more and isinstance(first, ast.If) and _asks_again(module, first, model)


def _rebinds(statement: ast.stmt, model: ast.expr) -> bool:
    return (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and same(statement.targets[0], model)
        and _is_inner(statement.value, model)
    )


def _is_inner(node: ast.expr | None, model: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in WRAPPED and same(node.value, model)


def _returns(statement: ast.stmt, model: ast.expr) -> bool:
    return isinstance(statement, ast.Return) and same(statement.value, model)


def _inner(module: Module, statement: ast.Return, model: ast.expr) -> bool:
    """Whether `m.module` is returned, or the function's own result for it."""
    value = statement.value
    if isinstance(value, ast.Call) and len(value.args) == 1 and not value.keywords:
        return _calls_itself(module, value) and _is_inner(value.args[0], model)
    return _is_inner(value, model)


def _calls_itself(module: Module, call: ast.Call) -> bool:
    """Whether a function calls itself (or the method of its name) in `call`."""
    function = module.function(call)
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if isinstance(call.func, ast.Attribute):
        return call.func.attr == function.name
    return isinstance(call.func, ast.Name) and call.func.id == function.name
