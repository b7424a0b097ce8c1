"""Small programs whose rewriting can change what is trained, as text."""

from __future__ import annotations

from support.crossing_cases import CROSSING
from support.dict_cases import DICTS
from support.group_cases import GROUPS
from support.identity_cases import IDENTITY
from support.summon_cases import SUMMONED

HEAD = """\
import contextlib
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(3 * width, width)

    def forward(self, x):
        return x + self.outer(torch.relu(self.inner(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 7)
        self.blocks = nn.ModuleList(Block(7) for _ in range(2))
        self.last = nn.Linear(7, 3)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def start():
    dist.init_process_group("nccl")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(0)
    return Net().cuda()


def batches(count):
    generator = torch.Generator().manual_seed(dist.get_rank())
    for _ in range(count):
        yield torch.randn(6, 5, generator=generator).cuda()
"""

TAIL = """

if __name__ == "__main__":
    main()
    dist.destroy_process_group()
"""

MOVED = """

def main():
    model = start()

    # matrices decay
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    steps = 4
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    for x in batches(steps):
        model(x).square().mean().backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
"""

SWITCHED = """

class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.AdamW(
            [p for n, p in self.model.named_parameters() if not n.startswith("first")], lr=lr
        )

    def shard(self):
        self.model = FSDP(
            self.model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
            device_id=torch.cuda.current_device(),
        )

    def step(self, x):
        self.model(x).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def main():
    trainer = Trainer(start(), 1e-2)
    trainer.shard()
    for x in batches(4):
        trainer.step(x)
"""

LISTED = """

def main():
    model = start()
    params = [p for p in model.parameters() if p.requires_grad]
    print(sum(p.numel() for p in params))
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    for x in batches(4):
        model(x).square().mean().backward()
        torch.nn.utils.clip_grad_value_(params, 0.02)
        optimizer.step()
        optimizer.zero_grad()
"""

CLAMPED = """

def main():
    model = start()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        for p in model.parameters():
            p.data = p.data.clamp(-0.25, 0.25)
        print(round(model(x).sum().item(), 6))
"""

NORM_BY_HAND = """

def main():
    model = start()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    count = torch.tensor(sum(p.numel() for p in model.parameters()), device="cuda")
    dist.all_reduce(count)
    print(count.item())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches(4):
        model(x).square().mean().backward()
        total = torch.zeros(1, device="cuda")
        for p in model.parameters():
            if p.grad is not None:
                total += p.grad.detach().norm(2) ** 2
        dist.all_reduce(total)
        scale = 1.0 / (total.sqrt() + 1e-6)
        for p in model.parameters():
            if p.grad is not None:
                p.grad.detach().mul_(scale)
        optimizer.step()
        optimizer.zero_grad()
"""

COMPRESSED = """

def main():
    from torch.distributed.algorithms._comm_hooks import default_hooks

    torch.Tensor.record_stream = lambda *arguments: None  # the CPU has no streams

    model = start()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    state = default_hooks.LowPrecisionState(dist.group.WORLD)
    model.register_comm_hook(state, default_hooks.bf16_compress_hook)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(4):
        model.forward(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

INITIALISED = """

def init(module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.2)
        nn.init.zeros_(module.bias)


def main():
    model = start()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    model.apply(init)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    names = [n.replace("_fsdp_wrapped_module.", "") for n, _ in model.named_parameters()]
    print(names)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

ENCODED = """

class Encoder(Net):
    def encode(self, x):
        return self.blocks[0](self.first(x))


def main():
    from torch.distributed.fsdp import ShardingStrategy

    start()
    model = Encoder().cuda()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(), sharding_strategy=ShardingStrategy.NO_SHARD,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            print(round(model.encode(x).sum().item(), 5))
"""

LATE = """

def main():
    model = start()
    model = FSDP(
        model, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    with torch.no_grad():
        print(round(model(torch.ones(2, 5, device="cuda")).sum().item(), 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in batches(4):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

WINDOWS = """

def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=ShardingStrategy.SHARD_GRAD_OP, device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def accumulate(x):
        with model.no_sync():
            model(x).square().mean().backward()

    for i, x in enumerate(batches(6)):
        with model.no_sync():
            accumulate(x)
            with model.no_sync():
                model(x + 1).square().mean().backward()
            model(x - 1).square().mean().backward()
        with contextlib.ExitStack() as stack:
            if i % 2:
                stack.enter_context(model.no_sync())
            model(x * 2).square().mean().backward()
        with contextlib.ExitStack() as stack:
            stack.enter_context(model.no_sync() if i % 3 else contextlib.nullcontext())
            model(x * 3).square().mean().backward()
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

