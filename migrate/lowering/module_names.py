"""What a module is a part of, by its name: `block` is one of `net` in `for block in net.blocks`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.library.modules import RETURN_SELF, SUBMODULES
from fsdp_migrate.syntax.module import Scope
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of

# Methods of a module (or a list of some) that give its parts, or itself.
OF_MODULES = frozenset({*SUBMODULES, *RETURN_SELF, "get", "get_submodule", "items", "values"})
# Functions that give what they are given, or its items.
PASSING = frozenset(
    {
        "dict", "enumerate", "filter", "getattr", "iter", "list", "next", "reversed", "sorted",
        "tuple", "vars", "zip",
    }
)  # fmt: skip
ROUNDS = 4  # names that are followed one after the other


def module_paths(node: ast.expr) -> Iterator[str]:
    """The paths that the module `node` is at, or is taken out of: `net.blocks[0]`, `getattr`."""
    path = path_of(node)
    if path is not None:
        yield path
        return
    match node:
        case ast.Subscript(value=value) | ast.Attribute(value=value) | ast.Starred(value=value):
            yield from module_paths(value)
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if _gives_parts(method):
            yield from module_paths(value)
        case ast.Call(func=ast.Name(id=name), args=args) if name in PASSING:
            given = {"filter": args[1:2], "zip": args}.get(name, args[:1])
            for argument in given:
                yield from module_paths(argument)
        case ast.IfExp(body=body, orelse=orelse):
            yield from module_paths(body)
            yield from module_paths(orelse)
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            for element in elts:
                yield from module_paths(element)


def _gives_parts(method: str) -> bool:
    """Whether a method may give a part of its object, as `get_input_embeddings` does."""
    return method in OF_MODULES or method.startswith("get_")


def wholes(scope: Scope, paths: Iterable[str]) -> frozenset[str]:
    """`paths`, and those of the modules that what is there may be a part of in `scope`."""
    found = set(paths)
    for _ in range(ROUNDS):
        roots = {path.partition(".")[0] for path in found}
        new = {path for root, path in _sources(scope) if root in roots} - found
        if not new:
            break
        found |= new
    return frozenset(found)


def _sources(scope: Scope) -> Iterator[tuple[str, str]]:
    """The variables of `scope`, each with the paths that it is taken from."""
    for node in own_nodes(scope):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _pairs(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from _pairs(target, value)
            case ast.NamedExpr(target=target, value=value):
                yield from _pairs(target, value)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield from _items(target, value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    both = (ast.Tuple, ast.List)
    if isinstance(target, both) and isinstance(value, both) and len(target.elts) == len(value.elts):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, part)
        return
    names = [n.id for n in nodes_in(target) if isinstance(n, ast.Name)] if _binds(target) else []
    yield from ((name, path) for path in module_paths(value) for name in names if path != name)


def _items(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    """What the variables of a loop are taken from."""
    zipped = isinstance(value, ast.Call) and path_of(value.func) == "zip"
    if zipped and isinstance(value, ast.Call) and isinstance(target, ast.Tuple):
        if len(target.elts) == len(value.args):
            for one, part in zip(target.elts, value.args, strict=True):
                yield from _pairs(one, part)
            return
    yield from _pairs(target, value)


def _binds(target: ast.expr) -> bool:
    """Whether a target gives variables a value: `m`, `i, m`, and not `self.m` or `all["m"]`."""
    return not any(isinstance(node, ast.Attribute | ast.Subscript) for node in nodes_in(target))
