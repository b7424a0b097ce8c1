"""The few facts about FSDP2 that no public method tells, read in one place.

Each reader says why it is needed and what happens where a release does not have the field. Nothing
outside this module touches a private attribute of torch's FSDP.

Source: torch/distributed/fsdp/_fully_shard/_fsdp_state.py, _fsdp_param_group.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

Hooks = dict[int, Callable[..., Any]]


def _state(module: nn.Module) -> Any:
    return module._get_fsdp_state()  # type: ignore[operator]


def _groups(module: nn.Module) -> list[Any]:
    """The parameter groups of a unit; a list in recent releases, a single one before."""
    state = _state(module)
    groups = getattr(state, "_fsdp_param_groups", None)
    if groups is None:
        groups = [getattr(state, "_fsdp_param_group", None)]
    return [group for group in groups if group is not None]


def sync_flags(module: nn.Module) -> tuple[bool, bool, bool]:
    """(reduce-scatter, all-reduce, reshard after backward) as they are set on a unit.

    `set_requires_gradient_sync` and its relatives are write-only, and a context manager has to put
    back what it found. Without parameters, or without these fields, the defaults are reported.
    """
    for group in _groups(module):
        return (
            getattr(group, "reduce_grads", True),
            getattr(group, "all_reduce_grads", True),
            getattr(group, "reshard_after_backward", True),
        )
    return True, True, True


def found_nested(module: nn.Module) -> bool:
    """Whether FSDP2 has already found, in a first forward, that `module` is inside another unit.

    A module does not know its parents. Units that this package shards are tracked by `units`; this
    adds those whose parent was sharded by a plain `fully_shard`. False where the field is missing.
    """
    return getattr(_state(module), "_is_root", None) is False


def keeps_weights(module: nn.Module) -> bool:
    """Whether a unit was given `reshard_after_forward=False`.

    The root keeps its weights too if it was given nothing, but frees them after each backward, as
    FSDP1 did. False where the fields are missing.
    """
    chosen = getattr(_state(module), "_auto_reshard_after_forward", None) is False
    missing = object()
    infos = [getattr(group, "post_forward_mesh_info", missing) for group in _groups(module)]
    return chosen and bool(infos) and all(info is None for info in infos)


def precision_of(module: nn.Module) -> MixedPrecisionPolicy:
    """The policy that `fully_shard` was given for a unit, and keeps to itself."""
    policy: MixedPrecisionPolicy = getattr(_state(module), "_mp_policy", MixedPrecisionPolicy())
    return policy


def forward_hooks(module: nn.Module) -> Iterator[tuple[bool, Hooks, int]]:
    """FSDP2's own forward hooks among all hooks of a unit: (runs before?, all of them, key).

    `summon_full_params` has to keep FSDP2 from gathering and freeing weights inside its context;
    FSDP2 has no switch for that. No place is reported if the hooks cannot be recognised.
    """
    state = _state(module)
    places: list[tuple[bool, Hooks]] = [
        (True, module._forward_pre_hooks),
        (False, module._forward_hooks),
    ]
    for before, hooks in places:
        for key, hook in list(hooks.items()):
            wrapped = getattr(hook, "__wrapped__", None)  # so with several modules in one unit
            if state in (getattr(h, "__self__", None) for h in (hook, wrapped)):
                yield before, hooks, key


def registered_forward_methods(module: nn.Module) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, original method) of every `register_fsdp_forward_method` on a unit.

    Those methods run the same gathering as the forward hooks do, for the same reason as there.
    """
    for name, value in list(vars(module).items()):
        function: Any = getattr(value, "__func__", None)
        plain = getattr(function, "__wrapped__", None)
        if plain is not None and "_fully_shard" in function.__code__.co_filename:
            yield name, plain


def class_before(unit: nn.Module) -> type[nn.Module]:
    """The class that a unit had before `fully_shard`, which derives a new one from it."""
    return next(
        base
        for base in type(unit).__mro__
        if issubclass(base, nn.Module) and not issubclass(base, FSDPModule)
    )


def without_additions(module: nn.Module) -> dict[str, Hooks]:
    """The tables of hooks of `module` that hold some of FSDP2's or of ours, without those."""
    found: dict[str, Hooks] = {}
    for name, table in module.__dict__.items():
        if name.endswith("_hooks") and isinstance(table, dict):
            kept = type(table)((key, h) for key, h in table.items() if not _is_fsdps(h))
            if len(kept) < len(table):
                found[name] = kept
    return found


def _is_fsdps(hook: Callable[..., Any]) -> bool:
    inner = getattr(hook, "hook", hook)  # some tables wrap what they are given
    home = str(getattr(inner, "__module__", ""))
    return home.startswith(("torch.distributed.fsdp.", f"{__name__.rpartition('.')[0]}."))


def state_names(module: nn.Module) -> list[str]:
    """The attributes in which `fully_shard` leaves its state on a module."""
    return [name for name in module.__dict__ if name in (STATE_KEY, REGISTRY_KEY)]
