"""Which files are linked by imports, found in their bytes, without parsing any.

A line that looks like an import is taken for one: a false link costs the time to look at one
file more.  Names are looked for as the engine does: from the importer's own folder upwards,
also below a `src` folder there.  `from package import name` leads to where the package has
`name` from, and not to all that its `__init__` imports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

_IMPORT = re.compile(
    rb"\n[ \t]*(?:"
    rb"from[ \t]+(\.*)[ \t]*([\w.]*)[ \t]*import[ \t]*"
    rb"(\((?:[^()#]|#[^\n]*)*\)|(?:[^\n;#(\\]|\\\r?\n)+)"
    rb"|import[ \t]+((?:[^\n;#\\]|\\\r?\n)+))"
)
_COMMENT = re.compile(rb"#[^\n]*")
_NAME = re.compile(r"(\*|\w+)(?:\s+as\s+(\w+))?")
_DOTTED = re.compile(r"([\w.]+)(?:\s+as\s+\w+)?")
_PROJECT_MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


class Import(NamedTuple):
    """`from ..dotted import name as local` (level 2), or `import dotted` without names."""

    level: int
    dotted: str
    names: tuple[tuple[str, str], ...] = ()  # (name, what it is called here)


def imports(data: bytes) -> Iterator[Import]:
    """What the lines of `data` import, as far as it can be told without parsing."""
    for dots, dotted, names, modules in _IMPORT.findall(b"\n" + data):
        if modules:
            for name in _DOTTED.findall(_text(modules)):
                yield Import(0, name)
        elif dots or dotted:
            pairs = _NAME.findall(_text(_COMMENT.sub(b"", names)))
            yield Import(
                len(dots), _text(dotted), tuple((name, local or name) for name, local in pairs)
            )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@dataclass
class _Targets:
    """What a file imports: where the names come from, and the packages that pass them on."""

    ends: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)


class Graph:
    """The import links between files, which are known by absolute path.

    `files` are those of the run.  `data` reads a file (empty, if it can't).
    """

    def __init__(self, files: Iterable[str], data: Callable[[str], bytes]) -> None:
        self._files = {module_name(path): path for path in files}
        self._names = {part for name in self._files for part in upwards(name)}
        self._data = data
        self._imports: dict[str, tuple[Import, ...]] = {}
        self._disk = _Disk()
        self._located = cache(self._find_from)
        self._roots = cache(self._roots_of)

    def importers(self, targets: Iterable[str], beyond: Collection[str] = ()) -> set[str]:
        """The files of the run that import one of `targets`, directly or through others.

        For the files `beyond`, of the run or not, what they import is looked for on disk too.
        """
        users: dict[str, list[str]] = {}
        for path in {*self._files.values(), *beyond}:
            for target in self._targets(path, disk=path in beyond).ends:
                users.setdefault(target, []).append(path)
        return _reach(targets, lambda path: users.get(path, ()))

    def imported(self, paths: Iterable[str]) -> set[str]:
        """The files that `paths` import, directly or through others.

        Files of the same project that are not of the run are found on disk.
        """
        passed: set[str] = set()

        def step(path: str) -> Iterable[str]:
            targets = self._targets(path, disk=True)
            passed.update(targets.passed)
            return targets.ends

        return _reach(paths, step) | passed

    def _targets(self, path: str, *, disk: bool) -> _Targets:
        targets = _Targets()
        for item in self._imports_of(path):
            self._follow(path, item, disk, targets)
        targets.ends.discard(path)
        return targets

    def _follow(self, path: str, item: Import, disk: bool, targets: _Targets) -> None:
        """Add the files that `item`, in the file `path`, is from."""
        module = self._find(path, item.level, item.dotted, disk)
        if not item.names and module is not None:
            targets.ends.add(module)
        for name, _ in item.names:
            below = f"{item.dotted}.{name}" if item.dotted else name
            inner = None if name == "*" else self._find(path, item.level, below, disk)
            if inner is not None:
                targets.ends.add(inner)
            elif module is not None:
                self._through(module, name, disk, targets)

    def _through(self, module: str, name: str, disk: bool, targets: _Targets) -> None:
        """Add the file that `module` has `name` from, if it is a package that passes it on."""
        if (module, name) in targets.seen:
            return
        targets.seen.add((module, name))
        passes = []
        if name != "*" and os.path.basename(module) == "__init__.py":
            for item in self._imports_of(module):
                names = tuple(pair for pair in item.names if pair[1] in (name, "*"))
                if names:
                    passes.append(item._replace(names=names))
        if not passes:
            targets.ends.add(module)
            return
        targets.passed.add(module)
        for item in passes:
            self._follow(module, item, disk, targets)

    def _imports_of(self, path: str) -> tuple[Import, ...]:
        known = self._imports.get(path)
        if known is None:
            known = self._imports[path] = tuple(imports(self._data(path)))
        return known

    def _find(self, importer: str, level: int, dotted: str, disk: bool) -> str | None:
        """The file of the module that `dotted` means in `importer`."""
        found = self._located(os.path.dirname(importer), level, dotted, disk)
        return None if found == importer and not level else found  # `import x` in x.py: a library

    def _find_from(self, folder: str, level: int, dotted: str, disk: bool) -> str | None:
        below = dotted.replace(".", os.sep)
        if level:
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
            return self._module(os.path.join(folder, below) if below else folder, disk)
        for root in self._roots(folder, dotted.partition(".")[0], disk):
            found = self._module(os.path.join(root, below), disk)
            if found is not None:
                return found
        return None

    def _roots_of(self, folder: str, top: str, disk: bool) -> tuple[str, ...]:
        """The folders, seen from `folder`, that hold something called `top`; the nearest first."""
        bound = self._disk.project(folder) if disk else ""
        roots = []
        for base in upwards(folder):
            near = disk and base.startswith(bound)
            for root in (base, os.path.join(base, "src")):
                path = os.path.join(root, top)
                if path in self._names or (near and self._disk.holds(path)):
                    roots.append(root)
        return tuple(roots)

    def _module(self, name: str, disk: bool) -> str | None:
        return self._files.get(name) or (self._disk.module(name) if disk else None)


class _Disk:
    """The modules of a project that are not of the run, looked for on disk, each once."""

    def __init__(self) -> None:
        self.module = cache(self._module)
        self.holds = cache(self._holds)
        self.project = cache(self._project)

    def _module(self, name: str) -> str | None:
        """The file of the module called `name`, a path without suffix."""
        for path in (os.path.join(name, "__init__.py"), name + ".py"):
            if os.path.isfile(path):
                return path
        return None

    def _holds(self, path: str) -> bool:
        """Whether `path` is a folder, or the path of a module without suffix."""
        return os.path.isdir(path) or os.path.isfile(path + ".py")

    def _project(self, folder: str) -> str:
        """The root of the project around `folder`; with no sign of one, where its packages lie."""
        for base in upwards(folder):
            if any(os.path.exists(os.path.join(base, mark)) for mark in _PROJECT_MARKS):
                return base
        while os.path.exists(os.path.join(folder, "__init__.py")):
            folder = os.path.dirname(folder)
        return folder


def module_name(path: str) -> str:
    """The path of a module without suffix; a package's is its folder."""
    folder, name = os.path.split(path)
    return folder if name == "__init__.py" else os.path.splitext(path)[0]


def upwards(folder: str) -> Iterator[str]:
    """`folder` and all above it."""
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _reach(starts: Iterable[str], step: Callable[[str], Iterable[str]]) -> set[str]:
    """All that is reached from `starts` in one step or more."""
    reached: set[str] = set()
    done: set[str] = set()
    stack = list(starts)
    while stack:
        path = stack.pop()
        if path not in done:
            done.add(path)
            found = step(path)
            reached.update(found)
            stack.extend(found)
    return reached
