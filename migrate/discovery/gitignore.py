"""Which files and folders a run leaves out: the usual names, `.gitignore`, and `--exclude`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fsdp_migrate.discovery.folders import upwards
from fsdp_migrate.syntax.source import regular

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SKIPPED_FOLDERS = frozenset(
    {
        ".direnv",
        ".eggs",
        ".git",
        ".hg",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".tox",
        ".venv",
        "__pycache__",
        "__pypackages__",
        "node_modules",
        "site-packages",
        "venv",
    }
)
OUTPUT_FOLDERS = frozenset({"build", "dist"})  # unless they are Python packages


class Layer(NamedTuple):
    """The patterns of one ignore file, and the folder that they are relative to."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str) -> bool | None:
        """True: ignored.  False: expressly not.  None: nothing is said of `path`."""
        prefix = self.folder if self.folder.endswith(os.sep) else self.folder + os.sep
        if not path.startswith(prefix):
            return None
        return self.spec.check_file(path[len(prefix) :].replace(os.sep, "/")).include


Layers = tuple[Layer, ...]  # the outermost folder first


def is_skipped(parent: str, name: str) -> bool:
    """Whether the folder `name` never holds a project's own code."""
    if name in SKIPPED_FOLDERS:
        return True
    path = os.path.join(parent, name)
    if name in OUTPUT_FOLDERS:
        return not os.path.exists(os.path.join(path, "__init__.py"))
    return os.path.exists(os.path.join(path, "pyvenv.cfg"))


def is_ignored(path: str, layers: Layers) -> bool:
    """Whether `path` (absolute; a folder ends in a slash) is ignored: the innermost file says."""
    for layer in reversed(layers):
        verdict = layer.verdict(path)
        if verdict is not None:
            return verdict
    return False


def layers_above(folder: str) -> Layers:
    """What the repository that `folder` lies in says, in the folders above it.

    Nothing, if it ignores `folder` itself: who names an ignored folder wants what is in it.
    """
    root = _repository(folder)
    if root is None or root == folder:
        return layer_of(folder, os.path.join(folder, ".git", "info", "exclude"))
    layers = layer_of(root, os.path.join(root, ".git", "info", "exclude"))
    for above in _from_to(root, os.path.dirname(folder)):
        layers += layer_of(above)
    inside = list(_from_to(root, folder))[1:]
    return () if any(is_ignored(path + os.sep, layers) for path in inside) else layers


def layer_of(folder: str, file: str | None = None) -> Layers:
    """The layer of the `.gitignore` in `folder`, or of another ignore file there."""
    try:
        text = regular(file or os.path.join(folder, ".gitignore")).decode("utf-8")
        return patterns(folder, text.splitlines())
    except (OSError, UnicodeDecodeError):
        return ()


def patterns(folder: str, lines: Sequence[str]) -> Layers:
    """The layer of `lines` of ignore patterns relative to `folder`; none if they are all empty."""
    if not any(line.strip() and not line.startswith("#") for line in lines):
        return ()
    from pathspec import GitIgnoreSpec

    return (Layer(folder, GitIgnoreSpec.from_lines(lines)),)


def _repository(folder: str) -> str | None:
    """The root of the git repository around `folder`."""
    for path in upwards(folder):
        if os.path.exists(os.path.join(path, ".git")):
            return path
    return None


def _from_to(root: str, folder: str) -> Iterable[str]:
    """The folders from `root` down to `folder`, both included."""
    if folder == root:
        return [root]
    names = os.path.relpath(folder, root).split(os.sep)
    return [root, *(os.path.join(root, *names[: n + 1]) for n in range(len(names)))]
