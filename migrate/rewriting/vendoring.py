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
from fsdp_migrate.planning.suppressions import IGNORE_FILE
from fsdp_migrate.rule.facts import RUNTIME
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.project import Project

VENDORED = "fsdp_migrate_runtime"
_IMPORT = re.compile(rf"^(\s*from ){re.escape(RUNTIME)}(?= import\b)", re.MULTILINE)


def vendor(project: Project, changes: Mapping[Path, str]) -> dict[Path, str]:
    """`changes` that import a copy of the shim, and the files of the copy."""
    result = {path: _IMPORT.sub(rf"\1{VENDORED}", text) for path, text in changes.items()}
    names: dict[Path, set[str]] = defaultdict(set)
    for path, text in result.items():
        used = _imported(ast.parse(text), VENDORED)
        if used:
            names[_import_root(project, path)] |= used
    for root, used in names.items():
        folder = root / VENDORED
        init = folder / "__init__.py"
        if init.exists():
            used |= _Shim().offered.keys() & _bound(ast.parse(init.read_text(encoding="utf-8")))
        result |= {folder / name: text for name, text in _Shim().files(used).items()}
    return result


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
        head = f"# {IGNORE_FILE}\n"
        homes: dict[str, list[str]] = defaultdict(list)
        for name in names:
            homes[self.offered[name]].append(name)
        lines = [f"from {VENDORED}.{m} import {', '.join(homes[m])}" for m in sorted(homes)]
        init = (
            f'{head}"""FSDP1\'s vocabulary, carried out by FSDP2.  Depends on torch alone.\n\n'
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
            texts[f"{module}.py"] = head + text.replace(RUNTIME, VENDORED)
            todo |= {m for m in self._needed(text) if f"{m}.py" not in texts}
        return texts

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
