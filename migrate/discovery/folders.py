"""Modules and folders by absolute path, and which of them a project holds on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

_PROJECT_MARKS = frozenset({".git", "pyproject.toml", "setup.py", "setup.cfg"})


class Disk:
    """The modules of a project that are not of the run; each folder is listed once."""

    def __init__(self) -> None:
        self.names = cache(self._names)
        self.project = cache(self._project)

    def module(self, name: str) -> str | None:
        """The file of the module called `name`, a path without suffix."""
        folder, last = os.path.split(name)
        names = self.names(folder)
        if last in names and "__init__.py" in self.names(name):
            return os.path.join(name, "__init__.py")
        return name + ".py" if last + ".py" in names else None

    def holds(self, folder: str, name: str) -> bool:
        """Whether `folder` has a module or a folder called `name`."""
        names = self.names(folder)
        return name in names or name + ".py" in names

    def _names(self, folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except OSError:
            return frozenset()

    def marked(self, folder: str) -> str | None:
        """The root of the project around `folder`, if there is a sign of one."""
        for base in upwards(folder):
            if not _PROJECT_MARKS.isdisjoint(self.names(base)):
                return base
        return None

    def _project(self, folder: str) -> str:
        """The root of the project around `folder`; with no sign of one, where its packages lie."""
        root = self.marked(folder)
        if root is not None:
            return root
        while "__init__.py" in self.names(folder):
            folder = os.path.dirname(folder)
        return folder


def module_name(path: str) -> str:
    """The path of a module without suffix; a package's is its folder."""
    folder, name = os.path.split(path)
    return folder if name == "__init__.py" else os.path.splitext(path)[0]


def is_package(path: str) -> bool:
    """Whether a file makes its folder a package."""
    return os.path.basename(path) == "__init__.py"


def upwards(folder: str) -> Iterator[str]:
    """`folder` and all above it."""
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent
