"""The modules in a model, before it is wrapped."""

from __future__ import annotations

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import is_torch_module
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Container,
    Result,
    Unknown,
    Value,
    Wrapped,
    join,
)
from fsdp_migrate.analysis.wraps import WrapFact


def modules_of(
    analysis: Analysis, fact: WrapFact, ignored: Value = NOTHING
) -> tuple[dict[Atom, None], bool]:
    """What the model of `fact` is made of, but for what is `ignored`, and whether there is more.

    What a library makes of modules that it is given is made of these.
    """
    found: dict[Atom, None] = {}
    todo: list[Atom] = [*fact.inner]
    is_open = False
    while todo:
        atom = todo.pop()
        if atom in found or atom in ignored:
            continue
        found[atom] = None
        is_open = is_open or isinstance(atom, Unknown)
        if isinstance(atom, Result):
            args, kwargs = analysis.calls.get(atom.site, ([], {}))
            todo += join(*args, *kwargs.values())
        if _has_parts(analysis, atom):
            todo += analysis.parts(atom)
    return found, is_open


def _has_parts(analysis: Analysis, atom: Atom) -> bool:
    """Whether it is a module, or a list of some."""
    if isinstance(atom, Unknown | Wrapped):
        return False
    is_layer = isinstance(atom, Result) and is_torch_module(atom.symbol)
    return isinstance(atom, Container) or analysis.is_module(atom) or is_layer
