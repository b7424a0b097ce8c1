"""`state_dict_type` and relatives: what `model_state_dict` and the optimizer functions return.

FSDP1 kept these settings on every unit and looked them up inside `state_dict()`. Here they are kept
beside the units, for the functions of `state_dicts` and `optim_state` to look up.

Source: `FullyShardedDataParallel.set_state_dict_type` and relatives
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from fsdp_migrate.runtime.config import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    OptimStateDictConfig,
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    StateDictConfig,
    StateDictSettings,
    StateDictType,
    own_state_dict_type,
)
from fsdp_migrate.runtime.units import sharded_modules

_Config = TypeVar("_Config", StateDictConfig, OptimStateDictConfig)

_settings: WeakKeyDictionary[nn.Module, StateDictSettings] = WeakKeyDictionary()

_MODEL_CONFIGS: dict[StateDictType, type[StateDictConfig]] = {
    StateDictType.FULL_STATE_DICT: FullStateDictConfig,
    StateDictType.SHARDED_STATE_DICT: ShardedStateDictConfig,
}
_OPTIM_CONFIGS: dict[StateDictType, type[OptimStateDictConfig]] = {
    StateDictType.FULL_STATE_DICT: FullOptimStateDictConfig,
    StateDictType.SHARDED_STATE_DICT: ShardedOptimStateDictConfig,
}


def set_state_dict_type(
    module: nn.Module,
    state_dict_type: StateDictType,
    state_dict_config: StateDictConfig | None = None,
    optim_state_dict_config: OptimStateDictConfig | None = None,
) -> StateDictSettings:
    """Choose what state dicts of `module` hold from now on; returns the previous choice.

    All units in `module`, itself included, are set. Without units nothing is set and the defaults
    are returned (FSDP1 returned `None`s that it could not take back).

    Raises:
        NotImplementedError: for `LOCAL_STATE_DICT`.
        RuntimeError: a config of another state-dict type.
    """
    kind = own_state_dict_type(state_dict_type)
    chosen = StateDictSettings(
        kind,
        _checked(state_dict_config, _MODEL_CONFIGS[kind]),
        _checked(optim_state_dict_config, _OPTIM_CONFIGS[kind]),
    )
    previous = get_state_dict_type(module)
    for unit in sharded_modules(module):
        _settings[unit] = chosen
    return previous


def get_state_dict_type(module: nn.Module) -> StateDictSettings:
    """The settings in force; whole tensors on all ranks by default, as under FSDP1.

    Raises:
        AssertionError: the units in `module` disagree, as under FSDP1.
    """
    found = [_settings.get(unit) or _defaults() for unit in sharded_modules(module)]
    if any(other != found[0] for other in found[1:]):
        raise AssertionError(f"units with different state dict settings: {found}")
    return found[0] if found else _defaults()


@contextlib.contextmanager
def state_dict_type(
    module: nn.Module,
    state_dict_type: StateDictType,
    state_dict_config: StateDictConfig | None = None,
    optim_state_dict_config: OptimStateDictConfig | None = None,
) -> Iterator[None]:
    """`set_state_dict_type` for the duration of the context.

    The previous settings come back on every path; FSDP1 left them changed after an exception.
    """
    previous = {unit: _settings.get(unit) for unit in sharded_modules(module)}
    set_state_dict_type(module, state_dict_type, state_dict_config, optim_state_dict_config)
    try:
        yield
    finally:
        for unit, settings in previous.items():
            _settings[unit] = settings or _defaults()


def _defaults() -> StateDictSettings:
    return StateDictSettings(
        StateDictType.FULL_STATE_DICT, FullStateDictConfig(), FullOptimStateDictConfig()
    )


def _checked(config: _Config | None, expected: type[_Config]) -> _Config:
    """`config` if it has the expected class; a torch config of that name is converted."""
    if config is None:
        return expected()
    if type(config) is expected:
        return config
    if type(config).__name__ == expected.__name__:
        return expected(**asdict(config))
    raise RuntimeError(f"expected a {expected.__name__}, got {type(config).__name__}")
