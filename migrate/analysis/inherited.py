"""Methods that mean something else on a class that inherits them.

A base class calls what its subclasses override: which class an object is of decides what happens.
A method runs on each class that nothing here makes objects of (a registry does, or another
program), if it uses, directly or not, what that class defines anew.  And in a method that a class
overrides, `self` is no object of that class.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.classes import Classes
from fsdp_migrate.analysis.program import FunctionInfo, Program
from fsdp_migrate.syntax.module import scope_nodes
from fsdp_migrate.syntax.span import Site


def inherited_methods(program: Program, classes: Classes) -> Iterator[tuple[Site, Site]]:
    """The methods, each with a class that inherits it and makes a difference to it."""
    for cls in program.classes:
        lineage = classes.lineage(cls)
        for base in lineage[1:]:
            below = [site for site in lineage if site not in classes.lineage(base)]
            anew = {name for site in below for name in _defined(program, site)}
            methods = _inherited_from(program, classes, base, cls)
            yield from ((site, cls) for site in _that_use(methods, anew))


def _defined(program: Program, cls: Site) -> Iterator[str]:
    """The methods and attributes in the body of a class."""
    info = program.classes[cls]
    yield from (name for name in info.methods if name != "__init__")
    for node in scope_nodes(info.node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _inherited_from(
    program: Program, classes: Classes, base: Site, cls: Site
) -> dict[Site, FunctionInfo]:
    """The methods of `base` that are those of `cls` as well."""
    return {
        site: program.functions[site]
        for name, site in program.classes[base].methods.items()
        if classes.method(cls, name) == site and not program.functions[site].is_static
    }


def _that_use(methods: dict[Site, FunctionInfo], names: set[str]) -> list[Site]:
    """Those that mention one of `names`, or another one that does."""
    found: list[Site] = []
    while True:
        more = [
            s for s, i in methods.items() if s not in found and not names.isdisjoint(i.mentions)
        ]
        if not more:
            return found
        found += more
        names = names | {methods[site].name for site in more}


def family(classes: Classes, cls: Site, method: FunctionInfo | None) -> list[Site]:
    """The classes whose attributes an object of `cls` may have; in `method`, if it is `self`."""
    below = classes.descendants(cls)
    if method is not None:
        own = classes.method(cls, method.name)
        below = [site for site in below if classes.method(site, method.name) == own]
    return [*classes.lineage(cls), *below]


def method_of(function: FunctionInfo | None, node: ast.expr) -> FunctionInfo | None:
    """`function`, if it is a method and `node` is its `self`."""
    if function is None or function.cls is None or function.is_static or not function.positional:
        return None
    is_self = isinstance(node, ast.Name) and node.id == function.positional[0].arg
    return function if is_self else None
