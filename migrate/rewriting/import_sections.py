"""Where a new import statement goes, as the file sorts its own."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode, home, is_stdlib
from fsdp_migrate.syntax.module import Module

Key = tuple[int, str]


@dataclass(frozen=True, eq=False)
class ImportPlace:
    """Beside which statement a new import goes, and the blank lines that set it apart."""

    node: ast.stmt
    after: bool
    blank_above: int = 0
    blank_below: int = 0


class Sections:
    """The import statements at the top of a module, in groups between blank lines."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.tree = module.tree
        self._places: dict[tuple[object, ...], ImportPlace] = {}

    def place(self, need: Import) -> ImportPlace:
        """Where `need` goes; one and the same object for imports that go to one place."""
        found = self._found(need)
        key = (found.node, found.after, found.blank_above, found.blank_below)
        return self._places.setdefault(key, found)

    def _found(self, need: Import) -> ImportPlace:
        library = not is_stdlib(need.module)
        group = self._group(library)
        if group:
            return _sorted_in(group, need)
        if library and need.name is None and (above := self.first_from_import()) is not None:
            return ImportPlace(above, after=False)
        after = self._last(library)
        if after is not None:
            return ImportPlace(after, after=True, blank_above=int(home(after) == "__future__"))
        first = self._first_code()
        if first is None:
            return ImportPlace(self.tree.body[0], after=True, blank_above=1)
        return ImportPlace(first, after=False, blank_below=_distance(first))

    # ------------------------------------------------------------------ groups that are sorted
    def is_in_order(self, need: Import, node: ImportNode, going: Collection[ImportNode]) -> bool:
        """Whether `need` may stand in the place of `node`, were the imports `going` gone."""
        group = self._group(library=not is_stdlib(need.module))
        if node not in group:
            return True
        key = _key_of(group)
        index = group.index(node)
        above = [other for other in group[:index] if other not in going]
        below = [other for other in group[index + 1 :] if other not in going]
        return (not above or key(above[-1]) <= key(need)) and (
            not below or key(need) <= key(below[0])
        )

    def _group(self, library: bool) -> list[ImportNode]:
        """The sorted group that a new import belongs to, or nothing."""
        for group in reversed(self._groups):
            homes = [home(node) for node in group]
            if any(name.startswith(".") for name in homes):
                continue
            if library and not any(name.partition(".")[0] == "torch" for name in homes):
                continue
            if any(is_stdlib(name) == library for name in homes) or "__future__" in homes:
                continue
            return group if _is_sorted(group) else []
        return []

    @cached_property
    def _groups(self) -> list[list[ImportNode]]:
        groups: list[list[ImportNode]] = []
        last: ast.stmt | None = None
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                beside = last is not None and (last.end_lineno or 0) + 1 == node.lineno
                if not beside or last is None or not groups or groups[-1][-1] is not last:
                    groups.append([])
                groups[-1].append(node)
            last = node
        return groups

    # ------------------------------------------------------------------ groups that are not
    def first_from_import(self) -> ImportNode | None:
        """The first `from` import of a library, if no `import` of one is among the imports."""
        library = [n for n in self._imports if not is_stdlib(home(n))]
        if any(isinstance(n, ast.Import) for n in library):
            return None
        outside = [
            n
            for n in library
            if isinstance(n, ast.ImportFrom) and not n.level and n.module != "__future__"
        ]
        return outside[0] if outside else None

    @cached_property
    def _imports(self) -> list[ImportNode]:
        return [n for n in self.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]

    def _last(self, library: bool) -> ImportNode | None:
        """The import after which new ones of a library (or of the standard library) go."""
        futures = [node for node in self._imports if home(node) == "__future__"]
        imports = [node for node in self._imports if home(node) != "__future__"]
        torch = [node for node in imports if home(node).partition(".")[0] == "torch"]
        if library and torch:
            return torch[-1]
        own = [node for node in imports if _is_like(node, library)]
        return next(reversed(own or (futures if not imports else [])), None)

    def _first_code(self) -> ast.stmt | None:
        """The first import, or what follows the docstring: imports go before it."""
        documented = ast.get_docstring(self.tree, clean=False) is not None
        body = self.tree.body[1:] if documented else self.tree.body
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom) and home(node) != "__future__":
                return node
        return body[0] if body else None


def _is_like(node: ImportNode, library: bool) -> bool:
    """Whether `node` imports from a library (or else, from the standard library)."""
    return is_stdlib(home(node)) != library and not home(node).startswith(".")


def _apart(node: ImportNode | Import) -> Key:
    """The key of files that put `import x` above `from x import y`, as isort and ruff do."""
    if isinstance(node, Import):
        return int(node.name is not None), node.module.lower()
    return int(isinstance(node, ast.ImportFrom)), home(node).lower()


def _mixed(node: ImportNode | Import) -> Key:
    """The key of files that sort by module alone (isort's `force_sort_within_sections`)."""
    return 0, node.module.lower() if isinstance(node, Import) else home(node).lower()


def _is_sorted(group: list[ImportNode]) -> bool:
    return any(keys == sorted(keys) for keys in (list(map(key, group)) for key in (_apart, _mixed)))


def _key_of(group: list[ImportNode]) -> Callable[[ImportNode | Import], Key]:
    """The key by which a sorted group is sorted."""
    keys = list(map(_apart, group))
    return _apart if keys == sorted(keys) else _mixed


def _sorted_in(group: list[ImportNode], need: Import) -> ImportPlace:
    key = _key_of(group)
    above = [node for node in group if key(node) <= key(need)]
    return ImportPlace(above[-1], after=True) if above else ImportPlace(group[0], after=False)


def _distance(node: ast.stmt) -> int:
    """The blank lines between imports and `node`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 2
    return 1
