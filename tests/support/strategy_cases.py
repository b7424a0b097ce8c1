"""Programs whose sharding strategy only the run knows, as text, and what they are run with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IMPORTS = """\
import argparse
import sys
from dataclasses import dataclass

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import BackwardPrefetch
"""

TRAIN = """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

TABLE = (
    """
STRATEGIES = {
    "full": ShardingStrategy.FULL_SHARD,
    "grad": ShardingStrategy.SHARD_GRAD_OP,
    "none": ShardingStrategy.NO_SHARD,
    "hybrid": ShardingStrategy.HYBRID_SHARD,
    "zero2": ShardingStrategy._HYBRID_SHARD_ZERO2,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(STRATEGIES))
    args = parser.parse_args()
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=STRATEGIES[args.kind], device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)

BRANCHES = (
    """

def strategy_of(kind):
    if kind == "full":
        strategy = ShardingStrategy.FULL_SHARD
    elif kind == "grad":
        strategy = ShardingStrategy.SHARD_GRAD_OP
    else:
        strategy = ShardingStrategy.NO_SHARD
    return strategy


def main():
    strategy = strategy_of(sys.argv[1])
    if strategy is ShardingStrategy.NO_SHARD:
        print("replicated", strategy.name)
    if strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.SHARD_GRAD_OP):
        print("sharded")
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=strategy, device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)

MATCHED = (
    """

def main():
    match sys.argv[1]:
        case "full":
            strategy = ShardingStrategy.FULL_SHARD
        case _:
            strategy = ShardingStrategy["SHARD_GRAD_OP"]
    match strategy:
        case ShardingStrategy.SHARD_GRAD_OP:
            print("weights stay")
        case ShardingStrategy.FULL_SHARD:
            print("weights go")
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=strategy, device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)

FIELD = (
    """

@dataclass
class Config:
    strategy: ShardingStrategy = ShardingStrategy.FULL_SHARD
    prefetch: BackwardPrefetch = BackwardPrefetch.BACKWARD_PRE
    steps: int = 3

    @property
    def zero(self) -> int:
        return 2 if self.strategy == ShardingStrategy.SHARD_GRAD_OP else 3


def main():
    config = Config()
    if sys.argv[1] != "default":
        config.strategy = ShardingStrategy.__members__[sys.argv[1].upper()]
        config.prefetch = getattr(BackwardPrefetch, sys.argv[2])
    print(f"strategy {config.strategy.name}, zero {config.zero}")
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=config.strategy, backward_prefetch=config.prefetch,
        device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)

NUMBER = (
    """

def main():
    strategy = ShardingStrategy(int(sys.argv[1])) if sys.argv[1:] else None
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=strategy, device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)

VALUES = (
    """
LEVELS = {"3": ShardingStrategy.FULL_SHARD, "2": ShardingStrategy.SHARD_GRAD_OP}


def main():
    prefetch = BackwardPrefetch.BACKWARD_PRE if sys.argv[1] == "3" else None
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=LEVELS.get(sys.argv[1], ShardingStrategy.FULL_SHARD),
        backward_prefetch=prefetch, device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)


BLOCK_BY_BLOCK = (
    """

def main():
    strategy = getattr(ShardingStrategy, sys.argv[1])
    net = start()
    for i, block in enumerate(net.blocks):
        net.blocks[i] = FSDP(
            block, sharding_strategy=strategy, use_orig_params=True,
            device_id=torch.cuda.current_device(),
        )
    model = FSDP(
        net, sharding_strategy=strategy, use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)


GIVEN_MESH = (
    """
KINDS = dict(
    full=ShardingStrategy.FULL_SHARD,
    grad=ShardingStrategy.SHARD_GRAD_OP,
    hybrid=ShardingStrategy.HYBRID_SHARD,
)


def main():
    model = start()
    strategy = KINDS.get(sys.argv[1], ShardingStrategy._HYBRID_SHARD_ZERO2)
    hybrid = strategy in (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)
    node = torch.cuda.device_count()
    shape = (dist.get_world_size() // node, node)
    mesh = init_device_mesh("cuda", shape, mesh_dim_names=("a", "b")) if hybrid else None
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=strategy, device_mesh=mesh if hybrid else None,
        device_id=torch.cuda.current_device(),
    )
"""
    + TRAIN
)


@dataclass(frozen=True)
class Case:
    """A program, and the command lines that it is run with."""

    text: str
    runs: tuple[str, ...]
    on_four: tuple[str, ...] = ()  # command lines for four ranks, on two nodes


CASES: Mapping[str, Case] = {
    "table": Case(TABLE, ("full", "grad", "none"), on_four=("hybrid", "zero2", "none")),
    "branches": Case(BRANCHES, ("full", "grad", "none")),
    "given mesh": Case(GIVEN_MESH, ("full", "grad"), ("hybrid", "other")),
    "matched": Case(MATCHED, ("full", "grad")),
    "field": Case(
        FIELD, ("default", "no_shard BACKWARD_POST"), on_four=("hybrid_shard BACKWARD_PRE",)
    ),
    "number": Case(NUMBER, ("", "2", "3")),
    "block by block": Case(BLOCK_BY_BLOCK, ("FULL_SHARD", "SHARD_GRAD_OP"), ("NO_SHARD",)),
    "values": Case(VALUES, ("3", "2", "1")),
}
