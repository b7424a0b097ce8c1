"""The recorder does not change training, and leaves programs alone otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fsdp_migrate.runtime.record.__main__ import parse
from fsdp_migrate.runtime.record.gpu import Gpu, available
from fsdp_migrate.runtime.record.settings import Settings
from fsdp_migrate.runtime.record.tee import Tee
from fsdp_migrate.runtime.verify import recording
from harness.mutations import PROGRAMS
from support.training import record


@pytest.mark.parametrize("side", ["old", "new"])
def test_recording_does_not_change_a_bit(side: str, tmp_path: Path) -> None:
    script = PROGRAMS / "language" / side / "train.py"
    plain = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(str(Path(__file__).with_name("plain.py")), str(script), "--out", str(tmp_path)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    run, problem = record(script.parent, "train.py", ["--out", "{out}"])
    assert not problem
    for name in ("checkpoint.pt", "final.pt"):
        before = torch.load(tmp_path / name)
        after = torch.load(recording.files_folder(run) / name)
        assert flat(before).keys() == flat(after).keys()
        for key, tensor in flat(before).items():
            assert torch.equal(tensor, flat(after)[key]), key
    printed = [line for line in plain.stdout.splitlines() if line.startswith("step")]
    assert printed == recording.read(run).printed().splitlines()
    assert len(printed) == 4


def flat(state: dict[str, dict[str, object]]) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by path."""
    tensors = {f"model {k}": v for k, v in state["model"].items()}
    for name, values in state["optimizer"]["state"].items():  # type: ignore[attr-defined]
        tensors.update({f"state {name} {k}": torch.as_tensor(v) for k, v in values.items()})
    return tensors  # type: ignore[return-value]


def program(tmp_path: Path, text: str) -> Path:
    (tmp_path / "train.py").write_text(text)
    return tmp_path


TINY = """
import sys
import torch
import torch.distributed as dist
dist.init_process_group("nccl")
dist.barrier()  # gloo is still connecting: a rank that ends now takes the others with it
model = torch.nn.Linear(3, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(2):
    model(torch.ones(2, 3, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
{}
dist.destroy_process_group()
"""


def test_unsharded_models_are_recorded_too(tmp_path: Path) -> None:
    run, problem = record(program(tmp_path, TINY.format("")), "train.py")
    assert not problem
    first, second = recording.read(run).ranks.values()
    assert first.steps[0].gradients.keys() == {"weight", "bias"}
    assert first.steps[0].parameters != second.steps[0].parameters  # nobody broadcast anything


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("raise ValueError('no more data')", "ValueError: no more data"),
        ("sys.exit(3)", "sys.exit(3)"),
        ("sys.exit('out of disk')", "sys.exit('out of disk')"),
        ("sys.exit(0)", None),
        ("torch.cuda.CUDAGraph()", "CUDA graphs cannot be rehearsed"),
        ("torch.nn.DataParallel(model)", "torch.nn.DataParallel cannot be rehearsed"),
        ("torch.cuda.set_device(7)", "invalid device ordinal"),
        ("import os; os._exit(0)", None),
        ("import os; os._exit(3)", "os._exit(3)"),
    ],
)
def test_how_a_program_ended_is_recorded(tmp_path: Path, end: str, error: str | None) -> None:
    run, problem = record(program(tmp_path, TINY.format(end)), "train.py", timeout=60)
    assert bool(problem) == (error is not None)
    ranks = recording.read(run).ranks
    for rank in ranks.values():
        assert len(rank.steps) == 2
        assert rank.end is not None
        if error is None:
            assert rank.end.error is None
    assert error is None or any(error in str(r.end and r.end.error) for r in ranks.values())


