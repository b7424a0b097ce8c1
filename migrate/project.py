"""The modules of a run, and how their imports find each other."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fsdp_migrate.facts import Module


def module_name(path: Path) -> str:
    """The name of a file's module: its absolute path without suffix, a package by its folder."""
    posix = PurePosixPath(Path(os.path.abspath(path)).as_posix())
    return str(posix.parent if posix.name == "__init__.py" else posix.with_suffix(""))


@dataclass(eq=False)
class Project:
    """All modules that were read, by name, and the folders that hold some of them."""

    modules: dict[str, Module]
    folders: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, modules: Iterable[Module]) -> Project:
        """The project of `modules`."""
        named = {module.name: module for module in modules}
        folders = {str(parent) for name in named for parent in PurePosixPath(name).parents}
        return cls(named, folders)

    def exists(self, name: str) -> bool:
        """Whether `name` is a module, or a folder that holds one (a namespace package)."""
        return name in self.modules or name in self.folders

    def resolve(self, importer: Module, dotted: str, level: int = 0) -> str | None:
        """The project module that `dotted` means in `importer`, or None if it is a library's.

        An absolute name is looked for from the importer's own folder upwards (what a script's
        folder and an installed source tree both come down to), also below a `src` folder.
        """
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
                if name in self.modules or (name in self.folders and str(folder) in self.folders):
                    if name == importer.name and len(parts) == 1:
                        continue  # `import x` in x.py means the library
                    return name
        return None
