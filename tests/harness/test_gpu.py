"""On GPUs programs run untouched: what the recorder does there.  On demand, with `-m gpu`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.launch import Launch, Program, launch
from fsdp_migrate.runtime.verify.proof import prove
from harness.mutations import MUTATIONS, PROGRAMS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]
GPUS = Launch(device="cuda", timeout=300)


def program(side: str) -> Program:
    return Program(PROGRAMS / "language" / side, "train.py", ("--out", "{out}"))


def test_the_right_migration_is_identical_on_gpus(tmp_path: Path) -> None:
    verdict = prove(program("old"), program("new"), tmp_path, GPUS).verdict
    assert verdict.identical, verdict


@pytest.mark.parametrize("name", ["reduce_dtype forgotten", "reshard flipped", "clip dropped"])
def test_wrong_migrations_are_rejected_on_gpus(name: str, tmp_path: Path) -> None:
    mutant = tmp_path / "mutant"
    mutant.mkdir()
    source = next(m for m in MUTATIONS if m.name == name).source()
    (mutant / "train.py").write_text(source)
    new = Program(mutant, "train.py", ("--out", "{out}"))
    assert not prove(program("old"), new, tmp_path / "work", GPUS).verdict.passed


def test_memory_devices_and_generators_are_recorded(tmp_path: Path) -> None:
    finished = launch(program("new"), tmp_path, GPUS)
    assert finished.code == 0, finished.output
    run = recording.read(tmp_path)
    for rank in run.ranks.values():
        assert rank.header.device == torch.cuda.get_device_name(0)
        assert not rank.end or not rank.end.notes
        for step in rank.steps:
            assert step.peak_memory
            assert "cuda" in step.random


@pytest.mark.parametrize("side", ["old", "new"])
def test_recording_does_not_change_a_bit_on_gpus(side: str, tmp_path: Path) -> None:
    script = PROGRAMS / "language" / side / "train.py"
    plain = tmp_path / "plain"
    plain.mkdir()
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [sys.executable, *torchrun, str(script), "--out", str(plain)]
    subprocess.run(words, check=True)
    assert launch(program(side), tmp_path / "run", GPUS).code == 0
    before = torch.load(plain / "final.pt")["model"]
    after = torch.load(recording.files_folder(tmp_path / "run") / "final.pt")["model"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_order_independent_reductions_change_no_bit_on_two_gpus(tmp_path: Path) -> None:
    plain = launch(program("new"), tmp_path / "plain", GPUS)
    ordered = Launch(device="cuda", timeout=300, deterministic=True)
    assert plain.code == launch(program("new"), tmp_path / "ordered", ordered).code == 0
    first, second = (recording.read(tmp_path / name) for name in ("plain", "ordered"))
    for before, after in zip(first.ranks[0].steps, second.ranks[0].steps, strict=True):
        assert before.parameters == after.parameters


def test_a_rehearsal_can_be_had_on_a_machine_with_gpus(tmp_path: Path) -> None:
    how = Launch(device="cpu", timeout=300)
    assert launch(program("new"), tmp_path, how).code == 0
    assert recording.read(tmp_path).ranks[0].header.device == "rehearsal"
