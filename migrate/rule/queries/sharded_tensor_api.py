"""ShardedTensor's own methods, asked of the values of sharded state dicts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Result, Wrapped
from fsdp_migrate.findings.code import Kept, Name, code
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds

DTENSOR = Name("torch.distributed.tensor", "DTensor")
# Methods that nothing else has.
TELLING = frozenset({"local_shards", "local_tensor", "remote_shards", "sharding_spec"})
# Methods that other things have as well.
COMMON = frozenset({"gather", "init_from_local_shards", "metadata"})
STATE_DICTS = frozenset({f"{FSDP1}.state_dict", f"{FSDP1}.optim_state_dict"})
COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp, ast.SetComp)


@dataclass(frozen=True)
class Asked:
    """A call of such a method, and the edits by which DTensors answer; None if there are none."""

    call: ast.Call
    method: str
    edits: tuple[Edit, ...] | None
    is_proven: bool  # it is asked of a value of a migrated model's state dict


def asked(facts: Facts, module: Module) -> Iterator[Asked]:
    """The calls in a file."""
    for node in module.parents:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in TELLING or (
                name in COMMON and _is_state_value(facts, module, node.func.value)
            ):
                proven = comes_of_state(facts, module, node.func.value)
                yield Asked(node, name, _edits(facts, module, node, node.func), proven)


def comes_of_state(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is a value of a migrated model's state dict, and nothing else.

    Values of other dicts, of files for instance, may be ShardedTensors still.
    """
    while isinstance(node, ast.Subscript):
        node = node.value
    value = facts.value(node)
    if value and all(isinstance(a, Result) and a.symbol in STATE_DICTS for a in value):
        return True
    if not isinstance(node, ast.Name):
        return False
    scope = module.scope(node)
    if any(
        isinstance(n, ast.Assign | ast.AugAssign | ast.NamedExpr) and node.id in binds(n)
        for n in own_nodes(scope)
    ):
        return False
    loops = list(_loops(scope, node.id))
    return bool(loops) and all(
        loop.iter.func.value is not node and comes_of_state(facts, module, loop.iter.func.value)
        if isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Attribute)
        else False
        for loop in loops
    )


def _loops(scope: ast.AST, name: str) -> Iterator[ast.For | ast.comprehension]:
    """The loops over something that have `name` as a variable."""
    for loop in nodes_in(scope):
        if isinstance(loop, ast.For | ast.comprehension) and any(
            isinstance(n, ast.Name) and n.id == name for n in nodes_in(loop.target)
        ):
            yield loop


def every_model(facts: Facts) -> frozenset[str]:
    """The models of the program, whose state dicts the values can be of."""
    return facts.models(Wrapped(site) for site in facts.analysis.wraps)


def _is_state_value(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node` is a variable of a loop over a state dict, or an item of one."""
    if isinstance(node, ast.Subscript):
        return _is_state(facts, node.value)
    if not isinstance(node, ast.Name):
        return False
    return any(
        isinstance(loop.iter, ast.Call)
        and isinstance(loop.iter.func, ast.Attribute)
        and loop.iter.func.attr in {"items", "values"}
        and _is_state(facts, loop.iter.func.value)
        for loop in _loops(module.scope(node), node.id)
    )


def _is_state(facts: Facts, node: ast.expr) -> bool:
    return any(isinstance(a, Result) and a.symbol in STATE_DICTS for a in facts.value(node))


def _edits(
    facts: Facts, module: Module, call: ast.Call, func: ast.Attribute
) -> tuple[Edit, ...] | None:
    """How a DTensor gives the same, with the one shard that a rank has."""
    if call.args or call.keywords or func.attr not in {"local_shards", "local_tensor"}:
        return None
    local = code("{value}.to_local()", value=Kept(module.span(func.value)))
    if func.attr == "local_tensor":
        return (ReplaceExpression(module.span(call), local),)
    parent = module.parents[call]
    outer = module.parents[parent]
    if isinstance(parent, ast.Subscript) and _is_tensor(outer):
        if isinstance(parent.slice, ast.Constant) and parent.slice.value == 0:
            return (ReplaceExpression(module.span(outer), local),)
        return None
    loop, target = _loop_over(facts, module, call)
    if loop is None or not isinstance(target, ast.Name):
        return None
    reads = [
        node
        for node in nodes_in(loop)
        if isinstance(node, ast.Name) and node.id == target.id and isinstance(node.ctx, ast.Load)
    ]
    if not all(_is_tensor(module.parents[read]) for read in reads):
        return None
    if isinstance(loop, COMPREHENSIONS) and len(loop.generators) == 1 and len(reads) == 1:
        only = loop.generators[0]
        if isinstance(loop, ast.ListComp) and not only.ifs and only.iter is call:
            whole = code("[{each}]", each=Kept(module.span(loop.elt)))
            shard = module.span(module.parents[reads[0]])
            return (
                ReplaceExpression(module.span(loop), whole),
                ReplaceExpression(shard, local),
            )
    tensors = [module.parents[read] for read in reads]
    return (
        ReplaceExpression(module.span(call), code("[{local}]", local=local)),
        *(
            ReplaceExpression(module.span(node), Kept(module.span(node.value)))
            for node in tensors
            if isinstance(node, ast.Attribute)
        ),
    )


def _is_tensor(node: ast.AST) -> bool:
    """Whether it is `shard.tensor`."""
    return isinstance(node, ast.Attribute) and node.attr == "tensor"


def _loop_over(
    facts: Facts, module: Module, call: ast.Call
) -> tuple[ast.AST | None, ast.expr | None]:
    """The loop that goes through `call`, alone or in a `zip`, and the variable of its items."""
    iterated: ast.AST = call
    index: int | None = None
    parent = module.parents[call]
    if isinstance(parent, ast.Call) and called(facts, parent) == {"builtins.zip"}:
        index = parent.args.index(call)
        iterated, parent = parent, module.parents[parent]
    if not isinstance(parent, ast.For | ast.comprehension) or parent.iter is not iterated:
        return None, None
    target: ast.expr = parent.target
    if index is not None:
        if not isinstance(target, ast.Tuple) or len(target.elts) <= index:
            return None, None
        target = target.elts[index]
    loop = parent if isinstance(parent, ast.For) else module.parents[parent]
    return loop, target
