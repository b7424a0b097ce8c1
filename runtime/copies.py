"""Plain copies of sharded modules: what `copy.deepcopy(model.module)` gave under FSDP1.

FSDP2 gives the module itself another class, which refuses to be copied, and hangs its hooks and
state on it.  They are taken off while the copy is made; the copy is as the module was before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from fsdp_migrate.runtime import private_torch
from fsdp_migrate.runtime.units import sharded_modules


def copy_module(module: nn.Module) -> nn.Module:
    """A copy of `module` that is not sharded, with the parameters that are registered now.

    Inside of `summon_full_params` these are whole.
    """
    with ExitStack() as stack:
        for part in module.modules():
            stack.enter_context(_without_additions(part))
        for unit in sharded_modules(module):
            stack.enter_context(_of_own_class(unit))
        return copy.deepcopy(module)


@contextmanager
def _of_own_class(unit: nn.Module) -> Iterator[None]:
    """Gives a unit the class back that it had before it was sharded."""
    sharded = unit.__class__
    unit.__class__ = private_torch.class_before(unit)
    try:
        yield
    finally:
        unit.__class__ = sharded


@contextmanager
def _without_additions(part: nn.Module) -> Iterator[None]:
    """Takes what FSDP2 has put on a module off it."""
    before = dict(part.__dict__)
    for name, value in private_torch.without_additions(part).items():
        part.__dict__[name] = value
    for name in private_torch.state_names(part):
        del part.__dict__[name]
    try:
        yield
    finally:
        part.__dict__.clear()
        part.__dict__.update(before)
