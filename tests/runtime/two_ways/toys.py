"""Small models, and a training loop that writes down everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

Record = dict[str, Any]
WORDS = 13


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Net(nn.Module):
    """Odd sizes, so that the shards of two ranks are unequal."""

    def __init__(self, width: int = 10, depth: int = 3, *, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, WORDS, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Table(nn.Module):
    """A block with buffers and an input that does not pass through the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("scale", torch.rand(width))
        self.register_buffer("shift", torch.rand(width), persistent=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor, *, angles: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        y = self.linear(x) * self.scale + self.shift
        return x + (torch.tanh(y) * angles.cos()).to(x.dtype)


class Mixed(nn.Module):
    """Batch norm, buffers, a float32 side input: what mixed precision has to get right."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.tables = nn.ModuleList([Table(width) for _ in range(2)])
        self.bn = nn.BatchNorm1d(5)
        self.head = nn.Linear(width, WORDS)
        self.register_buffer("bias", torch.randn(WORDS))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        angles = torch.linspace(0, 1, x.shape[-1])
        for table in self.tables:
            x = table(x, angles=angles)
        return self.head(self.bn(x)) + self.bias


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.feed(self.attend(x, x, x, need_weights=False)[0])


class Deep(nn.Module):
    """Lists, dicts and sequences of units of different sizes."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.encoder = nn.ModuleList([Attention(width) for _ in range(2)])
        tail = nn.Sequential(Block(width), nn.Sequential(Block(width), nn.Linear(width, width)))
        self.decoder = nn.ModuleDict({"first": Attention(width), "rest": tail})
        self.head = nn.Linear(width, WORDS, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.encoder:
            x = layer(x)
        return self.head(self.decoder["rest"](self.decoder["first"](x)))


def batches(count: int, seed: int = 100) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """`count` batches of (ids, targets), other ones on each rank."""
    generator = torch.Generator().manual_seed(seed + dist.get_rank())

    def ids() -> torch.Tensor:
        return torch.randint(0, WORDS, (4, 5), generator=generator)

    return [(ids(), ids()) for _ in range(count)]


def loss_of(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output.float().flatten(0, 1), targets.flatten())


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)


def train(
    ns: Any,
    model: nn.Module,
    optim: torch.optim.Optimizer | None = None,
    *,
    steps: int = 2,
    window: int = 1,
    seed: int = 100,
    accumulate: bool = False,
    before_step: Callable[[], Any] | None = None,
) -> Record:
    """Train and return the losses, and in the end parameters, buffers and optimizer states.

    With `accumulate`, all but the last batch of each window are run under `no_sync`.
    """
    optim = adamw(model) if optim is None else optim
    data = iter(batches(steps * window, seed))
    record: Record = {"loss": [], "extra": []}
    for _ in range(steps):
        for i in range(window):
            ids, targets = next(data)
            local = accumulate and i < window - 1
            with ns.no_sync(model) if local else contextlib.nullcontext():
                loss = loss_of(model(ids), targets) / window
                loss.backward()
            record["loss"].append(loss.detach().clone())
        if before_step is not None:
            record["extra"].append(before_step())
        optim.step()
        optim.zero_grad()
    record["model"] = whole(ns, model)
    record["optim"] = whole_optim(ns, model, optim)
    return record


def whole(ns: Any, model: nn.Module) -> dict[str, torch.Tensor]:
    """The full state dict, copied: also by FSDP1 buffers are not."""
    return {name: value.clone() for name, value in ns.model_state_dict(model).items()}


def whole_optim(ns: Any, model: nn.Module, optim: torch.optim.Optimizer) -> dict[str, Any]:
    config = ns.FullOptimStateDictConfig(offload_to_cpu=False, rank0_only=False)
    kind = ns.StateDictType.FULL_STATE_DICT
    with ns.state_dict_type(model, kind, ns.FullStateDictConfig(), config):
        state = copied(ns.optim_state_dict(model, optim))
    for group in state["param_groups"]:
        group["params"].sort()  # flat parameters have an order of their own
    return state


def copied(value: Any) -> Any:
    """A deep copy in plain containers, whole where tensors are sharded the new way."""
    if isinstance(value, torch.Tensor):
        whole_value = value.full_tensor() if hasattr(value, "full_tensor") else value
        return whole_value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value
