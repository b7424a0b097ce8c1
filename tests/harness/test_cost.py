"""What recording costs: processor time of a step with and without it.  On demand, `-m slow`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 2.0

PROGRAM = """
import os
import statistics
import time
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
torch.manual_seed(0)
layer = nn.TransformerEncoderLayer
model = nn.Sequential(
    nn.Embedding(4000, 192),
    *(layer(192, 4, 768, dropout=0.0, batch_first=True) for _ in range(6)),
    nn.Linear(192, 4000),
)
if VERSION == 1:
    model = FSDP(
        model,
        auto_wrap_policy=ModuleWrapPolicy({layer}),
        device_id=torch.cuda.current_device(),
        use_orig_params=True,
    )
else:
    for module in model[1:-1]:
        fully_shard(module)
    fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
seconds = []
for step in range(8):
    ids = torch.randint(0, 4000, (4, 128), device="cuda")
    begin = time.process_time()
    nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.process_time() - begin)
if dist.get_rank() == 0:
    print("median", statistics.median(seconds[2:]))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_recording_costs_less_than_another_step(version: int, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM.replace("VERSION", str(version)))
    record = ["-m", "fsdp_migrate.runtime.record", "--out", str(tmp_path / "run"), "--device=cpu"]
    plain = [str(Path(__file__).with_name("plain.py"))]
    times = [seconds([*words, str(script)]) for words in (plain, record)]
    ratio = times[1] / times[0]
    print(f"FSDP{version}: {times[0]:.3f} s plain, {times[1]:.3f} s recorded, ratio {ratio:.2f}")
    assert ratio < LIMIT


def seconds(words: list[str]) -> float:
    """The median step of a program of four million parameters on two ranks."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"median (\S+)", done.stdout)
    assert match is not None
    return float(match.group(1))
