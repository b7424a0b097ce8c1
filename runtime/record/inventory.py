"""Which models an optimizer trains, and what is in them by clean name."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch.distributed.fsdp as fsdp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from fsdp_migrate.runtime.record.units import SEE_THROUGH, FlatUnit, SingleUnit, Unit
from fsdp_migrate.runtime.verify.recording import FSDP1, FSDP2, NO_MODEL

FSDPModule: Any = getattr(fsdp, "FSDPModule", ())


@dataclass
class Inventory:
    """The units and buffers of the models that one optimizer trains."""

    units: list[Unit] = field(default_factory=list)
    buffers: dict[str, tuple[nn.Module, str]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    key: tuple[int, ...] = ()  # what it was built from; another key means that it is out of date

    def live_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers as they are now."""
        for name, (module, attribute) in self.buffers.items():
            buffer = module._buffers.get(attribute)
            if buffer is not None:
                yield name, buffer


class Inventories:
    """Finds the models of optimizers, and remembers them while nothing changes."""

    def __init__(self) -> None:
        self.sharding: set[str] = set()  # what models of this process are sharded with
        self._known: dict[int, tuple[Inventory, list[nn.Module]]] = {}

    def of(self, optimizer: Optimizer) -> Inventory:
        """The inventory of an optimizer."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        known = self._known.get(id(optimizer))
        if known and known[0].key == _key(params, known[1]):
            return known[0]
        outermost = _outermost()
        self.sharding |= {kind for root in outermost for kind in _sharding(root)}
        roots = _roots(params, outermost)
        inventory = _build(roots, params)
        inventory.key = _key(params, roots)
        self._known[id(optimizer)] = inventory, roots
        return inventory


def _key(params: list[Tensor], roots: list[nn.Module]) -> tuple[int, ...]:
    return (*map(id, params), *(id(module) for root in roots for module in root.modules()))


def _sharding(root: nn.Module) -> Iterator[str]:
    for _, module in walk(root):
        if isinstance(module, fsdp.FullyShardedDataParallel):
            yield FSDP1
        elif FSDPModule and isinstance(module, FSDPModule):
            yield FSDP2


def _roots(params: list[Tensor], outermost: list[nn.Module]) -> list[nn.Module]:
    """The outermost modules that own the parameters, in the order of the parameters."""
    order = {id(p): place for place, p in reversed(list(enumerate(params)))}
    found = []
    for root in outermost:
        owned = {id(p) for unit in _units(root) for p in unit.owned()}
        hits = owned & order.keys()
        if hits:
            first = min(order[hit] for hit in hits)
            found.append(((first, -len(owned), type(root).__qualname__), root, hits))
    roots, covered = [], set[int]()
    for _, root, hits in sorted(found, key=lambda entry: entry[0]):
        if hits - covered:
            roots.append(root)
            covered |= hits
    return roots


def _outermost() -> list[nn.Module]:
    """The modules of the process that no other module holds."""
    modules = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)]
    modules = [m for m in modules if "_modules" in m.__dict__]
    inner = {id(child) for m in modules for child in m._modules.values() if child is not None}
    return [m for m in modules if id(m) not in inner]


def _build(roots: list[nn.Module], params: list[Tensor]) -> Inventory:
    inventory = Inventory()
    covered: set[int] = set()
    for number, root in enumerate(roots, 1):
        label = f"model {number}: " if len(roots) > 1 else ""
        for unit in _units(root, label):
            inventory.units.append(unit)
            covered.update(map(id, unit.owned()))
        for prefix, module in walk(root, label):
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    inventory.buffers.setdefault(prefix + name, (module, name))
    for place, param in enumerate(params):
        if id(param) not in covered:  # of no module, or of a module that was rebuilt since
            inventory.units.append(SingleUnit(f"parameter {place} {NO_MODEL}", param))
            covered.add(id(param))
    inventory.frozen = tuple(sorted(_frozen(inventory.units)))
    return inventory


def _frozen(units: list[Unit]) -> Iterator[str]:
    for unit in units:
        if isinstance(unit, SingleUnit):
            flags = [unit.param.requires_grad]
        else:
            parts = list(unit.owned())
            flags = [p.requires_grad for p in parts[1:] or parts * len(unit.names)]
        for name, trains in zip(unit.names, flags, strict=False):
            if not trains:
                yield name


def walk(
    module: nn.Module, prefix: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Every module with its clean prefix, looking through wrappers."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            wrapped = isinstance(module, DistributedDataParallel) and name == "module"
            hidden = wrapped or name in SEE_THROUGH
            yield from walk(child, prefix if hidden else f"{prefix}{name}.", seen)


def _units(root: nn.Module, label: str = "") -> list[Unit]:
    """The units of a model, ordered by name so that all ranks agree."""
    units: list[Unit] = []
    flat: set[int] = set()
    names: dict[int, tuple[Tensor, str]] = {}
    places = list(walk(root, label))
    for prefix, module in places:
        handle = getattr(module, "_handle", None)
        if isinstance(module, fsdp.FullyShardedDataParallel) and handle is not None:
            units.append(FlatUnit(prefix, handle))
            for param in (*units[-1].owned(), *(handle.flat_param._shared_params or ())):
                flat.add(id(param))
    sharded = _sharded_params(root)
    for prefix, module in places:
        for name, now in module._parameters.items():
            param = sharded.get((id(module), name), now)
            if param is not None and id(param) not in flat:
                known = names.get(id(param))
                full = min(prefix + name, known[1]) if known else prefix + name
                names[id(param)] = (param, full)
    units += [SingleUnit(name, param) for param, name in names.values()]
    return sorted(units, key=lambda unit: unit.names)


def _sharded_params(root: nn.Module) -> dict[tuple[int, str], nn.Parameter]:
    """FSDP2's sharded parameters by place; a module may show the gathered ones at the moment."""
    found = {}
    for module in root.modules():
        if not (FSDPModule and isinstance(module, FSDPModule)):
            continue
        state = module._get_fsdp_state()
        groups = getattr(state, "_fsdp_param_groups", None)
        if groups is None:
            group = state._fsdp_param_group
            groups = [group] if group is not None else []
        for param in (p for group in groups for p in group.fsdp_params):
            info = param._module_info
            found[id(info.module), info.param_name] = param.sharded_param
            shared = zip(info.shared_modules, info.shared_param_names, strict=True)
            for other, name in shared:
                found[id(other), name] = param.sharded_param
    return found
