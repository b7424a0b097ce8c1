"""Small programs that save and load the states of models and optimizers, as text."""

from __future__ import annotations

from support.training_cases import HEAD, TAIL

IMPORTS = """\
import enum
import sys
from dataclasses import dataclass, field

import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import (
    FullOptimStateDictConfig, FullStateDictConfig, ShardedOptimStateDictConfig,
    ShardedStateDictConfig, StateDictType,
)
"""

START = """

OUT = sys.argv[1]


def build(lr=1e-2):
    model = FSDP(
        Net().cuda() if dist.is_initialized() else start(),
        auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if "bias" not in n]},
        {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    return model, optimizer


def train(model, optimizer, steps):
    for x in batches(steps):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def evaluate(model):
    with torch.no_grad():
        model(torch.ones(1, 5).cuda())
"""

JOINT = """

def save(name, model, optimizer, extra):
    full = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    optim = FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, full, optim):
        state = {
            "step": extra,
            "optimizer": FSDP.optim_state_dict(model, optimizer),
            "model": model.state_dict(),
        }
    if dist.get_rank() == 0:
        torch.save(state, f"{OUT}/{name}.pt")
    dist.barrier()


def pair(model, optimizer):
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        return model.state_dict(), FSDP.optim_state_dict(model, optimizer)


def load(name, model, optimizer):
    state = torch.load(f"{OUT}/{name}.pt", weights_only=False)
    with FSDP.state_dict_type(
        model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(), FullOptimStateDictConfig()
    ):
        flat = FSDP.optim_state_dict_to_load(model, optimizer, state["optimizer"])
        optimizer.load_state_dict(flat)
        model.load_state_dict(state["model"])
    return state["step"]


def main():
    model, optimizer = build()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    train(model, optimizer, 2)
    scheduler.step()
    evaluate(model)
    save("first", model, optimizer, 2)
    train(model, optimizer, 1)
    weights, moments = pair(model, optimizer)
    if dist.get_rank() == 0:
        torch.save({"weights": weights, "moments": moments}, f"{OUT}/pair.pt")
    dist.barrier()
    model, optimizer = build(lr=1.0)  # no scheduler yet
    print(load("first", model, optimizer))
    train(model, optimizer, 8)
"""

APART = """

def save(model, optimizer, with_optimizer):
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        state = {"model": model.state_dict()}
        if with_optimizer:
            state["optim"] = FSDP.optim_state_dict(model, optimizer)
    dcp.save(state, checkpoint_id=f"{OUT}/sharded-{with_optimizer}")


def load(model, optimizer):
    with FSDP.state_dict_type(
        model, StateDictType.SHARDED_STATE_DICT,
        ShardedStateDictConfig(offload_to_cpu=True),
        ShardedOptimStateDictConfig(offload_to_cpu=True),
    ):
        state = {}
        state["model"] = model.state_dict()
        state["optim"] = FSDP.optim_state_dict(model, optimizer)
        dcp.load(state, checkpoint_id=f"{OUT}/sharded-True")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, state["optim"]))


def moments_of(model, optimizer):
    return FSDP.optim_state_dict(model, optimizer)


def main():
    model, optimizer = build()
    train(model, optimizer, 2)
    evaluate(model)
    save(model, optimizer, False)
    evaluate(model)
    save(model, optimizer, True)
    train(model, optimizer, 2)
    load(model, optimizer)
    evaluate(model)
    moments = moments_of(model, optimizer)
    torch.save(moments, f"{OUT}/moments-{dist.get_rank()}.pt")
    train(model, optimizer, 8)
"""

LEGACY = """

def main():
    model, optimizer = build()
    train(model, optimizer, 2)
    whole = FSDP.full_optim_state_dict(model, optimizer)
    print(sorted(whole))
    if dist.get_rank() == 0:
        torch.save(whole, f"{OUT}/whole.pt")
    shards = FSDP.sharded_optim_state_dict(model, optimizer)
    train(model, optimizer, 1)
    optimizer.load_state_dict(FSDP.flatten_sharded_optim_state_dict(shards, model, optimizer))
    train(model, optimizer, 1)
    saved = torch.load(f"{OUT}/whole.pt") if dist.get_rank() == 0 else None
    scattered = FSDP.scatter_full_optim_state_dict(saved, model, optim=optimizer)
    optimizer.load_state_dict(scattered)
    train(model, optimizer, 1)
    everywhere = FSDP.full_optim_state_dict(model, optimizer, rank0_only=False)
    train(model, optimizer, 1)
    optimizer.load_state_dict(FSDP.shard_full_optim_state_dict(everywhere, model, optim=optimizer))
    train(model, optimizer, 8)
"""

FOR_GOOD = """

def wrapped():
    model, optimizer = build()
    return model, optimizer


def main():
    model = FSDP(start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True)
    FSDP.set_state_dict_type(
        model,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(offload_to_cpu=True, rank0_only=False),
        FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=False),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    train(model, optimizer, 2)
    evaluate(model)
    states = {"optim": FSDP.optim_state_dict(model, optimizer)}
    states["model"] = model.state_dict()
    if dist.get_rank() == 0:
        torch.save(states, f"{OUT}/states.pt")
    dist.barrier()
    train(model, optimizer, 1)
    states = torch.load(f"{OUT}/states.pt")
    model.load_state_dict(states["model"])
    optimizer.load_state_dict(FSDP.optim_state_dict_to_load(model, optimizer, states["optim"]))
    train(model, optimizer, 8)
"""

