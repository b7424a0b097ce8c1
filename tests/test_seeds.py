"""What a run says and writes doesn't depend on the seed that Python hashes text with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
EXAM = TESTS.parent / "fixtures" / "exam"

# Runs in a process of its own, whose seed sets differ from those of the others.
SCRIPT = """
import json, sys
from pathlib import Path
from support.programs import migrate, read_folder

programs = json.loads(sys.stdin.read())
programs |= {folder: read_folder(Path(folder)) for folder in sys.argv[1:]}
told = {}
for name, files in programs.items():
    run = migrate(files)
    told[name] = [[str(f) for f in run.findings], list(run.errors), dict(run.after)]
print(json.dumps(told))
"""

# Programs in which something has several values, names or reasons at once.
PROGRAMS = {
    "several reasons": """
from torch import nn
from torch.distributed.fsdp import BackwardPrefetch, CPUOffload, MixedPrecision
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import CustomPolicy


def prepare(net, device):
    skipped = []
    chosen = CustomPolicy(lambda m: isinstance(m, nn.Linear))
    options = dict(limit_all_gathers=True, ignored_modules=skipped, auto_wrap_policy=chosen,
                   cpu_offload=CPUOffload(offload_params=False), param_init_fn=print,
                   mixed_precision=MixedPrecision(), device_id=device, ignored_states=skipped)

    def same(f):
        return f

    @same
    def inner():
        return FSDP(module=net, **options)

    return inner()


model = prepare(nn.Linear(8, 8), 0)
""",
    "several values": """
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import ShardingStrategy
from torch.nn.parallel import DistributedDataParallel as DDP


class One(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = FSDP(nn.Linear(8, 8))


class Two(One):
    pass


def choose(kind, net, **kwargs):
    strategies = {"a": ShardingStrategy.FULL_SHARD, "b": ShardingStrategy.SHARD_GRAD_OP}
    if kind == "ddp":
        return DDP(net)
    if kind == "one":
        return FSDP(net, sharding_strategy=strategies[kind], **kwargs)
    if kind == "two":
        return FSDP(net, sharding_strategy=kind, **kwargs)
    return net


def train(kind):
    net = One() if kind else Two()
    model = choose(kind, net, device_id=0, use_orig_params=True, sync_module_states=kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.no_sync():
        model(torch.ones(1)).sum().backward()
    model.clip_grad_norm_(1.0)
    torch.save({"model": model.state_dict(), "inner": net.inner.state_dict()}, "x")
    return optimizer


train("one")
train("two")
""",
    "two names from one module": """
from torch import nn
from torch.distributed.fsdp import FSDPModule as FSDP2
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP1


def is_sharded(model: nn.Module) -> bool:
    return isinstance(model, FSDP2) or isinstance(model, FSDP1)
""",
    "two hooks": """
import torch
from torch import nn
from torch.distributed.algorithms._comm_hooks import default_hooks
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(nn.Linear(8, 8))
chosen = default_hooks.allreduce_hook
if torch.cuda.device_count() > 8:
    chosen = default_hooks.reduce_scatter_hook
model.register_comm_hook(None, chosen)
""",
}
FOLDERS = (
    "closures_partials_decorators",
    "config_dataclass_match",
    "kwargs_filled_by_key",
    "module_holding_fsdp_children",
    "shared_code_runs_ddp",
)


def told(seed: int) -> dict[str, Any]:
    """What a process with this seed says and writes of every program."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), *sys.path])
    folders = [str(EXAM / name) for name in FOLDERS]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *folders],
        input=json.dumps({name: {"train.py": text} for name, text in PROGRAMS.items()}),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_seed_tells_the_same() -> None:
    first = told(0)
    assert all(findings for findings, _, _ in first.values()), "programs that say nothing"
    assert not any(errors for _, errors, _ in first.values())
    for seed in (1, 2, 3):
        other = told(seed)
        assert not [name for name in first if other[name] != first[name]], f"with seed {seed}"
