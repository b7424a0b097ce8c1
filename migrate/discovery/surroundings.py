"""The project around the paths of a run: what isn't given, and may use what is."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fsdp_migrate.discovery.folders import Disk, upwards
from fsdp_migrate.discovery.tree import Tree

LARGEST = 20_000  # files; a folder above the given ones that holds more is no project


def surroundings(tree: Tree, respect_gitignore: bool) -> Tree | None:
    """The Python files of the projects that a tree is part of, excluded ones too.

    None, if there are none beside it, or too many to be a project: there is no sign of one, and
    the working folder is that of all sorts of things.
    """
    roots = set(_outermost({_root(path) for path in tree.given}))
    if roots <= tree.given and not tree.exclude:
        return None
    around = Tree((), respect_gitignore)
    for root in sorted(roots):
        if not around.add_up_to(root, LARGEST):
            return None
    return around


def _root(path: str) -> str:
    """The folder of the project around a file or folder.

    Without a sign of one it is the working folder, if the path lies in it; else the outermost
    folder above that still holds Python files.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    disk = Disk()
    root = disk.marked(folder)
    if root is not None:
        return root
    here = os.getcwd()
    if _is_in(folder, here) and folder != here and not _is_home(here):
        return here
    root = disk.project(folder)
    for above in list(upwards(root))[1:]:
        if _is_home(above) or not any(name.endswith(".py") for name in disk.names(above)):
            break
        root = above
    return root


def _outermost(roots: set[str]) -> Iterator[str]:
    """Those of `roots` that lie in no other one."""
    for root in sorted(roots):
        if not any(other != root and _is_in(root, other) for other in roots):
            yield root


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _is_home(folder: str) -> bool:
    """Whether a folder is no project's: the root, the user's own, or one for passing things."""
    return folder in {os.sep, os.path.expanduser("~"), "/tmp", "/var/tmp", os.path.dirname(folder)}
