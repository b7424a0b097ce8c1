"""Tests of a program: they run it, and it runs without them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from fsdp_migrate.planning.programs import Programs
from fsdp_migrate.planning.unused import KINDS, Definition, spans
from fsdp_migrate.syntax.module import Module

FOLDERS = frozenset({"test", "tests"})


class Tests:
    """The functions and classes of files that only pytest, or other such files, run."""

    def __init__(self, modules: Iterable[Module], programs: Programs) -> None:
        every = {module.name for module in modules}
        named = {name for name in every if _is_named_so(name)}
        beside = {name for name in every if programs.is_imported(name) and _is_in_folder(name)}
        # What the program itself imports is part of it, whatever it is called.
        self._modules = {name for name in named | beside if programs.starts(name) <= named | beside}

    def around(self, module: Module, line: int) -> Definition | None:
        """The outermost definition of a test file on a line, or None."""
        if module.name not in self._modules:
            return None
        return next((n for n in module.tree.body if isinstance(n, KINDS) and spans(n, line)), None)


def _is_named_so(module: str) -> bool:
    """Whether pytest collects a module, by its name."""
    name = PurePath(module).name
    return name.startswith("test_") or name.endswith("_test") or name == "conftest"


def _is_in_folder(module: str) -> bool:
    """Whether a module stands beside tests, which may import it."""
    return PurePath(module).parent.name in FOLDERS
