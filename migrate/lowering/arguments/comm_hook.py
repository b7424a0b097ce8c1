"""`model.register_comm_hook(state, hook)` right after the wrap: a dtype for the reduction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from fsdp_migrate.analysis.values import Symbol, Value, Wrapped
from fsdp_migrate.findings.code import Name, call, qualified
from fsdp_migrate.lowering.arguments.precision_fields import POLICY
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.wrap_plan import Parts, Precision
from fsdp_migrate.lowering.wrap_site import WrapSite

HOOKS = "torch.distributed.algorithms._comm_hooks"
DTYPES = {
    f"{HOOKS}.{home}{name}_compress_hook": qualified(f"torch.{dtype}")
    for home in ("", "default_hooks.")
    for name, dtype in (("bf16", "bfloat16"), ("fp16", "float16"))
}


def lower_comm_hook(site: WrapSite, parts: Parts) -> Parts:
    """Reduce gradients in the dtype that the one hook, registered in the same block, casts to."""
    if parts.precision is not None or site.role is not Role.ROOT:
        return parts
    block = site.module.block(site.module.statement(site.fact.node))
    for registered, receiver in _registered(site):
        dtype = _dtype(site, registered)
        statement = site.module.parents[registered]
        alone = site.analysis.wrapped(receiver) == {Wrapped(site.fact.site)}
        if dtype is None or not alone or not isinstance(statement, ast.Expr):
            return parts
        if statement not in block:
            return parts
        precision = Precision(call(POLICY, reduce_dtype=dtype))
        parts = replace(parts, comm_hook=registered, precision=precision)
    return parts


def _registered(site: WrapSite) -> Iterator[tuple[ast.Call, Value]]:
    """The calls in the file that give the model a hook, and what they may give it to."""
    for place, node in site.analysis.call_nodes.items():
        func = node.func
        if place.module != site.module.name or not isinstance(func, ast.Attribute):
            continue
        receiver = site.analysis.value(func.value)
        if func.attr == "register_comm_hook" and Wrapped(site.fact.site) in receiver:
            yield node, receiver


def _dtype(site: WrapSite, registered: ast.Call) -> Name | None:
    """The dtype that a compression hook of torch casts gradients to, or None for other hooks."""
    given = [*registered.args[1:], *(k.value for k in registered.keywords if k.arg == "hook")]
    value = site.analysis.value(given[0]) if given else frozenset()
    names = [atom.name for atom in value if isinstance(atom, Symbol)]
    return DTYPES.get(names[0]) if len(names) == len(value) == 1 else None
