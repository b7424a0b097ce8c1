"""How the time of a migration grows: python tests/benchmarks/bench_migration.py.

Programs are made up in two sizes; the yardstick is Python's own parser on the same text.
"""

from __future__ import annotations

import ast
from pathlib import Path

from ratios import best, show

from fsdp_migrate import engine
from fsdp_migrate.findings.options import Options
from fsdp_migrate.syntax.source import Source

HEAD = """
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
"""
CLASS = """
class Net{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def evaluate{n}(model, x):
    with torch.no_grad():
        loss = model(x).sum()
    print([p.numel() for p in model.parameters()])
    return loss


def train{n}(x):
    model = FSDP(Net{n}(), use_orig_params=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(10):
        loss = model(x).sum()
        loss.backward()
        model.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
    return evaluate{n}(model, x)
"""


def program(number: int) -> str:
    """A program with some classes, functions and wraps."""
    return HEAD + "".join(CLASS.format(n=n) for n in range(number))


def migrated(text: str) -> engine.Migration:
    """What becomes of a program."""
    return engine.migrate([Source(Path("/project/train.py"), text)], Options())


def main(sizes: tuple[int, ...] = (10, 20, 40)) -> None:
    """Compare migrating with parsing, program by program."""
    for size in sizes:
        text = program(size)
        title = f"{text.count(chr(10)):,} lines, {size} wraps"
        sides = {"migrate": lambda t=text: migrated(t), "ast.parse": lambda t=text: ast.parse(t)}
        show(title, best(sides, rounds=2))


if __name__ == "__main__":
    main()
