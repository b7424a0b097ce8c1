"""Functions that update one model's flat parameters from another's, element by element.

`for mine, theirs in zip(_get_fsdp_handles(ema), _get_fsdp_handles(model))` goes through what the
models are made of; where nothing but element-wise arithmetic is done with it, the parameters
themselves will do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import own_nodes

HANDLES = f"{ROOT}._traversal_utils._get_fsdp_handles"
FLAT = "flat_param"
ASKED = frozenset({"data", "detach", "device", "dtype", "requires_grad"})
METHODS = frozenset(
    {"add_", "append", "copy_", "detach", "div_", "lerp_", "mul_", "sub_", "to", "zero_"}
)
FUNCTIONS = frozenset(
    {
        "builtins.len", "builtins.zip",
        *(f"torch._foreach_{name}_" for name in ("add", "copy", "div", "lerp", "mul", "sub")),
    }
)  # fmt: skip


def is_flat_update(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` stands in such a function."""
    function = module.function(node)
    if not isinstance(function, ast.FunctionDef):
        return False
    calls = [n for n in own_nodes(function) if isinstance(n, ast.Call)]
    inside = [call for call in calls if function.lineno < call.lineno]
    taken = [call for call in inside if called(facts, call) == {HANDLES}]
    if not taken or not all(call in taken or _is_elementwise(facts, call) for call in inside):
        return False
    return all(_is_gone_through(facts, module, function, call) for call in taken)


def _is_elementwise(facts: Facts, call: ast.Call) -> bool:
    names = called(facts, call)
    if names:
        return names <= FUNCTIONS
    return isinstance(call.func, ast.Attribute) and call.func.attr in METHODS


def _is_gone_through(
    facts: Facts, module: Module, function: ast.FunctionDef, call: ast.Call
) -> bool:
    """Whether the handles of a model are bound to a name, and only loops go through that."""
    statement = module.parents[call]
    if len(call.args) != 1 or call.keywords or not only_models(facts, call.args[0]):
        return False
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    (target,) = statement.targets
    if not isinstance(target, ast.Name):
        return False
    reads = list(_reads(module, function, target))
    return bool(reads) and all(_is_read_so(facts, module, function, read) for read in reads)


def _is_read_so(facts: Facts, module: Module, function: ast.FunctionDef, read: ast.Name) -> bool:
    parent = module.parents[read]
    if isinstance(parent, ast.Call) and "builtins.len" in called(facts, parent):
        return True
    around: ast.AST = read
    index: int | None = None
    if isinstance(parent, ast.Call) and "builtins.zip" in called(facts, parent):
        around, index = parent, parent.args.index(read)
    loop = module.parents[around]
    if not isinstance(loop, ast.For) or loop.iter is not around:
        return False
    item: ast.expr = loop.target
    if index is not None:
        if not isinstance(item, ast.Tuple) or len(item.elts) <= index:
            return False
        item = item.elts[index]
    return isinstance(item, ast.Name) and all(
        _asks_for_flat(module, each) for each in _reads(module, function, item)
    )


def _asks_for_flat(module: Module, handle: ast.Name) -> bool:
    """Whether `handle` is that of `handle.flat_param.data` or the like."""
    flat = module.parents[handle]
    if not isinstance(flat, ast.Attribute) or flat.attr != FLAT:
        return False
    above = module.parents[flat]
    if isinstance(above, ast.Attribute):
        return above.attr in ASKED and isinstance(above.ctx, ast.Load)
    return isinstance(above, ast.Compare) and isinstance(above.ops[0], ast.Is | ast.IsNot)


def _reads(module: Module, function: ast.FunctionDef, name: ast.Name) -> Iterator[ast.Name]:
    """What reads a variable that is bound once in `function`; the binding itself, if it isn't."""
    scope = scope_of(module, name)
    if scope is not function or len(list(bindings(function, name.id))) != 1:
        yield name
        return
    for node in own_nodes(function):
        if isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Load):
            yield node