SAVING = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType
dist.init_process_group("nccl")
model = FSDP(torch.nn.Linear(4, 4).cuda(), device_id=torch.cuda.current_device())
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
for step in range(2):
    model(torch.ones(2, 4, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    with FSDP.state_dict_type(model, StateDictType.{}):
        state = model.state_dict()
        model.load_state_dict(state)
        FSDP.optim_state_dict(model, optimizer)
dist.destroy_process_group()
"""


@pytest.mark.parametrize("kind", ["FULL_STATE_DICT", "SHARDED_STATE_DICT"])
def test_what_a_checkpoint_gathers_is_no_part_of_a_step(tmp_path: Path, kind: str) -> None:
    run, problem = record(program(tmp_path, SAVING.format(kind)), "train.py")
    assert not problem
    for step in recording.read(run).ranks[0].steps:
        assert step.collectives["forward all-gather"][0] == 1
    assert step.collectives["checkpoint all-gather"][0] > 0
    assert "aside all-gather" not in step.collectives


ASIDE = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, fully_shard
dist.init_process_group("nccl")
model = torch.nn.Linear(4, 4).cuda()
{}
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
for step in range(2):
    model(torch.ones(2, 4, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    {}
    dist.all_gather([torch.zeros(1), torch.zeros(1)], torch.zeros(1))
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("shard", "look"),
    [
        ("model = FSDP(model)", "with FSDP.summon_full_params(model): pass"),
        ("fully_shard(model)", "[p.full_tensor() for p in model.parameters()]"),
        ("fully_shard(model)", "model.unshard(); model.reshard()"),
    ],
)
def test_what_a_program_asks_for_is_counted_apart(tmp_path: Path, shard: str, look: str) -> None:
    run, problem = record(program(tmp_path, ASIDE.format(shard, look)), "train.py")
    assert not problem
    second = recording.read(run).ranks[0].steps[1]
    assert second.collectives["forward all-gather"][0] == 1
    assert second.collectives["aside all-gather"][0] in (2, 3)
    assert second.collectives["backward reduce-scatter"][0] == 1


def test_a_rehearsal_speaks_cuda() -> None:
    run, problem = record(Path(__file__).parent, "cuda_talk.py", ["{out}"])
    assert not problem
    assert "understood by rehearsal" in recording.read(run).printed()


def test_ranks_beyond_the_devices_are_on_other_nodes(tmp_path: Path) -> None:
    text = "import os\nprint(os.environ['LOCAL_RANK'], os.environ['GROUP_RANK'])\n"
    run, problem = record(program(tmp_path, TINY.format(text)), "train.py", nproc=3, gpus=2)
    assert not problem
    printed = [recording.read(run).printed(rank) for rank in range(3)]
    assert printed == ["0 0\n", "1 0\n", "0 1\n"]


FORKING = """
import os, multiprocessing
def help():
    torch.nn.Linear(1, 1)(torch.ones(1, 1)).sum().backward()
    optimizer.step()
for way in ("fork", "raw"):
    if way == "raw":
        if (child := os.fork()) == 0:
            help()
            sys.exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    else:
        process = multiprocessing.get_context("fork").Process(target=help)
        process.start()
        process.join()
        assert process.exitcode == 0
optimizer.step()
"""


def test_helpers_that_a_rank_forks_are_not_recorded(tmp_path: Path) -> None:
    # a process that forks itself after it has joined a group is no rank either
    text = TINY.format("dist.destroy_process_group()" + FORKING).rpartition("dist.destroy")[0]
    run, problem = record(program(tmp_path, text), "train.py")
    assert not problem
    for rank in recording.read(run).ranks.values():
        assert len(rank.steps) == 3
        assert rank.end is not None
        assert rank.end.error is None


SPAWNING = """
import torch, torch.distributed as dist, torch.multiprocessing as mp
def train(rank, world):
    where = "tcp://127.0.0.1:29517"
    dist.init_process_group("nccl", init_method=where, rank=rank, world_size=world)
    torch.cuda.set_device(rank)
    model = torch.nn.Linear(2, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 2, device="cuda")).sum().backward()
    optimizer.step()
    print("trained")
    dist.destroy_process_group()
if __name__ == "__main__":
    mp.spawn(train, (torch.cuda.device_count(),), nprocs=torch.cuda.device_count())
"""


OWN_RUN = """
import multiprocessing
import os

import torch
import torch.distributed as dist


class Worker(multiprocessing.Process):
    def __init__(self, rank):
        super().__init__()
        self.rank = rank

    def run(self):
        os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29{port}", LOCAL_RANK="0")
        dist.init_process_group("gloo", rank=self.rank, world_size=1)
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        dist.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    worker = Worker(0)
    worker.start()
    worker.join()
"""


def test_a_process_with_a_run_of_its_own(tmp_path: Path) -> None:
    text = OWN_RUN.replace("29{port}", str(20000 + os.getpid() % 20000))
    script = program(tmp_path, text) / "train.py"
    out = tmp_path / "recording"
    words = ["--out", str(out), "--device", "cpu", "--gpus", "1", str(script)]
    subprocess.run([sys.executable, "-m", "fsdp_migrate.runtime.record", *words], check=True)
    (rank,) = recording.read(out).ranks.values()
    assert len(rank.steps) == 1
    assert rank.end is not None


def test_programs_that_spawn_their_ranks(tmp_path: Path) -> None:
    script = program(tmp_path, SPAWNING) / "train.py"
    out = tmp_path / "recording"
    words = ["--out", str(out), "--device", "cpu", "--gpus", "2", str(script)]
    subprocess.run([sys.executable, "-m", "fsdp_migrate.runtime.record", *words], check=True)
    run = recording.read(out)
    assert sorted(run.ranks) == [0, 1]
    assert all(len(rank.steps) == 1 and rank.end is not None for rank in run.ranks.values())
    assert run.printed() == "trained\n"


def test_the_peak_of_memory_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = 0
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak)
    gpu = Gpu()
    for before, after, known in ((5, 9, 5), (9, 9, 5), (11, 12, 11), (3, 20, 11), (20, 20, 11)):
        peak = before  # what the program reached, or what it has set back
        gpu.enter()
        peak = after
        gpu.leave()
        assert gpu.peak == known


def test_asking_for_a_gpu_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    assert available() == torch.cuda.is_available()
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ


def test_the_command_line() -> None:
    settings, words = parse(
        ["--out", "/o", "--device", "cpu", "--keep-tensors", "3-9", "t.py", "--out", "x", "-m"]
    )
    assert words == ["t.py", "--out", "x", "-m"]
    assert (settings.out, settings.keep, settings.deterministic) == (Path("/o"), (3, 9), False)
    settings, words = parse(["--out", "/o", "--keep-tensors", "7", "-m", "a.b", "--flag"])
    assert words == ["-m", "a.b", "--flag"]
    assert settings.keep == (7, 7)
    assert parse(["--out", "/o", "--keep-tensors", "all", "t.py"])[0].keep == (0, sys.maxsize)


def test_settings_travel_to_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    settings = Settings(
        Path("/o"), "cpu", True, (1, 2), 5, 3, 7, (Path("/q"),), Path("/p"), Path("/w"), 1.5
    )
    settings.export()
    assert Settings.inherited() == settings


def test_output_is_copied_and_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tee = Tee(sys.stdout)
    tee.write("before\n")
    tee.into(tmp_path / "copy")
    print("after", file=tee)
    tee.flush()
    assert (tmp_path / "copy").read_text() == "before\nafter\n"
    assert capsys.readouterr().out == "before\nafter\n"
    assert tee.encoding == sys.stdout.encoding


EARLY = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
dist.init_process_group("nccl")
for original in (True, False):
    model = torch.nn.Linear(4, 4)
    model = FSDP(model, device_id=torch.cuda.current_device(), use_orig_params=original)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    optimizer.zero_grad()
    model(torch.ones(2, 4, device="cuda")).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_a_step_before_the_first_forward(tmp_path: Path) -> None:
    run, problem = record(program(tmp_path, EARLY), "train.py")
    assert not problem
    for rank in recording.read(run).ranks.values():
        assert len(rank.steps) == 4
        assert not any(rank.steps[0].gradients["weight"].sketch)  # type: ignore[union-attr]
        assert rank.end is not None
        assert rank.end.sharding == (recording.FSDP1,)


STRANGE = """
class Strange(torch.optim.SGD):
    @property
    def state(self):
        raise ValueError("strange")
    @state.setter
    def state(self, value):
        pass
"""


def test_errors_of_the_recorder_are_its_own(tmp_path: Path) -> None:
    import_, _, rest = TINY.partition("dist.init")
    text = import_ + STRANGE + "dist.init" + rest.replace("torch.optim.SGD", "Strange").format("")
    text = text.replace(
        "optimizer.step()", "torch.optim.Optimizer.profile_hook_step(lambda s: 0)(optimizer)"
    )
    run, problem = record(program(tmp_path, text), "train.py")
    assert problem
    end = recording.read(run).ranks[0].end
    assert end is not None
    assert "the recorder failed: ValueError: strange" in str(end.error)


OFFLOADED = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
dist.init_process_group("nccl")
model = torch.nn.Sequential(torch.nn.Linear(4, 4), FSDP(torch.nn.Linear(4, 3).cuda()))
model = FSDP(model.cuda())
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
for step in range(2):
    model(torch.ones(2, 4, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    with FSDP.summon_full_params(model, writeback=False, offload_to_cpu=True, rank0_only=True):
        sum(p.sum() for p in model.parameters())
dist.destroy_process_group()
"""


def test_training_goes_on_after_parameters_were_offloaded(tmp_path: Path) -> None:
    run, problem = record(program(tmp_path, OFFLOADED), "train.py")
    assert not problem
    assert len(recording.read(run).ranks[0].steps) == 2


MIXED = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
dist.init_process_group("nccl")
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)).cuda()
fully_shard(model[0])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1{})
model(torch.ones(2, 4, device="cuda")).sum().backward()
optimizer.step()
dist.destroy_process_group()
"""


def test_lists_of_both_kinds_fail_as_on_a_gpu(tmp_path: Path) -> None:
    run, problem = record(program(tmp_path, MIXED.format("")), "train.py")
    assert problem
    end = recording.read(run).ranks[0].end
    assert end is not None
    assert "mixed torch.Tensor and DTensor" in str(end.error)
    apart = tmp_path / "apart"
    apart.mkdir()
    _, problem = record(program(apart, MIXED.format(", foreach=False")), "train.py")
    assert not problem
