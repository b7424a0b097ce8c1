"""The recorder does not change training, and leaves programs alone otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fsdp_migrate.runtime import recording
from fsdp_migrate.runtime.record.__main__ import parse
from fsdp_migrate.runtime.record.settings import Settings
from fsdp_migrate.runtime.record.tee import Tee
from harness.mutations import PROGRAMS
from training import record


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


GPU_TALK = """
assert torch.cuda.is_available() and torch.cuda.device_count() == 2
device = torch.device(0)
assert device.type == "cuda"
assert torch.zeros(2, device=device).is_cuda and model.weight.is_cuda
x = torch.arange(3.0)
y = x.to("cuda").cpu()
y += 1
assert x[0] == 0, "a copy back from the GPU is a copy"
with torch.device("cuda"):
    torch.zeros(1)
torch.set_default_device("cuda:1")
torch.zeros(1)
torch.set_default_device("cpu")
generator = torch.Generator(device="cuda").manual_seed(1)
assert isinstance(generator, torch.Generator)
torch.rand(2, generator=generator, device="cuda")
begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
begin.record(); end.record(); torch.cuda.synchronize()
assert begin.elapsed_time(end) >= 0
with torch.cuda.stream(torch.cuda.Stream()):
    torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
with torch.autocast("cuda", dtype=torch.bfloat16):
    assert (torch.ones(2, 2).cuda() @ torch.ones(2, 2).cuda()).dtype is torch.bfloat16
torch.cuda.manual_seed_all(1)
torch.cuda.set_rng_state(torch.cuda.get_rng_state())
torch.cuda.memory_summary(); torch.cuda.memory_stats()["active"]; torch.cuda.mem_get_info()
assert torch.cuda.get_device_properties(0).total_memory > 0
loader = torch.utils.data.DataLoader(range(4), batch_size=2, pin_memory=True, num_workers=1)
for batch in loader:
    batch.cuda(non_blocking=True)
assert torch.zeros(2).pin_memory().is_pinned() is False
compiled = torch.compile(model)
compiled(torch.ones(1, 3).cuda())
import threading
failed = []
def work():
    try:
        torch.zeros(1, device="cuda")
    except Exception as error:
        failed.append(error)
thread = threading.Thread(target=work); thread.start(); thread.join()
assert not failed
mesh = dist.device_mesh.init_device_mesh("cuda", (2,))
assert mesh.size() == 2
group = dist.new_group([0, 1], backend="nccl")
dist.barrier(group, device_ids=[0])
torch.save(model.state_dict(), sys.argv[1] + f"/{dist.get_rank()}.pt")
torch.load(sys.argv[1] + f"/{dist.get_rank()}.pt", map_location="cuda:0")
torch.load(sys.argv[1] + f"/{dist.get_rank()}.pt", map_location=lambda storage, _: storage.cuda(0))
with torch.device("meta"):
    empty = torch.nn.Linear(2, 2)
try:
    empty.to("cuda")
except NotImplementedError:
    pass
else:
    raise AssertionError("meta tensors have nothing to move")
empty.to_empty(device="cuda")
print("spoke to", torch.cuda.get_device_name())
"""


def test_a_rehearsal_speaks_cuda(tmp_path: Path) -> None:
    run, problem = record(program(tmp_path, TINY.format(GPU_TALK)), "train.py", ["{out}"])
    assert not problem
    assert "spoke to rehearsal" in recording.read(run).printed()


def test_ranks_beyond_the_devices_are_on_other_nodes(tmp_path: Path) -> None:
    text = "import os\nprint(os.environ['LOCAL_RANK'], os.environ['GROUP_RANK'])\n"
    run, problem = record(program(tmp_path, TINY.format(text)), "train.py", nproc=3, gpus=2)
    assert not problem
    printed = [recording.read(run).printed(rank) for rank in range(3)]
    assert printed == ["0 0\n", "1 0\n", "0 1\n"]


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


def test_programs_that_spawn_their_ranks(tmp_path: Path) -> None:
    script = program(tmp_path, SPAWNING) / "train.py"
    out = tmp_path / "recording"
    words = ["--out", str(out), "--device", "cpu", "--gpus", "2", str(script)]
    subprocess.run([sys.executable, "-m", "fsdp_migrate.runtime.record", *words], check=True)
    run = recording.read(out)
    assert sorted(run.ranks) == [0, 1]
    assert all(len(rank.steps) == 1 and rank.end is not None for rank in run.ranks.values())
    assert run.printed() == "trained\n"


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
    settings = Settings(Path("/o"), "cpu", True, (1, 2), 5, 3, 7, (Path("/q"),), Path("/p"), 1.5)
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