HELPERS = """

class Saver:
    def __init__(self):
        self.model, self.optimizer = build()

    def full_state(self, on_first=True):
        return FSDP.state_dict_type(
            self.model,
            StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(offload_to_cpu=on_first, rank0_only=on_first),
            FullOptimStateDictConfig(offload_to_cpu=on_first, rank0_only=on_first),
        )

    @contextlib.contextmanager
    def shards(self):
        with FSDP.state_dict_type(self.model, StateDictType.SHARDED_STATE_DICT):
            yield

    def state(self):
        with self.full_state():
            return {
                "model": self.model.state_dict(),
                "optimizer": FSDP.optim_state_dict(self.model, self.optimizer),
            }

    def load(self, state):
        with self.full_state(on_first=False):
            self.model.load_state_dict(state["model"])
            flat = FSDP.optim_state_dict_to_load(self.model, self.optimizer, state["optimizer"])
        self.optimizer.load_state_dict(flat)


def main():
    saver = Saver()
    train(saver.model, saver.optimizer, 2)
    evaluate(saver.model)
    state = saver.state()
    print(sorted(state["model"]))
    if dist.get_rank() == 0:
        torch.save(state, f"{OUT}/state.pt")
    dist.barrier()
    with saver.shards():
        dcp.save(saver.model.state_dict(), checkpoint_id=f"{OUT}/shards")
    train(saver.model, saver.optimizer, 1)
    saver.load(torch.load(f"{OUT}/state.pt", weights_only=False))
    train(saver.model, saver.optimizer, 8)
"""

TABLE = """

class Kind(str, enum.Enum):
    whole = "FULL_STATE_DICT"
    shards = "SHARDED_STATE_DICT"


SETTINGS = {
    StateDictType.FULL_STATE_DICT: (
        FullStateDictConfig(offload_to_cpu=True, rank0_only=True),
        FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=True),
    ),
    StateDictType.SHARDED_STATE_DICT: (
        ShardedStateDictConfig(offload_to_cpu=True),
        ShardedOptimStateDictConfig(offload_to_cpu=True),
    ),
}


def save(kind, model, optimizer):
    state_type = getattr(StateDictType, kind.value)
    with FSDP.state_dict_type(model, state_type, *SETTINGS[state_type]):
        state = {"model": model.state_dict(), "optim": FSDP.optim_state_dict(model, optimizer)}
    if state_type is StateDictType.FULL_STATE_DICT:
        if dist.get_rank() == 0:
            torch.save(state, f"{OUT}/{kind.name}.pt")
        dist.barrier()
    else:
        dcp.save(state, checkpoint_id=f"{OUT}/{kind.name}")
    return state


def load(kind, state, model, optimizer):
    state_type = StateDictType[kind.value]
    if state_type == StateDictType.FULL_STATE_DICT:
        state = torch.load(f"{OUT}/{kind.name}.pt", weights_only=False)
    with FSDP.state_dict_type(model, state_type):
        model.load_state_dict(state["model"])
        flat = FSDP.optim_state_dict_to_load(model, optimizer, state["optim"])
    optimizer.load_state_dict(flat)


def main():
    model, optimizer = build()
    for kind in (Kind.whole, Kind.shards):
        train(model, optimizer, 2)
        evaluate(model)
        state = save(kind, model, optimizer)
        train(model, optimizer, 1)
        load(kind, state, model, optimizer)
        train(model, optimizer, 6)
"""

BY_TYPE = """

@dataclass
class Config:
    kind: StateDictType = StateDictType.FULL_STATE_DICT
    on_cpu: bool = True


def saved_as(config):
    return FullStateDictConfig(offload_to_cpu=config.on_cpu, rank0_only=config.on_cpu)


def weights(model, config):
    with FSDP.state_dict_type(model, config.kind):
        return model.state_dict()


def whole(model, config):
    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, saved_as(config)):
        return model.state_dict()


def main():
    model, optimizer = build()
    for name in ("FULL_STATE_DICT", "SHARDED_STATE_DICT"):
        for on_cpu in (True, False):
            config = Config(on_cpu=on_cpu)
            config.kind = StateDictType[name]
            train(model, optimizer, 2)
            evaluate(model)
            state = whole(model, config)
            print(config.kind.name, len(state), config.kind == StateDictType.SHARDED_STATE_DICT)
            if dist.get_rank() == 0:
                torch.save(state, f"{OUT}/{name}-{on_cpu}.pt")
            if config.kind is StateDictType.FULL_STATE_DICT:
                torch.save(weights(model, config), f"{OUT}/weights-{on_cpu}-{dist.get_rank()}.pt")
            else:
                dcp.save(weights(model, config), checkpoint_id=f"{OUT}/weights-{on_cpu}")
            dist.barrier()
    train(model, optimizer, 10)
"""

MISSING = """

def main():
    model, optimizer = build()
    train(model, optimizer, 2)
    whole = model.state_dict()
    del whole["last.bias"], whole["blocks.0.inner.weight"]
    whole["extra"] = torch.ones(1).cuda()
    result = model.load_state_dict(whole, strict=False)
    print(result.missing_keys)
    train(model, optimizer, 1)
    missing, unexpected = model.load_state_dict(whole, strict=False)
    print(missing, unexpected, sorted(whole))
    train(model, optimizer, 10)
"""

PROGRAMS = {
    "missing": MISSING,
    "for_good": FOR_GOOD,
    "table": TABLE,
    "by_type": BY_TYPE,
    "helpers": HELPERS,
    "joint": JOINT,
    "apart": APART,
    "legacy": LEGACY,
}


def program(name: str) -> str:
    """The whole text of a program."""
    return IMPORTS + HEAD + START + PROGRAMS[name] + TAIL
