"""Code that asks for FSDP1's class, and for FSDP2's as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import NONE, Bound, Unknown, Wrapped
from fsdp_migrate.lowering.model_tests import model_asked_for
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_flow import TESTS
from fsdp_migrate.rule.queries.conditions import conditions
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes

FSDP2 = f"{ROOT}.FSDPModule"
FULLY_SHARD = frozenset({f"{ROOT}.fully_shard", "torch.distributed._composable.fsdp.fully_shard"})


@dataclass(frozen=True)
class Branch:
    """What runs for FSDP1's models, in code that has a branch for FSDP2's of its own."""

    module: Module
    node: ast.If | ast.IfExp
    twin: ast.expr | ast.stmt  # the test for FSDP2's class, or what runs for its models
    model: ast.expr  # the object that both are asked of
    is_empty: bool  # nothing is done for FSDP2's models
    refuses: ast.stmt | None  # what may raise an error for them

    @property
    def gone(self) -> Iterator[ast.AST]:
        """The nodes that go with the branch."""
        body = self.node.body if isinstance(self.node, ast.If) else [self.node.body]
        for part in [self.node.test, *body]:
            yield from nodes_in(part)


def branches(facts: Facts, module: Module) -> Iterator[Branch]:
    """The branches for FSDP1's models that have one for FSDP2's beside them."""
    yield from _asking_themselves(facts, module)
    for node in module.parents:
        if isinstance(node, ast.If) and not _makes_models(facts, module, node):
            found = _asking_by_version(facts, module, node)
            if found is not None:
                yield found


def _asking_by_version(facts: Facts, module: Module, node: ast.If) -> Branch | None:
    """`if version(model) == 1:`, where no model is of version 1 any more."""
    test = node.test
    asks = test.left if isinstance(test, ast.Compare) else test
    value = facts.value(asks.func) if isinstance(asks, ast.Call) else frozenset()
    sites = {a.func.site if isinstance(a, Bound) else getattr(a, "site", None) for a in value}
    site = sites.pop() if len(sites) == 1 else None
    info = facts.analysis.functions.get(site) if site is not None else None
    if info is None:
        return None
    model = model_asked_for(facts.analysis, module, test)
    inside = set(nodes_in(info.node))
    if model is None or not any(b.node in inside for b in _asking_themselves(facts, info.module)):
        return None
    for other in _chain(node):
        tested = other.test
        if other is not node and isinstance(tested, ast.Compare) and same(tested.left, asks):
            if not _raises(other):
                refuses = _refuses(facts, module, other)
                return Branch(module, node, tested, model, _is_empty(other), refuses)
    handed = {plan.call for plan in facts.modes.plans.values() if plan.helper is not None}
    if any(n in handed for each in node.body for n in nodes_in(each)):
        return None  # a context, which its callers state themselves
    block = module.block(node)
    after = block[block.index(node) + 1 :]
    if not after or node.orelse or not isinstance(node.body[-1], ast.Return):
        return None
    return Branch(module, node, after[0], model, False, None)


def _asking_themselves(facts: Facts, module: Module) -> Iterator[Branch]:
    """Those whose test asks for FSDP1's class."""
    for node in module.parents:
        if isinstance(node, ast.If | ast.IfExp):
            model = asked(facts, node.test, FSDP1)
            twin = _twin(facts, module, node, model) if model is not None else None
            if twin is None or model is None or _makes_models(facts, module, node):
                continue
            test, branch = twin
            if not _raises(branch):
                refuses = _refuses(facts, module, branch)
                yield Branch(module, node, test, model, _is_empty(branch), refuses)


@dataclass(frozen=True)
class Doubled:
    """An expression that names both classes, or tests for both, and what stays of it."""

    node: ast.expr
    gone: ast.expr
    kept: tuple[ast.expr, ...]


