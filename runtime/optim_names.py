"""Names and numbers of the parameters that an optimizer holds.

Source: `_get_param_to_fqns`, `_get_param_key_to_param` of torch/distributed/fsdp
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from fsdp_migrate.runtime.state_dicts import clean
from fsdp_migrate.runtime.units import reshard

OptimInput = list[dict[str, Any]] | Iterable[nn.Parameter]
ParamGroups = list[list[nn.Parameter]]


def names_of(model: nn.Module) -> dict[nn.Parameter, str]:
    """Parameter -> fully qualified name, the first one if it is tied.

    Shards are registered first: after a no-grad forward the root's parameters are others.
    """
    reshard(model)
    return {param: clean(name) for name, param in model.named_parameters()}


def param_groups(
    model: nn.Module, optim: torch.optim.Optimizer | None, optim_input: OptimInput | None = None
) -> ParamGroups:
    """The parameters that the optimizer's numbers count, group by group.

    Without an optimizer they are taken from what it was built with, `optim_input`, or
    `model.parameters()`, as FSDP1's older functions did.
    """
    if optim is not None:
        return [list(group["params"]) for group in optim.param_groups]
    reshard(model)
    given: list[Any] = list(model.parameters() if optim_input is None else optim_input)
    if given and isinstance(given[0], dict):
        return [_as_list(group["params"]) for group in given]
    return [given]


def numbered(groups: ParamGroups) -> dict[nn.Parameter, int]:
    """Parameter -> its number in an optimizer's state dict."""
    return {param: i for i, param in enumerate(itertools.chain.from_iterable(groups))}


def named(groups: ParamGroups, names: dict[nn.Parameter, str]) -> list[list[str]]:
    """The groups by name.

    Raises:
        KeyError: a parameter is not one of the model's.
    """
    missing = [p for p in itertools.chain.from_iterable(groups) if p not in names]
    if missing:
        raise KeyError(
            f"the optimizer holds {len(missing)} parameters that the model does not have; was it "
            "built before the model was sharded?"
        )
    return [[names[param] for param in group] for group in groups]


def _as_list(params: Any) -> list[nn.Parameter]:
    return [params] if isinstance(params, nn.Parameter) else list(params)
