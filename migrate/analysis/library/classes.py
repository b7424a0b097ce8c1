"""What `isinstance` and `hasattr` say about a value, as far as its class is known."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from fsdp_migrate.analysis.library.modules import DDP, OTHER_WRAPPERS
from fsdp_migrate.analysis.values import Atom, Cls, Const, Instance, Result, Symbol, Wrapped
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.span import Site

WRAPPERS = OTHER_WRAPPERS | {FSDP1}


class Hierarchy(Protocol):
    """What has to be known of the program's classes."""

    def lineage(self, cls: Site) -> list[Site]:
        """`cls` and its bases of the project."""

    def library_bases(self, cls: Site) -> set[str]:
        """The library classes that `cls` derives from, by name."""

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""


def class_name(atom: Atom) -> str | Site | None:
    """The class that `atom` is, for `isinstance`; None if it isn't known to be one."""
    if isinstance(atom, Symbol):
        return atom.name
    if isinstance(atom, Cls):
        return atom.site
    return None


def is_instance(hierarchy: Hierarchy, atom: Atom, classes: Set[str | Site | None]) -> bool | None:
    """Whether `atom` is an instance of one of `classes`; None if that isn't known."""
    if isinstance(atom, Wrapped):
        if FSDP1 in classes or "torch.nn.Module" in classes:
            return True
        return None if classes - OTHER_WRAPPERS else False
    if isinstance(atom, Const):
        return None
    if isinstance(atom, Instance):
        known = {*hierarchy.lineage(atom.cls), *hierarchy.library_bases(atom.cls)}
        if known & classes:
            return True
        return None if classes - WRAPPERS else False
    if isinstance(atom, Result):
        if atom.symbol in classes:
            return True
        if atom.symbol.startswith("torch.nn.") and not classes - WRAPPERS:
            return False
        return False if atom.symbol.startswith("torch.nn.") and FSDP1 in classes else None
    return None


def has_method(hierarchy: Hierarchy, atom: Atom, name: str) -> bool | None:
    """Whether `atom` has one of FSDP1's own methods; None if that isn't known."""
    if isinstance(atom, Wrapped):
        return True
    if isinstance(atom, Instance) and hierarchy.is_module(atom):
        return hierarchy.method(atom.cls, name) is not None
    if isinstance(atom, Result) and atom.symbol.startswith("torch.nn."):
        return atom.symbol == DDP and name == "no_sync"
    return None
