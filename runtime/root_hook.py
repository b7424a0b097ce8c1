"""What FSDP1 did when the forward of the root began.

Which unit is the root is only known then: units may be nested by hand, from the inside out, and by
a plain `fully_shard` around them.

Source: `_root_pre_forward` of torch/distributed/fsdp/_runtime_utils.py
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fsdp_migrate.runtime.casting import cast_floating
from fsdp_migrate.runtime.precision import cast_buffers
from fsdp_migrate.runtime.units import FsdpUnit, is_root
from fsdp_migrate.runtime.unused import forget_last_backward

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def install_root_hook(module: nn.Module, unit: FsdpUnit) -> None:
    """Let `module`, as long as it is a root, cast its inputs and (once) the model's buffers."""
    dtype = unit.precision.param_dtype if unit.precision.cast_root_forward_inputs else None

    def before_forward(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Inputs | None:
        if not is_root(module):
            return None
        if torch.is_grad_enabled():
            forget_last_backward()
        if not unit.started:
            unit.started = True
            cast_buffers(module)
        if dtype is None:
            return None
        return cast_floating(args, dtype), cast_floating(kwargs, dtype)

    hook = torch.compiler.disable(before_forward)  # type: ignore[no-untyped-call]
    module.register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
