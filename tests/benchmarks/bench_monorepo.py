"""A few FSDP programs in a big repository: python tests/benchmarks/bench_monorepo.py [FILES]...

Repositories are made up, in two sizes unless they are given.  Teams have packages, whose files
import each other and what all teams share; every 200th file trains with FSDP1.  Yardsticks, in
the same run: reading the files, and `ruff check --select E9 --no-cache`, where there is a ruff.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_discovery import read_all
from ratios import best, python, show

COLD = """
import json
import os

from shared.helpers import clean{helper}
{imports}


class Record{n}:
    def __init__(self, path, limit=10):
        self.path = path
        self.limit{n} = limit

    def load{n}(self):
        with open(os.path.join(self.path, "data.json")) as file:
            return [clean{helper}(item) for item in json.load(file)][: self.limit{n}]


def count{n}(path):
    total = 0
    for item in Record{n}(path).load{n}():
        total += len(item)
    return {result}
"""
HELPER = """
def clean{n}(item):
    return item.strip().lower()
"""
TRAINS = """
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

{imports}


def train{n}(path):
    net = FSDP(nn.Linear(8, 8), use_orig_params=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for step in range({result}):
        net(torch.rand(4, 8)).sum().backward()
        net.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
    return net
"""
TEAM = 20  # files
HELPERS = 50


def make(root: Path, files: int, every: int = 200) -> int:
    """Write a repository of so many files; gives the number of those that use FSDP1."""
    _write(root / "shared" / "__init__.py", "")
    helpers = "".join(HELPER.format(n=n) for n in range(HELPERS))
    _write(root / "shared" / "helpers.py", helpers)
    trains = 0
    for n in range(files):
        team, first = n // TEAM, n // TEAM * TEAM
        others = [n - 1] if n > first else []
        imports = "\n".join(f"from team{team}.part{o} import count{o}" for o in others)
        result = " + ".join(["total", *(f"count{o}(path)" for o in others)])
        text, is_training = COLD, n % every == every - 1
        if is_training:
            text, result = TRAINS, result.removeprefix("total + ")
            trains += 1
        text = text.format(n=n, helper=n % HELPERS, imports=imports, result=result)
        _write(root / f"team{team}" / f"part{n}.py", text)
        if n == first:
            _write(root / f"team{team}" / "__init__.py", "")
    return trains


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip())


def main(sizes: tuple[int, ...]) -> None:
    """Compare a run over each repository with the yardsticks."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            trains = make(Path(folder), size)
            command = python("-m", "fsdp_migrate", "-q", folder)
            sides = {"fsdp-migrate, cold": command}
            ruff = shutil.which("ruff")
            if ruff is not None:
                check = [ruff, "check", "--select", "E9", "--no-cache", "-q", folder]
                sides["ruff check --select E9 --no-cache"] = lambda c=check: subprocess.run(
                    c, stdout=subprocess.DEVNULL, check=False
                )
            sides["read all"] = lambda: read_all([folder])
            show(f"{size:,} files, {trains} of them with FSDP1", best(sides, rounds=1))


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or (1_000, 4_000))
