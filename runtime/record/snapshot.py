"""Gradients, parameters and optimizer state of an inventory, as full tensors on every rank."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from hashlib import sha1
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from fsdp_migrate.runtime.record.gather import whole_tensors
from fsdp_migrate.runtime.record.inventory import Inventory
from fsdp_migrate.runtime.record.units import Look, Seen, Unit, describe

Named = Iterator[tuple[str, Tensor | None]]


class OutOfStep(RuntimeError):
    """The ranks do not take the same optimizer steps."""


def gradients(inventory: Inventory, optimizer: Optimizer) -> Named:
    """The full gradient of each parameter of the optimizer; None where no rank has one."""
    ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
    chosen = [unit for unit in inventory.units if unit.held(ids)]
    everywhere = _agree(chosen, [lambda p: p.grad], "gradients")

    def parts() -> Named:
        for unit, (seen,) in zip(chosen, everywhere, strict=True):
            held = set(unit.held(ids))
            yield from ((n, t) for n, t in _full(unit, lambda p: p.grad, seen) if n in held)

    yield from whole_tensors(parts())


def parameters(inventory: Inventory) -> Named:
    """The full parameters, those that the optimizer does not train included."""
    yield from whole_tensors(part for unit in inventory.units for part in unit.values())


def state(inventory: Inventory, optimizer: Optimizer) -> Named:
    """The full optimizer state, as `parameter: key`."""
    keys = sorted({key for entry in optimizer.state.values() for key in entry if type(key) is str})
    keys = _union(inventory.units, keys)
    looks = [_state_value(optimizer, key) for key in keys]
    everywhere = _agree(inventory.units, looks, "optimizer state")

    def parts() -> Named:
        for unit, columns in zip(inventory.units, everywhere, strict=True):
            for key, look, seen in zip(keys, looks, columns, strict=True):
                if any(value is not None for value in seen.values()):
                    for name, value in _full(unit, look, seen):
                        if value is not None:
                            yield f"{name}: {key}", value

    yield from whole_tensors(parts())


def hyperparameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The numbers of each parameter group: learning rate, weight decay and so on."""
    return [
        {key: _number(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def random_states() -> dict[str, str]:
    """Digests of the random number generators that a program draws from."""
    states: dict[str, Any] = {
        "torch": bytes(torch.get_rng_state().tolist()),
        "python": repr(random.getstate()).encode(),
    }
    if torch._C._has_cuda and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = bytes(torch.cuda.get_rng_state().tolist())
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, keys, *rest = numpy.random.get_state()
        states["numpy"] = repr((kind, rest)).encode() + keys.tobytes()
    return {
        name: sha1(state, usedforsecurity=False).hexdigest()[:32] for name, state in states.items()
    }


def _full(unit: Unit, look: Look, seen: Seen) -> Named:
    """The tensors of one quantity, given what the ranks have together."""
    dtypes = [value for value in seen.values() if isinstance(value, torch.dtype)]
    if not dtypes:
        for name, value in seen.items():
            yield name, None if value is None else _scalar(value)
        return
    for name, tensor in unit.full(look, dtypes[0]):
        yield name, tensor if seen.get(name) is not None else None


def _agree(units: list[Unit], looks: list[Look], what: str) -> list[list[Seen]]:
    """What the ranks together have for every unit and quantity."""
    mine = [[unit.see(look) for look in looks] for unit in units]
    for group in _groups(units):
        places = [n for n, unit in enumerate(units) if unit.group is group]
        tag = (what, len(units), len(looks))
        for other_tag, theirs in _exchange((tag, [mine[n] for n in places]), group):
            if other_tag != tag:
                raise OutOfStep(f"one rank reads {tag}, another one {other_tag}")
            for place, columns in zip(places, theirs, strict=True):
                for seen, update in zip(mine[place], columns, strict=True):
                    for name, value in update.items():
                        seen[name] = value if seen.get(name) is None else seen[name]
    return mine


def _union(units: list[Unit], keys: list[str]) -> list[str]:
    """The state keys of all ranks; a rank without a shard of anything has none of its own."""
    together = set(keys)
    for group in _groups(units):
        for _, theirs in _exchange(("keys", keys), group):
            together.update(theirs)
    return sorted(together)


def _groups(units: list[Unit]) -> list[dist.ProcessGroup]:
    groups: list[dist.ProcessGroup] = []
    for unit in units:
        if unit.group is not None and all(unit.group is not known for known in groups):
            groups.append(unit.group)
    return groups


def _exchange(message: Any, group: dist.ProcessGroup) -> list[Any]:
    answers: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(answers, message, group=group)
    return answers


def _state_value(optimizer: Optimizer, key: str) -> Callable[[Tensor], Any]:
    def look(param: Tensor) -> Any:
        entry = optimizer.state.get(param)
        value = entry.get(key) if entry else None
        if isinstance(value, Tensor) and value.ndim and value.shape != param.shape:
            return None  # not laid out like the parameter: cannot be gathered
        return value if isinstance(value, (Tensor, int, float)) else None

    return look


def _number(value: Any) -> Any:
    if isinstance(value, Tensor):
        return describe(value) if value.ndim == 0 else value.tolist()
    if isinstance(value, (list, tuple)):
        return [_number(v) for v in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
