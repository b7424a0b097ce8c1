"""Build hook: lay an editable install out by import name.

`migrate/`, `rules/` and `runtime/` install as `fsdp_migrate`, `fsdp_migrate.rules` and
`fsdp_migrate.runtime`. Hatchling cannot express that renaming in an editable install,
and the import hooks that could are invisible to type checkers and editors. So an
editable install puts one real folder on `sys.path`, filled with links to the sources.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableLayout(BuildHookInterface):
    """Link the sources into `build/editable/fsdp_migrate`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            return
        root = Path(self.root)
        package = root / "build" / "editable" / "fsdp_migrate"
        shutil.rmtree(package, ignore_errors=True)
        package.mkdir(parents=True)
        for source in [*(root / "migrate").iterdir(), root / "rules", root / "runtime"]:
            if source.name != "__pycache__":
                _link(source, package / source.name)


def _link(source: Path, target: Path) -> None:
    """Link `target` to `source`; where links need a privilege (Windows), hard-link the files."""
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        if source.is_dir():
            shutil.copytree(source, target, copy_function=os.link)
        else:
            os.link(source, target)