def doubled(facts: Facts, module: Module) -> Iterator[Doubled]:
    """`(FSDP1, FSDPModule)`, `FSDP1 | FSDPModule`, and `or` between tests for each of them."""
    for node in module.parents:
        parts = _parts(node)
        first = [p for p in parts if library_name(facts.value(p)) == FSDP1]
        other = [p for p in parts if library_name(facts.value(p)) == FSDP2]
        if isinstance(node, ast.BoolOp):
            tests = [(p, asked(facts, p, FSDP1), asked(facts, p, FSDP2)) for p in parts]
            twins = [model for _, _, model in tests if model is not None]
            first = [p for p, model, _ in tests if any(model and same(model, t) for t in twins)]
            other = [p for p, _, model in tests if model is not None]
        if len(first) == 1 and other and isinstance(node, ast.expr):
            yield Doubled(node, first[0], tuple(p for p in parts if p is not first[0]))


def _parts(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        return node.elts
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [node.left, node.right]
    return node.values if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) else []


def asked(facts: Facts, test: ast.expr, name: str) -> ast.expr | None:
    """The object of which `test` asks if it is of the class `name`, and nothing else."""
    if not isinstance(test, ast.Call) or len(test.args) != 2 or test.keywords:
        return None
    if library_name(facts.value(test.func)) not in TESTS:
        return None
    return test.args[0] if library_name(facts.value(test.args[1])) == name else None


def tests_of_fsdp2(facts: Facts, module: Module) -> Iterator[ast.expr]:
    """The tests for FSDP2's class that the author of a module has written."""
    for node in module.parents:
        if isinstance(node, ast.Call) and asked(facts, node, FSDP2) is not None:
            yield node


def may_be_sharded_already(facts: Facts, model: ast.expr) -> bool:
    """Whether `model` may be one that the program itself gives to `fully_shard`."""
    calls = [
        call
        for call in facts.analysis.call_nodes.values()
        if call.args and library_name(facts.value(call.func)) in FULLY_SHARD
    ]
    given = [facts.value(node) for call in calls for node in (call, call.args[0])]
    value = facts.value(model)
    is_unknown = not value or any(isinstance(atom, Unknown) for atom in value)
    return bool(calls) and (is_unknown or any(value & each for each in given))


def _twin(
    facts: Facts, module: Module, node: ast.If | ast.IfExp, model: ast.expr
) -> tuple[ast.expr, ast.If | ast.IfExp] | None:
    """The test for FSDP2's class of the same object, in one chain or in one block, and what it
    is the test of."""
    chain: list[ast.AST] = [node]
    for around in module.ancestors(node):
        if not isinstance(around, type(node)) or node not in _alternatives(around):
            break
        chain.append(around)
    block = module.block(node) if isinstance(node, ast.If) else []
    for each in (*chain, *block):
        for branch in _chain(each):
            for part in _parts_of_test(facts, branch.test, model, in_chain=each in chain):
                return part, branch
    return None


def _parts_of_test(
    facts: Facts, test: ast.expr, model: ast.expr, *, in_chain: bool
) -> Iterator[ast.expr]:
    """The test for FSDP2's class in the condition of a branch.

    Where other things take the branch, too, it is that of FSDP2's models if it is one of the
    same chain, which FSDP1's have left before.
    """
    parts = test.values if isinstance(test, ast.BoolOp) else [test]
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        if not in_chain or any(_asks_one_of(facts, part, model, FSDP1) for part in parts):
            return
    for part in parts:
        if in_chain and _asks_one_of(facts, part, model, FSDP1):
            continue
        asks = _asks_one_of if in_chain else _asks
        if asks(facts, part, model, FSDP2):
            yield part


def _asks(facts: Facts, test: ast.expr, model: ast.expr, name: str) -> bool:
    other = asked(facts, test, name)
    return other is not None and same(other, model)


def _asks_one_of(facts: Facts, test: ast.expr, model: ast.expr, name: str) -> bool:
    """Whether `test` asks if `model` is of the class `name`, or of one of several with it."""
    if _asks(facts, test, model, name):
        return True
    if not isinstance(test, ast.Call) or len(test.args) != 2 or test.keywords:
        return False
    if library_name(facts.value(test.func)) not in TESTS or not same(test.args[0], model):
        return False
    return any(library_name(facts.value(part)) == name for part in _parts(test.args[1]))


