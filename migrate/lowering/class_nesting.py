"""Whether a module of one class may hold one of another: units have to be sharded inside out."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Cls, Container, Instance, Result, Symbol
from fsdp_migrate.lowering.model_parts import parts_of_model
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

# Modules of torch that consist of what they are given.
HOLDERS = frozenset(
    f"torch.nn.{name}" for name in ("ModuleDict", "ModuleList", "Sequential", "Transformer")
)


def may_nest(analysis: Analysis, own: frozenset[Site], libraries: frozenset[str]) -> bool:
    """Whether a module of one of the classes may hold one of any of them."""
    if libraries:
        single = len(libraries) == 1 and not own
        # Layers of torch that hold modules given by the user may hold anything, and so may
        # layers of the user's that are of such a class themselves.
        return not single or not libraries.isdisjoint(HOLDERS) or _derived(analysis, libraries)
    every = {site for cls in own for site in (cls, *analysis.descendants(cls))}
    reach = {site for cls in every for site in _held(analysis, cls)}
    todo = sorted(every | reach)
    seen: set[Site] = set()
    while todo:
        site = todo.pop()
        if site in seen:
            continue
        seen.add(site)
        for cls in analysis.lineage(site):
            info = analysis.classes[cls]
            for call in nodes_in(info.node):
                value = analysis.value(call.func) if isinstance(call, ast.Call) else frozenset()
                for atom in value:
                    if isinstance(atom, Cls):
                        reach.add(atom.site)
                        todo.append(atom.site)
            if any(not isinstance(b, Cls | Symbol) for b in analysis.bases(cls)):
                return True
    return any(target in analysis.lineage(made) for made in reach for target in own)


def _held(analysis: Analysis, cls: Site) -> frozenset[Site]:
    """The classes of what the attributes of an object of `cls` hold."""
    held = analysis.parts(Instance(cls))
    modules = frozenset(a for a in held if isinstance(a, Instance | Container | Result))
    return parts_of_model(analysis, modules).classes if modules else frozenset()


def _derived(analysis: Analysis, libraries: frozenset[str]) -> bool:
    """Whether a class of the program derives from one of `libraries`."""
    return any(not libraries.isdisjoint(analysis.library_bases(c)) for c in analysis.classes)
