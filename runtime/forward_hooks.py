"""Keep FSDP2 from gathering and freeing the weights of a unit for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from fsdp_migrate.runtime.private_torch import forward_hooks, registered_forward_methods


@contextlib.contextmanager
def paused_gathering(unit: nn.Module, paused: Callable[[], bool]) -> Iterator[None]:
    """Inside, forwards of `unit` for which `paused()` use its registered parameters as they are.

    It is asked before and after each forward. Hooks of others keep their order and run.
    """
    replaced = [(hooks, key, hooks[key]) for hooks, key in forward_hooks(unit)]
    methods = [(name, vars(unit)[name], plain) for name, plain in registered_forward_methods(unit)]
    for hooks, key, hook in replaced:
        hooks[key] = _unless(paused, hook)
    for name, hook, plain in methods:
        vars(unit)[name] = _unless(paused, hook, plain)
    try:
        yield
    finally:
        for hooks, key, hook in replaced:
            if key in hooks:
                hooks[key] = hook
        for name, hook, _ in methods:
            vars(unit)[name] = hook


def _unless(
    paused: Callable[[], bool],
    original: Callable[..., Any],
    otherwise: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    def chosen(*args: Any, **kwargs: Any) -> Any:
        if not paused():
            return original(*args, **kwargs)
        return otherwise(*args, **kwargs) if otherwise is not None else None

    return chosen