def _alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """The conditions that are asked next where that of `node` doesn't hold."""
    if isinstance(node, ast.If) and len(node.orelse) == 1:
        yield from _with_alternatives(node.orelse[0])
    elif isinstance(node, ast.IfExp):
        yield from _with_alternatives(node.orelse)


def _with_alternatives(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    yield from _alternatives(node)


def _chain(node: ast.AST) -> Iterator[ast.If | ast.IfExp]:
    """The branches of `if ... elif ...`, one after the other."""
    for each in _with_alternatives(node):
        if isinstance(each, ast.If | ast.IfExp):
            yield each


def _raises(branch: ast.If | ast.IfExp) -> bool:
    return isinstance(branch, ast.If) and isinstance(branch.body[-1], ast.Raise)


def _refuses(facts: Facts, module: Module, branch: ast.If | ast.IfExp) -> ast.stmt | None:
    """The first statement of a branch that raises an error, unless it is known not to."""
    for statement in branch.body if isinstance(branch, ast.If) else ():
        for node in [statement, *own_nodes(statement)]:
            if isinstance(node, ast.Assert) and not _holds(facts, node.test, truth=True):
                return node
            if isinstance(node, ast.Raise):
                tests = [
                    (condition.tests[0], not condition.is_branch)
                    for condition in conditions(module, node)
                    if condition.tests and condition.tests[0] in list(own_nodes(statement))
                ]
                if not any(_holds(facts, test, truth) for test, truth in tests):
                    return node
    return None


def _holds(facts: Facts, test: ast.expr, truth: bool) -> bool:
    """Whether a test is known to come out as `truth`: one for a class, or for None."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _holds(facts, test.operand, not truth)
    if truth and _is_asked(facts, test):
        return True
    match test:
        case ast.Compare(left, [ast.Is() | ast.IsNot() as op], [ast.Constant(None)]):
            value = facts.value(left)
            known = bool(value) and not any(isinstance(a, Unknown) for a in value)
            if isinstance(op, ast.IsNot) is truth:
                return known and not value & NONE
            return known and value <= NONE
    return False


def _is_asked(facts: Facts, test: ast.expr) -> bool:
    """Whether `test` asks if something is one of FSDP2's models, which it is there."""
    return asked(facts, test, FSDP2) is not None


def _is_empty(branch: ast.If | ast.IfExp) -> bool:
    """Whether a branch does nothing."""
    return isinstance(branch, ast.If) and all(
        isinstance(n, ast.Pass) or (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
        for n in branch.body
    )


def refusals(facts: Facts, module: Module) -> Iterator[tuple[ast.expr, frozenset[Wrapped]]]:
    """The tests for FSDP2's class that migrated models don't get past, and those models."""
    for node in module.parents:
        test: ast.expr
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.UnaryOp):
            if not isinstance(node.test.op, ast.Not):
                continue
            test = node.test.operand
        elif isinstance(node, ast.If) and _raises(node):
            test = node.test
        else:
            continue
        model = asked(facts, test, FSDP2)
        models = {a for a in facts.value(model) if isinstance(a, Wrapped)} if model else set()
        if model is not None and models and not _is_caught_before(facts, module, node, model):
            yield test, frozenset(models)


def _is_caught_before(facts: Facts, module: Module, node: ast.stmt, model: ast.expr) -> bool:
    """Whether FSDP1's models go another way, above `node`, and FSDP2's will as well."""

    def catches(test: ast.expr) -> bool:
        other = asked(facts, test, FSDP1)
        return other is not None and same(other, model)

    for around in module.ancestors(node):
        if not isinstance(around, ast.If) or node not in _alternatives(around):
            break
        if catches(around.test):
            return True
        node = around
    block = module.block(node)
    return any(
        isinstance(above, ast.If)
        and catches(above.test)
        and isinstance(above.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
        for above in block[: block.index(node)]
    )


def _makes_models(facts: Facts, module: Module, node: ast.If | ast.IfExp) -> bool:
    """Whether a branch wraps a model."""
    wraps = {fact.node for fact in facts.analysis.wraps.values()}
    body = node.body if isinstance(node, ast.If) else [node.body]
    return any(n in wraps for part in body for n in nodes_in(part))
