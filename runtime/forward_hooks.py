"""Keep FSDP2 from gathering and freeing the weights of a unit for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from fsdp_migrate.runtime.private_torch import forward_hooks, registered_forward_methods


@contextlib.contextmanager
def paused_gathering(
    unit: nn.Module, before_gathering: Callable[[], None] | None = None
) -> Iterator[None]:
    """Inside, forwards of `unit` without gradients use its registered parameters as they are.

    Forwards that record gradients are not touched (their backward needs FSDP2's bookkeeping);
    `before_gathering` is called ahead of them. Hooks of others keep their order and run.
    """
    replaced = [(hooks, key, hooks[key]) for hooks, key in forward_hooks(unit)]
    methods = [(name, vars(unit)[name], plain) for name, plain in registered_forward_methods(unit)]
    for hooks, key, hook in replaced:
        hooks[key] = _unless_no_grad(hook, before_gathering)
    for name, hook, plain in methods:
        vars(unit)[name] = _unless_no_grad(hook, before_gathering, plain)
    try:
        yield
    finally:
        for hooks, key, hook in replaced:
            if key in hooks:
                hooks[key] = hook
        for name, hook, _ in methods:
            vars(unit)[name] = hook


def _unless_no_grad(
    original: Callable[..., Any],
    before: Callable[[], None] | None,
    otherwise: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    def chosen(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return otherwise(*args, **kwargs) if otherwise is not None else None
        if before is not None:
            before()
        return original(*args, **kwargs)

    return chosen
