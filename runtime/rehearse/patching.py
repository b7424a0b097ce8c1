"""Replace functions of torch for the rest of the process, wherever they are already bound.

`from torch.distributed import all_reduce` inside torch binds a function a second time, so that
replacing it in its home module alone would miss half of the callers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class Rebinding:
    """Collects replacements and then applies all of them in one pass over the loaded modules."""

    def __init__(self) -> None:
        self._new: dict[int, tuple[Any, Any]] = {}

    def replace(self, home: ModuleType, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `home.name` by `make(old)`; does nothing where this torch has no such name."""
        old = getattr(home, name, None)
        if old is not None and id(old) not in self._new:
            self._new[id(old)] = (old, make(old))

    def apply(self) -> None:
        """Rebind the collected names in torch and in the modules that were loaded so far."""
        for module in list(sys.modules.values()):
            if not isinstance(module, ModuleType):
                continue
            names = vars(module)
            hits = [(name, id(value)) for name, value in names.items() if id(value) in self._new]
            for name, key in hits:
                old, new = self._new[key]
                if names[name] is old:
                    setattr(module, name, new)


def called_by_torch() -> bool:
    """Whether torch itself called the stand-in that asks, and not the program or a library."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", ""))
        # a mode between the caller and the stand-in only passes the call on
        if not name.startswith(_PACKAGE) and frame.f_code.co_name != "__torch_function__":
            return name.partition(".")[0] == "torch"
        frame = frame.f_back
    return False


_PACKAGE = __name__.rpartition(".")[0]


def put(owner: Any, **attributes: Any) -> None:
    """Set attributes of a module or class that its type does not declare as assignable."""
    for name, value in attributes.items():
        setattr(owner, name, value)
