"""`--runtime vendor`: what the program needs of the shim, written into its own tree.

The copy is a package beside the program, at the folder that its imports start from, with the
modules that the names in use need and no others.  It depends on torch alone.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsdp_migrate import __version__
from fsdp_migrate.rewriting.seals import is_sealed, is_unchanged, sealed
from fsdp_migrate.rule.facts import RUNTIME
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.project import Project

VENDORED = "fsdp_migrate_runtime"
_TAKEN = "is a package of yours, whose name is that of the copy; rename it, or use --runtime import"
_CHANGED = (
    "was changed after it was copied, and more is needed of it now; delete the folder to have it "
    "copied anew, and put your changes into a module of your own"
)
_IMPORT = re.compile(rf"^(\s*from ){re.escape(RUNTIME)}(?= import\b)", re.MULTILINE)


class NotOurs(Exception):
    """A file that the copy needs the place of, and that is the user's."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def vendor(project: Project, changes: Mapping[Path, str]) -> dict[Path, str]:
    """`changes` that import a copy of the shim, and the files of the copy.

    Raises:
        NotOurs: there is a package of that name that isn't a copy, or a copy that was changed
            and does not offer all that is needed.
    """
    result = {path: _IMPORT.sub(rf"\1{VENDORED}", text) for path, text in changes.items()}
    names: dict[Path, set[str]] = defaultdict(set)
    for path, text in result.items():
        used = _imported(ast.parse(text), VENDORED)
        if used:
            names[_import_root(project, path)] |= used
    for root, used in names.items():
        result |= _copy(root / VENDORED, used)
    return result


def _copy(folder: Path, used: set[str]) -> dict[Path, str]:
    """The files of a copy in `folder` that offers `used`, and what the one there offers."""
    present = {path.name: _read(path) for path in sorted(folder.glob("*.py"))}
    init = present.get("__init__.py")
    if init is None and present:
        raise NotOurs(folder, f"{_TAKEN}; it has no __init__.py")
    bound: set[str] = set()
    if init is not None:
        if not is_sealed(init):
            raise NotOurs(folder, _TAKEN)
        bound = _bound(ast.parse(init))
    files = _Shim().files(used | (_Shim().offered.keys() & bound))
    changed = [name for name in files if name in present and not is_unchanged(present[name])]
    if not changed:
        return {folder / name: text for name, text in files.items()}
    if used <= bound:
        return {}  # it has what is needed, and is the user's now
    missing = ", ".join(sorted(used - bound))
    raise NotOurs(folder / changed[0], f"{_CHANGED}: it lacks {missing}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotOurs(path, f"cannot be read: {error}") from error


@dataclass(frozen=True)
class _Shim:
    """The source of the shim that is installed here."""

    @cached_property
    def folder(self) -> Path:
        spec = importlib.util.find_spec(RUNTIME)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent

    @cached_property
    def offered(self) -> dict[str, str]:
        """The module that each public name comes from."""
        tree = ast.parse(self._text("__init__"))
        return {
            alias.name: node.module.removeprefix(f"{RUNTIME}.")
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{RUNTIME}.")
            for alias in node.names
            if node.module is not None
        }

    def files(self, names: Iterable[str]) -> dict[str, str]:
        """A package that offers `names`: the text of each of its files."""
        names = sorted(names)
        homes: dict[str, list[str]] = defaultdict(list)
        for name in names:
            homes[self.offered[name]].append(name)
        lines = [f"from {VENDORED}.{m} import {', '.join(homes[m])}" for m in sorted(homes)]
        init = (
            '"""FSDP1\'s vocabulary, carried out by FSDP2.  Depends on torch alone.\n\n'
            f'Taken from fsdp-migrate {__version__}, which is licensed under Apache-2.0.\n"""\n\n'
            + "\n".join(lines)
            + "\n\n__all__ = [\n"
            + "".join(f'    "{name}",\n' for name in names)
            + "]\n"
        )
        texts = {"__init__.py": init}
        todo = {self.offered[name] for name in names}
        while todo:
            module = todo.pop()
            text = self._text(module)
            texts[f"{module}.py"] = text.replace(RUNTIME, VENDORED)
            todo |= {m for m in self._needed(text) if f"{m}.py" not in texts}
        return {name: sealed(text) for name, text in texts.items()}

    def _needed(self, text: str) -> set[str]:
        """The modules of the shim that one of them imports."""
        found: set[str] = set()
        for node in nodes_in(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == RUNTIME:
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                module = node.module.removeprefix(f"{RUNTIME}.")
                found |= {module} if module != node.module else set()
        return found

    def _text(self, module: str) -> str:
        return (self.folder / f"{module}.py").read_text(encoding="utf-8")


def _imported(tree: ast.Module, home: str) -> set[str]:
    return {
        alias.name
        for node in nodes_in(tree)
        if isinstance(node, ast.ImportFrom) and node.module == home
        for alias in node.names
    }


def _bound(tree: ast.Module) -> set[str]:
    return {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def _import_root(project: Project, path: Path) -> Path:
    """The folder that the absolute imports of the program of `path` start from."""
    name = next(n for n, module in project.modules.items() if module.path == path)
    paths = [project.modules[n].path for n in project.program_of(name)]
    shared = [p for p in path.parents if all(p in other.parents for other in paths)]
    root = shared[0]
    while (root / "__init__.py").exists():
        root = root.resolve().parent
    return root
