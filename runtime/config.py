"""The configuration vocabulary of FSDP1, defined anew so that it outlives FSDP1.

Names, member names, field order and defaults are those of `torch.distributed.fsdp`; a test
compares them with the installed release. What the values mean under FSDP2 is said here and
carried out by the modules that take them.

Source: https://docs.pytorch.org/docs/stable/fsdp.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # the base that FSDP1's default names


class ShardingStrategy(Enum):
    """How FSDP1 spreads parameters; `fully_shard_from_fsdp1` turns each into mesh and resharding.

    * `FULL_SHARD`: one mesh dimension, weights freed after forward (not the root's).
    * `SHARD_GRAD_OP`: one mesh dimension, weights kept until after backward.
    * `NO_SHARD`: a `(world, 1)` mesh, so every rank holds everything and gradients are all-reduced.
    * `HYBRID_SHARD`, `_HYBRID_SHARD_ZERO2`: the first two inside a node, replicated between nodes.
    """

    FULL_SHARD = auto()
    SHARD_GRAD_OP = auto()
    NO_SHARD = auto()
    HYBRID_SHARD = auto()
    _HYBRID_SHARD_ZERO2 = auto()


class BackwardPrefetch(Enum):
    """When the next unit's weights are gathered in backward.

    `BACKWARD_PRE` is what FSDP2 does by itself. `BACKWARD_POST` is accepted and behaves alike
    (only the timing of a gather differs, never a value); `None` in its place switches
    prefetching off.
    """

    BACKWARD_PRE = auto()
    BACKWARD_POST = auto()


class StateDictType(Enum):
    """What state dicts hold: whole tensors, or shards.

    `LOCAL_STATE_DICT` exists so that comparisons with it keep working. There are no flat
    parameters under FSDP2, so selecting it raises `NotImplementedError`.
    """

    FULL_STATE_DICT = auto()
    LOCAL_STATE_DICT = auto()
    SHARDED_STATE_DICT = auto()


class OptimStateKeyType(Enum):
    """Keys of an optimizer state dict: parameter names or parameter numbers."""

    PARAM_NAME = auto()
    PARAM_ID = auto()


@dataclass
class MixedPrecision:
    """Precision of parameters, gradient reduction, buffers and forward inputs.

    Under FSDP2 the first two become a `MixedPrecisionPolicy`; the casts of inputs and buffers and
    the exemption of `_module_classes_to_ignore` (batch norms) are carried out by this package.
    `keep_low_precision_grads=True` raises `NotImplementedError` when it is used: FSDP2 always
    hands full-precision gradients to the optimizer.
    """

    param_dtype: torch.dtype | None = None
    reduce_dtype: torch.dtype | None = None
    buffer_dtype: torch.dtype | None = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True
    _module_classes_to_ignore: Sequence[type[nn.Module]] = (_BatchNorm,)


@dataclass
class CPUOffload:
    """Whether parameters, gradients and optimizer states live in CPU memory."""

    offload_params: bool = False


@dataclass
class StateDictConfig:
    """Base of the model state-dict settings; `offload_to_cpu` moves the values to the CPU."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """Whole tensors; with `rank0_only` the other ranks get none."""

    rank0_only: bool = False


@dataclass
class LocalStateDictConfig(StateDictConfig):
    """Accepted as a value only: see `StateDictType.LOCAL_STATE_DICT`."""


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """Shards. They are always DTensors here, whatever `_use_dtensor` says."""

    _use_dtensor: bool = False


@dataclass
class OptimStateDictConfig:
    """Base of the optimizer state-dict settings; states go to the CPU unless told otherwise."""

    offload_to_cpu: bool = True


@dataclass
class FullOptimStateDictConfig(OptimStateDictConfig):
    """Whole tensors; with `rank0_only` the other ranks get an empty dict."""

    rank0_only: bool = False


@dataclass
class LocalOptimStateDictConfig(OptimStateDictConfig):
    """Accepted as a value only: see `StateDictType.LOCAL_STATE_DICT`."""

    offload_to_cpu: bool = False


@dataclass
class ShardedOptimStateDictConfig(OptimStateDictConfig):
    """Shards. They are always DTensors here, whatever `_use_dtensor` says."""

    _use_dtensor: bool = False


@dataclass
class StateDictSettings:
    """What `get_state_dict_type` and `set_state_dict_type` return."""

    state_dict_type: StateDictType
    state_dict_config: StateDictConfig
    optim_state_dict_config: OptimStateDictConfig


def own_strategy(value: object) -> ShardingStrategy:
    """`value` as a member of `ShardingStrategy`; `None` is the default.

    It may be a name.  A member of torch's own enum is taken by name: a library may still hand one
    over.

    Raises:
        TypeError: for anything else.
    """
    if value is None:
        return ShardingStrategy.FULL_SHARD
    if isinstance(value, ShardingStrategy):
        return value
    name = value.name if isinstance(value, Enum) else value
    if isinstance(name, str) and name in ShardingStrategy.__members__:
        return ShardingStrategy[name]
    raise TypeError(f"expected a ShardingStrategy, got {value!r}")


def own_state_dict_type(value: object) -> StateDictType:
    """`value` as a member of `StateDictType`, torch's own members by name.

    Raises:
        NotImplementedError: for `LOCAL_STATE_DICT`.
        TypeError: for anything that is no state-dict type.
    """
    name = value.name if isinstance(value, Enum) else ""
    if name not in StateDictType.__members__:
        raise TypeError(f"expected a StateDictType, got {value!r}")
    if name == StateDictType.LOCAL_STATE_DICT.name:
        raise NotImplementedError(
            "LOCAL_STATE_DICT holds FSDP1's flat parameters, which FSDP2 does not have. "
            "Use SHARDED_STATE_DICT with torch.distributed.checkpoint, or FULL_STATE_DICT."
        )
    return StateDictType[name]
