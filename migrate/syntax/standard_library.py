"""Which imports are Python's own, whatever a project calls its folders and files."""

from __future__ import annotations

import sys
from collections.abc import Callable

# Modules that every interpreter has loaded before it looks for one.
LOADED = frozenset(sys.builtin_module_names) | {
    "abc", "codecs", "encodings", "genericpath", "importlib", "io", "ntpath", "os", "posixpath",
    "site", "stat", "zipimport",
}  # fmt: skip


def is_standard(top: str, root: str, is_module: Callable[[str], bool]) -> bool:
    """Whether `import top` is the standard library's although `root` holds something called so.

    A project's own comes first where it is a module, or a package with an `__init__.py`, in a
    folder that Python looks in: that of a package is none.
    """
    if top not in sys.stdlib_module_names:
        return False
    return top in LOADED or is_module(root) or not is_module(f"{root.rstrip('/')}/{top}")
