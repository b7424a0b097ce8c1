"""What is done about each place where sharded tensors end up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.lowering.local_tensors import Local, LocalTensors
from fsdp_migrate.lowering.sharded_tensors import ShardedTensors
from fsdp_migrate.lowering.tensor_sinks import Sink, SinkKind, TensorSinks
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.syntax.span import Site

# What this rank's shards go into as well as they did under FSDP1.
MADE_LOCAL = frozenset({SinkKind.REFUSED, SinkKind.FLAT, SinkKind.PLAIN, SinkKind.COLLECTIVE})


@dataclass(frozen=True, eq=False)
class TensorEnds:
    """The places, each with how its computation is made local, or None."""

    ends: tuple[tuple[Sink, Local | None], ...]
    tensors: LocalTensors

    @classmethod
    def of(
        cls, analysis: Analysis, sharded: ShardedTensors, plans: Mapping[Site, WrapPlan]
    ) -> TensorEnds:
        """The places of a program."""
        tensors = LocalTensors(analysis, sharded, plans)
        found: list[tuple[Sink, Local | None]] = []
        for sink in TensorSinks(analysis, sharded).all() if analysis.has_models else ():
            whole = sink.kind is SinkKind.COLLECTIVE and tensors.is_large(sink)
            local = tensors.of(sink) if sink.kind in MADE_LOCAL and not whole else None
            found.append((sink, local))
        return cls(tuple(found), tensors)

    @property
    def local(self) -> frozenset[Site]:
        """The beginnings of all computations that are made local."""
        return frozenset(s for _, local in self.ends if local is not None for s in local.begins)