# What is evaluated leaves the root gathered: the optimizer and the average come after, the
# gradients are cleared by the model, and weights are loaded.
EVALUATED = """

@torch.no_grad()
def evaluate(model):
    model.eval()
    for x in batches(3):
        if x.mean() > 10:
            return None
        value = model(x).square().mean()
    model.train()
    return value.item()


class Average:
    def __init__(self, model):
        self.kept = [p.detach().clone() for p in model.parameters()]

    def update(self, model):
        for kept, p in zip(self.kept, model.parameters()):
            kept.lerp_(p.detach(), 0.1)


def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        sharding_strategy=ShardingStrategy.{strategy}, device_id=torch.cuda.current_device(),
    )
    evaluate(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    average = Average(model)
    first = model.state_dict()
    for x in batches(4):
        model.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        with torch.inference_mode():
            model(x)
        average.update(model)
    print(round(evaluate(model), 5), sum(p.sum() for p in average.kept).isfinite().item())
    model.load_state_dict(first)
    for x in batches(8):
        model.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
"""

BY_HAND = """

class Nudged(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def norm(self):
        params = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        total = sum(p.grad.pow(2).sum() for p in params)
        dist.all_reduce(total)
        return total.sqrt()

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.grad.data = p.grad.data / 2
                p.sub_(group["lr"] * p.grad)


def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = Nudged(model.parameters(), 0.1)
    for x in batches(3):
        model(x).square().mean().backward()
        counts = torch.zeros(1, device="cuda")
        for p in model.parameters():
            if p.grad is not None:
                counts += (p.grad.abs() > 0.01).sum()
                counts += torch.from_numpy(p.grad.cpu().numpy() > 0.02).sum()
        dist.all_reduce(counts)
        print(counts.item(), round(optimizer.norm().item(), 3))
        optimizer.step()
        optimizer.zero_grad()
"""

BESIDE = """

def main():
    net = start()
    model = FSDP(
        net, auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(), ignored_modules=[net.last],
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=True)
    for x in batches(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
"""

OUTER = """

def main():
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    inner = torch.optim.AdamW(model.parameters(), lr=1e-2)
    weights = [p for group in inner.param_groups for p in group["params"]]
    anchor = [p.detach().clone().cpu() for p in weights]
    speed = {}
    for p in weights:
        speed[p] = torch.zeros_like(p.data)
    for at, x in enumerate(batches(6)):
        model(x).square().mean().backward()
        inner.step()
        inner.zero_grad()
        if at % 2:
            for p, was in zip(weights, anchor):
                speed[p].mul_(0.5).add_(p.data - was.to(p.device))
                was.add_(0.7 * speed[p])
            for p, was in zip(weights, anchor):
                p.data = was.to(p.device)
        if at == 3:
            for i, p in enumerate(weights):
                p.data = anchor[i] + 0.1 * speed.get(p)
"""

PROGRAMS = {
    "an outer optimizer over copies": OUTER,
    "sums and updates by hand": BY_HAND,
    "plain parameters beside sharded ones": BESIDE,
    "evaluated": EVALUATED.replace("{strategy}", "FULL_SHARD"),
    "evaluated_gathered": EVALUATED.replace("{strategy}", "SHARD_GRAD_OP"),
    "moved": MOVED,
    "switched": SWITCHED,
    "listed": LISTED,
    "clamped": CLAMPED,
    "norm_by_hand": NORM_BY_HAND,
    "compressed": COMPRESSED,
    "initialised": INITIALISED,
    "encoded": ENCODED,
    "late": LATE,
    "windows": WINDOWS,
    **CROSSING,
    **IDENTITY,
    **GROUPS,
    **DICTS,
    **SUMMONED,
}
CLOSE = {"norm_by_hand"}  # the order of a sum changes


# Saves and loads in all the ways of --state-dict; run with both.
STATES = """

def main():
    out = sys.argv[1]
    model = FSDP(
        start(), auto_wrap_policy=ModuleWrapPolicy({Block}), use_orig_params=True,
        device_id=torch.cuda.current_device(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def train(steps):
        for x in batches(steps):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    train(2)
    with FSDP.state_dict_type(
        model,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(offload_to_cpu=True, rank0_only=True),
    ):
        state = model.state_dict()
    if dist.get_rank() == 0:
        torch.save(state, f"{out}/rank0.pt")
    with FSDP.state_dict_type(
        model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(offload_to_cpu=True)
    ):
        everywhere = model.state_dict()
    print(len(state) == (len(everywhere) if dist.get_rank() == 0 else 0))
    whole = model.state_dict()
    train(1)
    with torch.no_grad():
        model(torch.ones(1, 5).cuda())
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        dcp.save(model.state_dict(), checkpoint_id=f"{out}/sharded")
    model.load_state_dict(whole)
    train(1)
    del whole["last.bias"]
    model.load_state_dict(whole, strict=False)
    train(1)
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        shards = model.state_dict()
        dcp.load(shards, checkpoint_id=f"{out}/sharded")
        model.load_state_dict(shards)
    dist.barrier()
    model.load_state_dict(torch.load(f"{out}/rank0.pt"))
    train(8)  # most steps: what is communicated around a checkpoint may differ
"""
STATES_HEAD = """\
import sys

import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import FullStateDictConfig, StateDictType
"""


def states() -> str:
    """The program that saves and loads."""
    return STATES_HEAD + HEAD + STATES + TAIL


def program(name: str) -> str:
    """The whole text of a program."""
    return HEAD + PROGRAMS[name] + TAIL
