"""`ignored_modules` and `ignored_states`: what a unit leaves alone.

Source: `_init_ignored_module_states` of torch/distributed/fsdp/_init_utils.py
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torch import nn
from torch.distributed.fsdp import FSDPModule

from fsdp_migrate.runtime.units import sharded_modules, unit_of

States = Iterable[nn.Parameter] | Iterable[nn.Module]


def resolve_ignored(
    module: nn.Module, ignored_modules: Iterable[nn.Module] | None, ignored_states: States | None
) -> tuple[set[nn.Module], set[nn.Parameter]]:
    """The modules and parameters to ignore, those of nested units included.

    Raises:
        ValueError: both arguments are given, `ignored_states` mixes parameters and modules, or an
            ignored module is a sharded unit itself.
        TypeError: `ignored_modules` holds something else than modules.
    """
    if ignored_modules is not None and ignored_states is not None:
        raise ValueError("pass either ignored_modules or ignored_states")
    named, params = _split(ignored_states)
    named += list(ignored_modules) if ignored_modules is not None else []
    for ignored in named:
        if not isinstance(ignored, nn.Module):
            raise ValueError(f"ignored_modules expects modules, got {type(ignored)}")
        if isinstance(ignored, FSDPModule):
            raise ValueError("ignored_modules should not include modules that are sharded already")
    modules = {below for ignored in named for below in ignored.modules()}
    modules = {m for m in modules if not isinstance(m, FSDPModule)}
    if module in modules:
        warnings.warn(
            "the module to shard is itself ignored, so none of its parameters is sharded",
            stacklevel=3,
        )
    params |= {p for m in modules for p in m.parameters()}
    for nested in sharded_modules(module):
        unit = unit_of(nested)
        if unit is not None:
            modules |= unit.ignored_modules
            params |= unit.ignored_params
    return modules, params


def _split(states: States | None) -> tuple[list[nn.Module], set[nn.Parameter]]:
    given = list(states) if states is not None else []
    params = [s for s in given if isinstance(s, nn.Parameter)]
    modules = [s for s in given if isinstance(s, nn.Module)]
    if len(params) + len(modules) != len(given) or (params and modules):
        kinds = sorted({type(s).__name__ for s in given})
        raise ValueError(f"ignored_states expects only parameters or only modules, got {kinds}")
    return modules, set(params)
