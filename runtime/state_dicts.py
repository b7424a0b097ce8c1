"""Model state dicts as FSDP1 returned and accepted them.

DTensors are gathered and cut here rather than by `torch.distributed.checkpoint.state_dict`: its
`cpu_offload` implies rank 0 only (FSDP1 had two switches), it renames keys of compiled modules
(FSDP1 did not), and it writes into the dict that it is given.

Source: torch/distributed/fsdp/_state_dict_utils.py
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from fsdp_migrate.runtime.config import StateDictSettings, StateDictType
from fsdp_migrate.runtime.precision import cast_buffers
from fsdp_migrate.runtime.settings import get_state_dict_type
from fsdp_migrate.runtime.tensors import gather, is_first_rank, shard_like
from fsdp_migrate.runtime.units import original_buffer_dtypes, reshard, sharded_modules

StateDict = dict[str, Any]


class IncompatibleKeys(Protocol):
    """What `nn.Module.load_state_dict` returns, which torch gives no public name."""

    @property
    def missing_keys(self) -> list[str]: ...

    @property
    def unexpected_keys(self) -> list[str]: ...


def model_state_dict(model: nn.Module, *args: Any, **kwargs: Any) -> StateDict:
    """What FSDP1's `model.state_dict(*args, **kwargs)` returned under the current settings.

    * `FULL_STATE_DICT` (the default): whole tensors that share no memory with the model, on every
      rank; with `offload_to_cpu` on the CPU; with `rank0_only` neither parameters nor buffers on
      the other ranks (those of each shard group, as under FSDP1).
    * `SHARDED_STATE_DICT`: DTensors, copies as well.

    Same keys, in the same order, in the original dtypes: buffers that were cast to `buffer_dtype`
    are cast back in the dict. Collective on all ranks. A part of a unit gives whole
    tensors; a model without shards is just asked for `model.state_dict(*args, **kwargs)`.
    """
    if not _is_sharded(model):
        return dict_of(model.state_dict(*args, **kwargs))
    reshard(model)
    cast_buffers(model)
    settings = get_state_dict_type(model)
    prefix = kwargs.get("prefix", args[1] if len(args) > 1 else "")
    dtypes = {prefix + clean(k): v for k, v in original_buffer_dtypes(model).items()}
    buffers = {prefix + clean(name) for name, _ in model.named_buffers(remove_duplicate=False)}
    state = dict_of(model.state_dict(*args, **kwargs))
    drop = _is_dropped(settings, state)
    for name, value in list(state.items()):
        if not isinstance(value, torch.Tensor) or not name.startswith(prefix):
            continue
        if name in dtypes:
            value = value.to(dtypes[name])
        if drop and (isinstance(value, DTensor) or name in buffers):
            gather(value)  # for the ranks that keep it
            del state[name]
        elif isinstance(value, DTensor) or name in buffers:
            state[name] = _converted(value, settings)
    return state


def _is_sharded(model: nn.Module) -> bool:
    """Whether there are units in `model`, or it is a part of one; it may be an optimizer."""
    if not isinstance(model, nn.Module):
        return False
    if sharded_modules(model):
        return True
    return any(isinstance(value, DTensor) for value in dict_of(model.state_dict()).values())


def _is_dropped(settings: StateDictSettings, state: StateDict) -> bool:
    """Whether this rank only takes part in gathering."""
    if not getattr(settings.state_dict_config, "rank0_only", False):
        return False
    shard = next((value for value in state.values() if isinstance(value, DTensor)), None)
    return shard is not None and not is_first_rank(shard)


def _converted(value: torch.Tensor, settings: StateDictSettings) -> torch.Tensor:
    """A tensor of the model in the form that the settings ask for; shards are copied."""
    if isinstance(value, DTensor):
        full = settings.state_dict_type is StateDictType.FULL_STATE_DICT
        value = gather(value) if full else value.detach().clone()
    offload = settings.state_dict_config.offload_to_cpu and value.device.type != "cpu"
    return value.cpu() if offload else value


def load_model_state_dict(
    model: nn.Module, state_dict: StateDict, strict: bool = True, assign: bool = False
) -> IncompatibleKeys:
    """Load whole tensors or shards into `model`, as FSDP1's `model.load_state_dict` did.

    Whole tensors may be on any device; each rank takes its part, nothing is communicated. DTensors
    of another mesh or placement are gathered first. `state_dict` is not changed.

    Args:
        strict: raise on missing or unexpected keys, as in `nn.Module.load_state_dict`.
        assign: only used for parameters on the meta device. Others are overwritten in place, so
            that the optimizer keeps its parameters. For a model without units it is passed on.

    Returns:
        The tuple `(missing_keys, unexpected_keys)` of `nn.Module.load_state_dict`, which prints as
        it always did.

    Raises:
        RuntimeError: keys or shapes do not fit.
    """
    if not isinstance(model, nn.Module):
        return model.load_state_dict(state_dict)
    if not _is_sharded(model):
        return _loaded(model, state_dict, strict, assign)
    reshard(model)
    targets = dict_of(model.state_dict())
    values = dict_of(state_dict)
    values = values.copy()  # keeps the `_metadata` that versions of modules are read from
    for name, value in list(values.items()):
        target = targets.get(name)
        if isinstance(target, DTensor) and isinstance(value, torch.Tensor):
            values[name] = _fitted(value, target)
    unfilled = any(isinstance(t, torch.Tensor) and t.is_meta for t in targets.values())
    return _loaded(model, values, strict, assign and unfilled)


def _loaded(model: nn.Module, state: StateDict, strict: bool, assign: bool) -> IncompatibleKeys:
    more = {"assign": True} if assign else {}  # a model's own method may not know it
    result: IncompatibleKeys = model.load_state_dict(state, strict=strict, **more)
    return result


def _fitted(value: torch.Tensor, target: DTensor) -> torch.Tensor:
    """`value` laid out like `target`; a wrong shape is left for `load_state_dict` to report."""
    if isinstance(value, DTensor):
        same_mesh = value.device_mesh == target.device_mesh
        if same_mesh and value.placements == target.placements:
            return value
        value = gather(value)
    if value.shape != target.shape:
        return value
    return shard_like(value, target)


def dict_of(state: Any) -> StateDict:
    """`state`, which every `state_dict()` declares differently, as a dict with string keys."""
    assert isinstance(state, dict)
    return state


def clean(name: str) -> str:
    """`name` without the prefixes of wrappers that state dicts do not show."""
    return name.replace("_checkpoint_wrapped_module.", "")
