"""Which files are linked by imports, found in their bytes, without parsing any.

A line that looks like an import is taken for one: a false link costs the time to look at one
file more.  Names are looked for as the engine does: from the importer's own folder upwards,
also below a `src` folder there.  `from package import name` leads to where the package has
`name` from, and not to all that its `__init__` imports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
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
_PROJECT_MARKS = frozenset({".git", "pyproject.toml", "setup.py", "setup.cfg"})


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

    `files` are those of the run; what they import from elsewhere in their project is found on
    disk.  `data` reads a file (empty, if it can't).
    """

    def __init__(self, files: Iterable[str], data: Callable[[str], bytes]) -> None:
        self._files = {module_name(path): path for path in files}
        self._names = {part for name in self._files for part in upwards(name)}
        self._tops = {os.path.basename(name) for name in self._names}
        self._disk = _Disk()
        self._imports = cache(lambda path: tuple(imports(data(path))))
        self._targets = cache(self._targets_of)
        self._located = cache(self._locate)
        self._roots = cache(self._roots_of)
        self._bases = cache(self._bases_of)

    def importers(self, targets: Iterable[str], beyond: Iterable[str] = ()) -> set[str]:
        """The files, of the run or of `beyond`, that import one of `targets`.

        Directly or through others.
        """
        users: dict[str, list[str]] = {}
        for path in {*self._files.values(), *beyond}:
            for target in self._targets(path).ends:
                users.setdefault(target, []).append(path)
        return _reach(targets, lambda path: users.get(path, ()))

    def imported(self, paths: Iterable[str]) -> set[str]:
        """The files, of the run or on disk, that `paths` import, directly or through others."""
        passed: set[str] = set()

        def step(path: str) -> Iterable[str]:
            targets = self._targets(path)
            passed.update(targets.passed)
            return targets.ends

        return _reach(paths, step) | passed

    def _targets_of(self, path: str) -> _Targets:
        targets = _Targets()
        for item in self._imports(path):
            self._follow(path, item, targets)
        targets.ends.discard(path)
        return targets

    def _follow(self, path: str, item: Import, targets: _Targets) -> None:
        """Add the files that `item`, in the file `path`, is from."""
        folder = os.path.dirname(path)
        if not item.level and not self._roots(folder, item.dotted.partition(".")[0]):
            return  # a library
        module = self._find(path, item.level, item.dotted)
        if module is not None and (not item.names or not _is_package(module)):
            targets.ends.add(module)
            return
        for name, _ in item.names:
            below = f"{item.dotted}.{name}" if item.dotted else name
            inner = None if name == "*" else self._find(path, item.level, below)
            if inner is not None:
                targets.ends.add(inner)
            elif module is not None:
                self._through(module, name, targets)

    def _through(self, module: str, name: str, targets: _Targets) -> None:
        """Add the file that `module` has `name` from, if it is a package that passes it on."""
        if (module, name) in targets.seen:
            return
        targets.seen.add((module, name))
        passes = []
        if name != "*" and _is_package(module):
            for item in self._imports(module):
                names = tuple(pair for pair in item.names if pair[1] in (name, "*"))
                if names:
                    passes.append(item._replace(names=names))
        if not passes:
            targets.ends.add(module)
            return
        targets.passed.add(module)
        for item in passes:
            self._follow(module, item, targets)

    def _find(self, importer: str, level: int, dotted: str) -> str | None:
        """The file of the module that `dotted` means in `importer`."""
        found = self._located(os.path.dirname(importer), level, dotted)
        return None if found == importer and not level else found  # `import x` in x.py: a library

    def _locate(self, folder: str, level: int, dotted: str) -> str | None:
        below = dotted.replace(".", os.sep)
        if level:
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
            return self._module(os.path.join(folder, below) if below else folder)
        for root in self._roots(folder, dotted.partition(".")[0]):
            found = self._module(os.path.join(root, below))
            if found is not None:
                return found
        return None

    def _roots_of(self, folder: str, top: str) -> tuple[str, ...]:
        """The folders, seen from `folder`, that hold something called `top`; the nearest first."""
        known = top in self._tops
        return tuple(
            root
            for root, in_project in self._bases(folder)
            if (known and os.path.join(root, top) in self._names)
            or (in_project and self._disk.holds(root, top))
        )

    def _bases_of(self, folder: str) -> tuple[tuple[str, bool], ...]:
        """Where an absolute import in `folder` looks, and whether that is in the project."""
        project = self._disk.project(folder)
        return tuple(
            (root, base.startswith(project))
            for base in upwards(folder)
            for root in (base, os.path.join(base, "src"))
        )

    def _module(self, name: str) -> str | None:
        return self._files.get(name) or self._disk.module(name)


class _Disk:
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

    def _project(self, folder: str) -> str:
        """The root of the project around `folder`; with no sign of one, where its packages lie."""
        for base in upwards(folder):
            if not _PROJECT_MARKS.isdisjoint(self.names(base)):
                return base
        while "__init__.py" in self.names(folder):
            folder = os.path.dirname(folder)
        return folder


def module_name(path: str) -> str:
    """The path of a module without suffix; a package's is its folder."""
    folder, name = os.path.split(path)
    return folder if name == "__init__.py" else os.path.splitext(path)[0]


def _is_package(path: str) -> bool:
    return os.path.basename(path) == "__init__.py"


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
