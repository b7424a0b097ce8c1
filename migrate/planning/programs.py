"""Which files can be part of one running program: something imports both of them."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath

from fsdp_migrate.syntax.project import Project


class Programs:
    """The programs that a project's files make up, by who imports whom."""

    def __init__(self, project: Project) -> None:
        self._importers: dict[str, set[str]] = {name: set() for name in project.modules}
        for name in project.modules:
            for target in project.imports(name):
                packages = (str(above) for above in PurePosixPath(target).parents)
                for found in (target, *(each for each in packages if each in project.modules)):
                    self._importers[found].add(name)
        self.starts = cache(self._starts)

    def meet(self, one: str, other: str) -> bool:
        """Whether the modules `one` and `other` can be in one running program."""
        return one == other or not self.starts(one).isdisjoint(self.starts(other))

    def is_imported(self, name: str) -> bool:
        """Whether a module of the project imports the module `name`."""
        return bool(self._importers[name] - {name})

    def _starts(self, name: str) -> frozenset[str]:
        """The modules whose run brings in `name`, itself among them."""
        seen, todo = {name}, [name]
        while todo:
            more = self._importers[todo.pop()] - seen
            seen |= more
            todo.extend(more)
        return frozenset(seen)
