"""Optimizer state dicts as FSDP1 returned them: keyed by name, whole or in shards.

The states are read as they are. `torch.distributed.checkpoint.state_dict` would first take an
optimizer step with zero gradients where there are none yet, which advances Adam's `step`, and its
`cpu_offload` implies rank 0 only.

Source: `_optim_state_dict` of torch/distributed/fsdp/_optim_utils.py
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.config import StateDictType
from fsdp_migrate.runtime.optim_names import named, names_of, param_groups
from fsdp_migrate.runtime.settings import get_state_dict_type
from fsdp_migrate.runtime.tensors import gather

OptimState = dict[str, Any]


def optim_state_dict(
    model: nn.Module,
    optim: torch.optim.Optimizer,
    optim_state_dict: OptimState | None = None,
    group: dist.ProcessGroup | None = None,
) -> OptimState:
    """The state of `optim` by parameter name, under the settings of `state_dict_type`.

    * `FULL_STATE_DICT`: whole tensors. With `rank0_only` other ranks (of `group`, default all)
      get `{}`. With `offload_to_cpu`, which is the default, on the CPU.
    * `SHARDED_STATE_DICT`: DTensors, on the CPU by default.

    No tensor is shared with the optimizer. Before the first step `state` is empty, and stays so:
    nothing is initialised. Collective on all ranks. Works after a no-grad forward.

    Args:
        optim_state_dict: an `optim.state_dict()` to convert instead of the current one.

    Returns:
        `{"state": {name: {key: value}}, "param_groups": [...]}` with names under `"params"`.

    Raises:
        KeyError: `optim` holds parameters that `model` does not have.
    """
    settings = get_state_dict_type(model)
    config = settings.optim_state_dict_config
    return collect(
        model,
        optim,
        optim.state_dict() if optim_state_dict is None else optim_state_dict,
        full=settings.state_dict_type is StateDictType.FULL_STATE_DICT,
        rank0_only=getattr(config, "rank0_only", False),
        offload=config.offload_to_cpu,
        group=group,
    )


def collect(
    model: nn.Module,
    optim: torch.optim.Optimizer | None,
    osd: OptimState,
    *,
    full: bool,
    rank0_only: bool,
    offload: bool,
    group: dist.ProcessGroup | None,
    optim_input: Any = None,
) -> OptimState:
    """`osd`, keyed by number or name, in the form that the arguments ask for."""
    groups = named(param_groups(model, optim, optim_input), names_of(model))
    by_key: dict[Any, str] = dict(enumerate(name for group_ in groups for name in group_))
    keep = not (full and rank0_only and dist.get_rank(group) != 0)
    state: dict[Any, Any] = {}
    for key, values in osd["state"].items():
        converted = _convert(values, full, offload and keep)
        if keep:
            state[by_key.get(key, key)] = converted
    if not keep:
        return {}
    out: OptimState = {"state": state}
    if "param_groups" in osd:
        out["param_groups"] = [_named_group(saved, by_key) for saved in osd["param_groups"]]
    return out


def _named_group(saved: dict[str, Any], by_key: dict[Any, str]) -> dict[str, Any]:
    own = copy.deepcopy({key: value for key, value in saved.items() if key != "params"})
    return {**own, "params": [by_key.get(key, key) for key in saved["params"]]}


def _convert(value: Any, full: bool, offload: bool) -> Any:
    """A copy of a state, which may be nested, with its tensors gathered and moved as asked."""
    if isinstance(value, dict):
        return {key: _convert(item, full, offload) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_convert(item, full, offload) for item in value)
    if not isinstance(value, torch.Tensor):
        return value
    if full and isinstance(value, DTensor):
        copied: torch.Tensor = gather(value)
    else:
        copied = value.detach().clone()
    return copied.cpu() if offload and copied.device.type != "cpu" else copied
