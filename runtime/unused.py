"""Zero gradients for parameters that took no part in a unit that did.

FSDP1 reduced the gradient of a whole unit at once. If the unit ran, every parameter in it got a
gradient, of zeros if need be, so that optimizers decayed it and moved it by its momentum. If the
unit did not run, none of its parameters got one. FSDP2 leaves out unused parameters in
either case, unless it is told not to (`set_reduce_scatter_unused_params`, since 2.13), and
then fills in zeros in either case, too. So it is told per backward: a unit is switched when a
gradient has reached the outputs of all its calls (it reduces after each, and only the last one
has the parameters' gradients), and switched back when the next forward of a root begins.

With older releases parameters without use keep FSDP2's treatment.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime.casting import map_tensors


class _Call:
    """One forward of a unit. It lives as long as the graph that the forward recorded."""

    __slots__ = ("__weakref__",)


_switched: WeakKeyDictionary[nn.Module, WeakSet[_Call]] = WeakKeyDictionary()


def give_zero_gradients(module: nn.Module) -> None:
    """Let the unit `module` reduce zeros for its unused parameters whenever its backward runs."""
    if not hasattr(module, "set_reduce_scatter_unused_params"):
        return
    waiting: WeakSet[_Call] = WeakSet()

    def after_forward(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        call = _Call()

        def reached(gradient: torch.Tensor) -> None:
            waiting.discard(call)
            if not waiting and module not in _switched:
                _switched[module] = waiting
                _set(module, True)

        def watch(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.requires_grad:
                tensor.register_hook(reached)  # type: ignore[no-untyped-call]
            return tensor

        waiting.add(call)
        map_tensors(watch, output)

    hook = torch.compiler.disable(after_forward)  # type: ignore[no-untyped-call]
    module.register_forward_hook(hook)


def forget_last_backward() -> None:
    """Switch every unit back; called when the forward of a root begins."""
    for module, waiting in list(_switched.items()):
        waiting.clear()
        _set(module, False)
    _switched.clear()


def _set(module: nn.Module, value: bool) -> None:
    if isinstance(module, FSDPModule):
        module.set_reduce_scatter_unused_params(value, recurse=False)
