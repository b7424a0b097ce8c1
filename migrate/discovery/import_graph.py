"""Which files are linked by imports, found in their bytes, without parsing any.

Names are looked for as the engine does: from the importer's own folder upwards,
also below a `src` folder there.  `from package import name` leads to where the package has
`name` from, and not to all that its `__init__` imports.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from fsdp_migrate.discovery.folders import Disk, is_package, module_name, upwards
from fsdp_migrate.discovery.import_lines import Import, imports
from fsdp_migrate.syntax.standard_library import is_standard


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
        self._disk = Disk()
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
        if module is not None and (not item.names or not is_package(module)):
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
        if name != "*" and is_package(module):
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
            if not is_standard(top, root, lambda name: self._module(name) is not None)
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
