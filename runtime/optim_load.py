"""Optimizer state dicts by name, turned into what an optimizer loads.

Source: `optim_state_dict_to_load`, `_flatten_optim_state_dict` of torch/distributed/fsdp
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.optim_names import (
    ParamGroups,
    named,
    names_of,
    numbered,
    param_groups,
)
from fsdp_migrate.runtime.optim_scatter import broadcast_state
from fsdp_migrate.runtime.optim_state import OptimState
from fsdp_migrate.runtime.settings import get_state_dict_type
from fsdp_migrate.runtime.tensors import gather, shard_like


def optim_state_dict_to_load(
    model: nn.Module,
    optim: torch.optim.Optimizer,
    optim_state_dict: OptimState,
    is_named_optimizer: bool = False,
    load_directly: bool = False,
    group: dist.ProcessGroup | None = None,
) -> OptimState:
    """`optim_state_dict`, as saved by name, in the form that `optim.load_state_dict` takes.

    Accepts whole tensors (each rank takes its part) and DTensors. If the settings say
    `rank0_only`, only rank 0 of `group` needs the dict and the others receive it. Parameters
    without a saved state get none (a stateless optimizer is fine). Every tensor is copied:
    checkpoints of flat parameters share one `step` tensor between parameters, and an optimizer
    would advance it once for each of them.

    The argument order of FSDP1's first releases, `(optim_state_dict, model, optim)`, is
    recognised.

    Args:
        is_named_optimizer: return states by name, for optimizers that are keyed so.
        load_directly: also call `optim.load_state_dict` with the result.

    Raises:
        KeyError: the dict is keyed by number (see `rekey_optim_state_dict`), or `optim` holds
            parameters that `model` does not have.
    """
    if not isinstance(model, nn.Module):
        first, second, third = cast("tuple[Any, Any, Any]", (model, optim, optim_state_dict))
        model, optim, optim_state_dict = second, third, first
    config = get_state_dict_type(model).optim_state_dict_config
    if getattr(config, "rank0_only", False):
        optim_state_dict = broadcast_state(model, optim_state_dict, group)
    result = fit(model, param_groups(model, optim), optim_state_dict, by_name=is_named_optimizer)
    _complete(result, optim)
    if load_directly:
        optim.load_state_dict(result)
    return result


def load_optim_state_dict(
    model: nn.Module, optim: torch.optim.Optimizer, optim_state_dict: OptimState
) -> None:
    """`optim_state_dict_to_load` and `optim.load_state_dict` in one call."""
    optim_state_dict_to_load(model, optim, optim_state_dict, load_directly=True)


def fit(
    model: nn.Module, groups: ParamGroups, osd: OptimState, *, by_name: bool = False
) -> OptimState:
    """`osd` for the parameters in `groups`: cut into shards, keyed by number (or name)."""
    names = names_of(model)
    _require_names(osd)
    named(groups, names)
    by_own_name = {names[param]: param for group in groups for param in group}
    number = numbered(groups)
    state: dict[Any, Any] = {}
    for name, values in osd["state"].items():
        param = by_own_name.get(name)
        if param is None:
            warnings.warn(
                f"optimizer state {name!r} belongs to no parameter of the optimizer; it is passed "
                "on as it is",
                stacklevel=3,
            )
            state[name] = values
            continue
        state[name if by_name else number[param]] = _copied(values, _layout(param))
    out: OptimState = {"state": state}
    if "param_groups" in osd:
        out["param_groups"] = _fit_groups(groups, names, number, osd["param_groups"], by_name)
    return out


def _fit_groups(
    groups: ParamGroups,
    names: dict[nn.Parameter, str],
    number: dict[nn.Parameter, int],
    saved_groups: list[dict[str, Any]],
    by_name: bool,
) -> list[dict[str, Any]]:
    """The settings of each of the optimizer's groups, found by the names of its parameters."""
    home = {name: saved for saved in saved_groups for name in saved["params"]}
    fitted = []
    for i, group in enumerate(groups):
        found = [home[names[param]] for param in group if names[param] in home]
        saved = found[0] if found else saved_groups[i] if i < len(saved_groups) else {}
        keys = [names[p] if by_name else number[p] for p in group]
        settings = {k: v for k, v in saved.items() if k not in ("params", "param_names")}
        fitted.append({**settings, "params": keys})
    return fitted


def _complete(result: OptimState, optim: torch.optim.Optimizer) -> None:
    """Settings that the checkpoint lacks (it may be older) stay what they are."""
    saved = result.setdefault("param_groups", [{} for _ in optim.param_groups])
    start = 0
    for group, current in zip(saved, optim.param_groups, strict=True):
        count = len(current["params"])
        group.setdefault("params", list(range(start, start + count)))
        start += count
        for key, value in current.items():
            group.setdefault(key, value)


def _require_names(osd: OptimState) -> None:
    if any(isinstance(key, int) for key in osd["state"]):
        raise KeyError(
            "the optimizer state is keyed by parameter numbers; convert it with "
            "rekey_optim_state_dict(..., OptimStateKeyType.PARAM_NAME, ...) first"
        )


def _layout(param: nn.Parameter) -> Callable[[torch.Tensor], torch.Tensor]:
    """How a state tensor of `param` is laid out: like the parameter if it has its shape."""

    def lay_out(value: torch.Tensor) -> torch.Tensor:
        if not isinstance(param, DTensor) or value.shape != param.shape:
            return gather(value)
        if isinstance(value, DTensor):
            same_mesh = value.device_mesh == param.device_mesh
            if same_mesh and value.placements == param.placements:
                return value.detach().to(param.device, copy=True)
            value = gather(value)
        return shard_like(value, param)

    return lay_out


def _copied(value: Any, lay_out: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return lay_out(value)
    if isinstance(value, dict):
        return {key: _copied(item, lay_out) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, lay_out) for item in value)
    return value
