"""FSDP1's older optimizer-state functions, with their own arguments and defaults.

They do not look at the settings of `state_dict_type`. What each of them loads or returns is what
`optim_state_dict` and `optim_state_dict_to_load` load and return.

Source: `FullyShardedDataParallel.full_optim_state_dict` and relatives
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from fsdp_migrate.runtime.config import OptimStateKeyType
from fsdp_migrate.runtime.optim_load import fit
from fsdp_migrate.runtime.optim_names import OptimInput, named, names_of, numbered, param_groups
from fsdp_migrate.runtime.optim_scatter import broadcast_state
from fsdp_migrate.runtime.optim_state import OptimState, collect


def full_optim_state_dict(
    model: nn.Module,
    optim: torch.optim.Optimizer,
    optim_input: OptimInput | None = None,
    rank0_only: bool = True,
    group: dist.ProcessGroup | None = None,
) -> OptimState:
    """Whole states by name, on the CPU; with `rank0_only` (the default) `{}` on other ranks."""
    return collect(
        model,
        optim,
        optim.state_dict(),
        full=True,
        rank0_only=rank0_only,
        offload=True,
        group=group,
        optim_input=optim_input,
    )


def sharded_optim_state_dict(
    model: nn.Module, optim: torch.optim.Optimizer, group: dist.ProcessGroup | None = None
) -> OptimState:
    """States by name as DTensors, on the CPU."""
    return collect(
        model,
        optim,
        optim.state_dict(),
        full=False,
        rank0_only=False,
        offload=True,
        group=group,
    )


def shard_full_optim_state_dict(
    full_optim_state_dict: OptimState,
    model: nn.Module,
    optim_input: OptimInput | None = None,
    optim: torch.optim.Optimizer | None = None,
) -> OptimState:
    """A whole state dict, the same on every rank, for `optim.load_state_dict`.

    Without `optim` the numbers follow `optim_input`, or else `model.parameters()`.
    """
    return fit(model, param_groups(model, optim, optim_input), full_optim_state_dict)


def flatten_sharded_optim_state_dict(
    sharded_optim_state_dict: OptimState, model: nn.Module, optim: torch.optim.Optimizer
) -> OptimState:
    """A state dict of `sharded_optim_state_dict` for `optim.load_state_dict`."""
    return fit(model, param_groups(model, optim), sharded_optim_state_dict)


def scatter_full_optim_state_dict(
    full_optim_state_dict: OptimState | None,
    model: nn.Module,
    optim_input: OptimInput | None = None,
    optim: torch.optim.Optimizer | None = None,
    group: dist.ProcessGroup | None = None,
) -> OptimState:
    """A whole state dict that only rank 0 of `group` has, for `optim.load_state_dict`."""
    osd = broadcast_state(model, full_optim_state_dict, group)
    return fit(model, param_groups(model, optim, optim_input), osd)


def rekey_optim_state_dict(
    optim_state_dict: OptimState,
    optim_state_key_type: OptimStateKeyType,
    model: nn.Module,
    optim_input: OptimInput | None = None,
    optim: torch.optim.Optimizer | None = None,
) -> OptimState:
    """The same states under the other kind of key; `model` may be sharded or not.

    Without `optim` the numbers follow `optim_input`, or else `model.parameters()`. A dict that has
    the wanted keys already is returned itself.

    Raises:
        ValueError: the keys are neither all names nor all numbers.
    """
    kinds = {type(key) for key in optim_state_dict["state"]}
    if kinds - {str, int} or len(kinds) > 1:
        raise ValueError(f"invalid parameter keys: {list(optim_state_dict['state'])}")
    to_names = optim_state_key_type.name == OptimStateKeyType.PARAM_NAME.name
    if kinds <= {str if to_names else int}:
        return optim_state_dict
    groups, names = param_groups(model, optim, optim_input), names_of(model)
    named(groups, names)
    pairs = [(number, names[param]) for param, number in numbered(groups).items()]
    new_key: dict[Any, Any] = dict(pairs) if to_names else {name: n for n, name in pairs}
    rekeyed = []
    for saved in optim_state_dict["param_groups"]:
        own = copy.deepcopy({key: value for key, value in saved.items() if key != "params"})
        rekeyed.append({**own, "params": sorted(new_key[key] for key in saved["params"])})
    return {
        "state": {new_key[key]: value for key, value in optim_state_dict["state"].items()},
        "param_groups": rekeyed,
    }
