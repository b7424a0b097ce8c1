"""Small programs in which `probe` is what the analysis is asked about."""

from __future__ import annotations

from typing import Any

from fsdp_migrate.analysis.values import Instance, Symbol, Unknown, Value, Wrapped
from fsdp_migrate.syntax.fsdp1_names import ROOT
from support.programs import Analysis, dedent

HEAD = dedent(
    """
    import contextlib
    import dataclasses
    import functools
    from dataclasses import dataclass, field
    from functools import partial
    from typing import Optional, Union

    import torch
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    from torch.distributed.fsdp import MixedPrecision, ShardingStrategy
    from torch.nn.parallel import DistributedDataParallel as DDP


    class Net(nn.Module):
        def forward(self, x):
            return x


    """
)
FULL = Symbol(f"{ROOT}.ShardingStrategy.FULL_SHARD")
ZERO2 = Symbol(f"{ROOT}.ShardingStrategy.SHARD_GRAD_OP")


def analyse(text: str) -> Analysis:
    """The facts of a program that starts with `HEAD`."""
    return Analysis(HEAD + dedent(text))


def probed(text: str) -> Value:
    """What `probe` is at its last mention."""
    return analyse(text).value("probe")


def wraps(analysis: Analysis, text: str = "probe", **where: Any) -> set[Wrapped]:
    """The FSDP models that an expression can be."""
    return analysis.solver.wrapped(analysis.value(text, **where))


def check_model(text: str) -> None:
    """`probe` is an FSDP model, and nothing else but the module in it: rules see no ghosts."""
    value = probed(text)
    assert any(isinstance(atom, Wrapped) for atom in value), value
    assert all(isinstance(atom, Wrapped | Instance) for atom in value), value


def reasons(value: Value) -> list[str]:
    """Why a value isn't known, as far as it isn't."""
    return sorted(atom.reason for atom in value if isinstance(atom, Unknown))
