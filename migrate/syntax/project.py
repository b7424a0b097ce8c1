"""The modules of a run, and how their imports find each other."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.node_index import NodeIndex
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.standard_library import is_standard

# Libraries that this is about: an installed package wins over a folder without `__init__.py`.
LIBRARIES = frozenset(
    {
        "accelerate", "composer", "lightning", "lightning_fabric", "pytorch_lightning", "timm",
        "torch", "torchvision", "transformers",
    }
)  # fmt: skip


def module_name(path: Path) -> str:
    """The name of a file's module: its absolute path without suffix, a package by its folder."""
    posix = PurePosixPath(Path(os.path.abspath(path)).as_posix())
    return str(posix.parent if posix.name == "__init__.py" else posix.with_suffix(""))


@dataclass(eq=False)
class Project:
    """All modules that were read, by name, and the folders that hold some of them."""

    modules: dict[str, Module]
    folders: set[str] = field(default_factory=set)
    _programs: dict[str, frozenset[str]] | None = None
    _resolved: dict[tuple[str, str, int], str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, modules: Iterable[Module]) -> Project:
        """The project of `modules`."""
        named = {module.name: module for module in modules}
        folders = {str(parent) for name in named for parent in PurePosixPath(name).parents}
        return cls(named, folders)

    @cached_property
    def index(self) -> NodeIndex:
        """The names and attributes in all modules."""
        return NodeIndex.of(self.modules.values())

    def exists(self, name: str) -> bool:
        """Whether `name` is a module, or a folder that holds one (a namespace package)."""
        return name in self.modules or name in self.folders

    def program_of(self, name: str) -> frozenset[str]:
        """The modules that imports connect with `name`, in either direction."""
        if self._programs is None:
            self._programs = self._connected()
        return self._programs[name]

    def imports(self, name: str) -> frozenset[str]:
        """The modules that the module `name` imports itself."""
        module = self.modules[name]
        return frozenset(
            found
            for node in nodes_in(module.tree)
            for found in self._imported(module, node)
            if found in self.modules
        )

    def _connected(self) -> dict[str, frozenset[str]]:
        links: dict[str, set[str]] = {name: {name} for name in self.modules}
        for name in self.modules:
            for found in self.imports(name):
                links[name].add(found)
                links[found].add(name)
        programs: dict[str, frozenset[str]] = {}
        for name in self.modules:
            if name in programs:
                continue
            seen, todo = {name}, [name]
            while todo:
                for other in links[todo.pop()] - seen:
                    seen.add(other)
                    todo.append(other)
            programs.update(dict.fromkeys(seen, frozenset(seen)))
        return programs

    def _imported(self, module: Module, node: ast.AST) -> Iterator[str]:
        """The project's modules that an import statement names."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                found = self.resolve(module, alias.name)
                if found is not None:
                    yield found
        elif isinstance(node, ast.ImportFrom):
            home = self.resolve(module, node.module or "", node.level)
            if home is not None:
                yield home
                yield from (f"{home}/{alias.name}" for alias in node.names)

    def resolve(self, importer: Module, dotted: str, level: int = 0) -> str | None:
        """The project module that `dotted` means in `importer`, or None if it is a library's.

        An absolute name is looked for from the importer's own folder upwards (what a script's
        folder and an installed source tree both come down to), also below a `src` folder.
        """
        key = (importer.name, dotted, level)
        if key not in self._resolved:
            self._resolved[key] = self._look_up(importer, dotted, level)
        return self._resolved[key]

    def _is_standard(self, root: str, head: str, name: str) -> bool:
        """Whether a module that would lie at `name` is Python's own; `head` is its package's."""
        top = PurePosixPath(head).name
        whole = name != head and name in self.modules  # its package has nothing to be read for
        return is_standard(top, root, lambda n: n in self.modules or (whole and n == head))

    def _look_up(self, importer: Module, dotted: str, level: int) -> str | None:
        is_package = importer.path.name == "__init__.py"
        base = PurePosixPath(importer.name) if is_package else PurePosixPath(importer.name).parent
        parts = dotted.split(".") if dotted else []
        if level:
            for _ in range(level - 1):
                base = base.parent
            name = str(base.joinpath(*parts))
            return name if self.exists(name) else None
        for folder in (base, *base.parents):
            for root in (folder, folder / "src"):
                name = str(root.joinpath(*parts))
                head = str(root.joinpath(*parts[:1]))
                if parts and parts[0] in LIBRARIES and head not in self.modules:
                    continue
                if parts and self._is_standard(str(root), head, name):
                    continue
                if name in self.modules or (name in self.folders and str(folder) in self.folders):
                    if name == importer.name and len(parts) == 1:
                        continue  # `import x` in x.py means the library
                    return name
        return None
