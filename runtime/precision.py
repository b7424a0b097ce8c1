"""FSDP1's `MixedPrecision` on FSDP2: the policy, and the casts that FSDP2 does not do.

* Inputs: FSDP1 cast the root's inputs (`cast_root_forward_inputs`) and left those of inner units
  alone (`cast_forward_inputs=False`); FSDP2's policy casts every unit's. Which unit is the root
  is known at the first forward only, so a forward pre-hook does the root's cast.
* Buffers: cast to `buffer_dtype` when the root first runs, and kept in it. State dicts hold the
  original dtype (`units.original_buffer_dtypes`).
* Exempt classes (batch norms) compute in float32: inputs are cast up, outputs back.

Source: torch/distributed/fsdp/_runtime_utils.py (`_root_pre_forward`), _common_utils.py
(`_override_module_mixed_precision`)
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy

from fsdp_migrate.runtime.casting import cast_floating, floating_tensors
from fsdp_migrate.runtime.config import MixedPrecision
from fsdp_migrate.runtime.units import (
    own_modules,
    remember_buffer_dtypes,
    sharded_modules,
    unit_of,
)


def precision_policy(precision: MixedPrecision) -> MixedPrecisionPolicy:
    """The FSDP2 policy of a unit; its outputs stay in the dtype of the computation."""
    return MixedPrecisionPolicy(
        param_dtype=precision.param_dtype,
        reduce_dtype=precision.reduce_dtype,
        cast_forward_inputs=precision.cast_forward_inputs,
    )


def check_precision(precision: MixedPrecision) -> None:
    """Refuse what FSDP2 cannot do, warn of what it does differently.

    Raises:
        NotImplementedError: for `keep_low_precision_grads=True`.
    """
    if precision.keep_low_precision_grads:
        raise NotImplementedError(
            "keep_low_precision_grads=True has no counterpart in FSDP2, which always hands the "
            "optimizer gradients in the dtype of the parameters"
        )
    if precision.param_dtype is not None and os.environ.get("FSDP_USE_FULL_PREC_IN_EVAL") == "1":
        warnings.warn(
            "FSDP_USE_FULL_PREC_IN_EVAL is set, but FSDP2 evaluates in param_dtype as it trains",
            stacklevel=3,
        )


@torch.no_grad()
def cast_buffers(module: nn.Module) -> None:
    """Cast the floating-point buffers of every unit in `module` to the unit's `buffer_dtype`, once.

    FSDP1 did so when the model was first used: by a forward, a state dict, or summoned parameters.
    Buffers of ignored modules are skipped, as FSDP1 skipped them.
    """
    units = [(sharded, unit_of(sharded)) for sharded in sharded_modules(module)]
    known = [(sharded, unit) for sharded, unit in units if unit is not None]
    ignored = {m for _, unit in known for m in unit.ignored_modules}
    for sharded, unit in known:
        dtype = unit.precision.buffer_dtype
        if dtype is None or unit.buffers_cast:
            continue
        unit.buffers_cast = True
        for owner in own_modules(sharded):
            if owner not in ignored:
                cast_own_buffers(owner, dtype)


def cast_own_buffers(owner: nn.Module, dtype: torch.dtype) -> None:
    """Cast the floating-point buffers of `owner` itself, and remember what they were."""
    for name, buffer in owner.named_buffers(recurse=False):
        if buffer.is_floating_point() and buffer.dtype != dtype:
            remember_buffer_dtypes(owner).setdefault(name, buffer.dtype)
            buffer.data = buffer.to(dtype)


def compute_in_float32(module: nn.Module) -> None:
    """Cast floating-point inputs of `module` to float32, and its outputs back to what came in."""
    came_in: list[torch.dtype] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
        came_in[:] = [t.dtype for t in floating_tensors(args) if t.dtype != torch.float32]
        return cast_floating(args, torch.float32)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return cast_floating(output, came_in[-1]) if came_in else output

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)
