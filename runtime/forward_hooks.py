"""Keep FSDP2 from gathering and freeing the weights of a unit for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import nn

from fsdp_migrate.runtime.private_torch import forward_hooks, registered_forward_methods

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class StandIn(Protocol):
    """What happens around a forward in place of gathering and freeing."""

    def active(self) -> bool:
        """Asked before and after each forward; if not, FSDP2 does what it always does."""

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        """The inputs of the forward."""

    def after(self, output: Any) -> Any:
        """The output of the forward."""


@contextlib.contextmanager
def replaced_gathering(unit: nn.Module, stand_in: StandIn) -> Iterator[None]:
    """Inside, `stand_in` surrounds forwards of `unit`. Hooks of others keep their order and run."""
    replaced = [(before, hooks, key, hooks[key]) for before, hooks, key in forward_hooks(unit)]
    methods = [(name, vars(unit)[name], plain) for name, plain in registered_forward_methods(unit)]
    for before, hooks, key, hook in replaced:
        hooks[key] = _pre_hook(stand_in, hook) if before else _post_hook(stand_in, hook)
    for name, method, plain in methods:
        vars(unit)[name] = _method(stand_in, method, plain)
    try:
        yield
    finally:
        for _, hooks, key, hook in replaced:
            if key in hooks:
                hooks[key] = hook
        for name, method, _ in methods:
            vars(unit)[name] = method


def _pre_hook(stand_in: StandIn, original: Callable[..., Any]) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not stand_in.active():
            return original(module, args, kwargs)
        return stand_in.before(args, kwargs)

    return hook


def _post_hook(stand_in: StandIn, original: Callable[..., Any]) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not stand_in.active():
            return original(module, args, output)
        return stand_in.after(output)

    return hook


def _method(
    stand_in: StandIn, original: Callable[..., Any], plain: Callable[..., Any]
) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        if not stand_in.active():
            return original(*args, **kwargs)
        args, kwargs = stand_in.before(args, kwargs)
        return stand_in.after(plain(*args, **kwargs))

    return method
