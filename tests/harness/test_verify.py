"""The commands `verify` and `compare`, and the proof inside a test suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from fsdp_migrate.cli.project_copy import Migrated, migrate_copy
from fsdp_migrate.cli.verify import compare, verify
from fsdp_migrate.runtime.testing import assert_trains_identically
from fsdp_migrate.runtime.verify.launch import Launch, Program
from fsdp_migrate.runtime.verify.proof import prove
from fsdp_migrate.runtime.verify.scratch import LARGE, copy_project
from harness import synthetic
from harness.synthetic import events

SCRIPT = """
import os
import sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
torch.manual_seed(0)
model = FSDP(torch.nn.Linear(4, 3), device_id=torch.cuda.current_device(), use_orig_params=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=float(sys.argv[2]))
for step in range(3):
    loss = model(torch.randn(2, 4, device="cuda")).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if dist.get_rank() == 0:
        print(f"step {step} loss {loss.item():.5f}")
if dist.get_rank() == 0:
    open("history.txt", "w").write(f"{loss.item()}")
    torch.save({"loss": loss.item()}, sys.argv[1] + "/last.pt")
if len(sys.argv) > 4:
    print(
        "norm",
        model.clip_grad_norm_(1.0),
    )
dist.destroy_process_group()
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(verify, list(words), catch_exceptions=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(folder)
    return folder


def test_a_migrated_copy_is_proven(project: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ("train.py", "--device", "cpu", "--report", str(page), "--", "{out}", "1e-2")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "IDENTICAL" in result.output
    assert "3 steps on 2 ranks" in result.output
    assert "note: 1 of 2 migrated places were executed; not: train.py:26" in result.output
    assert "files            2 compared, all the same" in result.output  # last.pt, history.txt
    assert (project / "train.py").read_text() == SCRIPT
    assert not (project / "history.txt").exists()
    text = page.read_text()
    assert "fully_shard" in text
    assert "FSDP101" in text


@pytest.mark.usefixtures("warm")
def test_a_new_version_that_differs(project: Path) -> None:
    (project / "other.py").write_text(SCRIPT.replace("AdamW", "Adam"))
    result = run("train.py", "--new", "other.py", "--device", "cpu", "--", "{out}", "1e-2")
    assert result.exit_code == 1, result.output
    assert "Adam steps instead of AdamW" in result.output


@pytest.mark.usefixtures("warm")
def test_sites_behind_a_divergence_are_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def badly(copy: Path, options: Sequence[str] = ()) -> Migrated:
        migrated = migrate_copy(copy, options)
        migrated.findings[0]["safety"] = "unsafe"
        text = (copy / "train.py").read_text().replace("fully_shard(", "(lambda m, **k: m)(")
        (copy / "train.py").write_text(text)
        return migrated

    monkeypatch.setattr("fsdp_migrate.cli.two_versions.migrate_copy", badly)
    result = run("train.py", "--device", "cpu", "--", "{out}", "1e-2")
    assert result.exit_code == 1, result.output
    assert "migrated there: train.py:11 FSDP101" in result.output
    assert "announced by the migration: train.py:11 FSDP101" in result.output


@pytest.mark.usefixtures("warm")
def test_a_program_that_fails(project: Path) -> None:
    result = run("train.py", "--device", "cpu", "--", "{out}", "no number")
    assert result.exit_code == 2
    assert "the old version failed" in result.output
    assert "could not convert string to float" in result.output


@pytest.mark.usefixtures("warm")
def test_what_lies_beside_the_project_is_not_in_its_copy(project: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("1")
    (project / "train.py").write_text(SCRIPT + "open('../data/x.txt')\n")
    result = run("train.py", "--device", "cpu", "--", "{out}", "1e-2")
    assert result.exit_code == 2
    assert "FileNotFoundError" in result.output
    assert "it ran in a copy of the project" in result.output
    words = ("--project", str(tmp_path), "--keep", str(tmp_path.with_name("kept")))
    result = run("train.py", "--device", "cpu", *words, "--", "{out}", "1e-2")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing.py",), "there is no script nothing.py"),
        (("train.py", "--keep", "inside"), "inside the project"),
        (("train.py", "--new", "/etc/hostname"), "is not in"),
        (("-m", "pkg", "--new", "train.py"), "has to be a folder"),
        (("train.py", "--keep-tensors", "few"), "give 7, 3-9 or all"),
        (("train.py", "--new", "train.py", "--style", "shim"), "--style has no meaning with it"),
        (("train.py", "--exclude", "*.py"), "the migration changes nothing (no use of FSDP1"),
        pytest.param(
            ("train.py", "--device", "cuda"),
            "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_what_cannot_be_verified(project: Path, words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.output


def test_what_is_left_to_a_person_is_not_compared_with_itself(project: Path) -> None:
    subclass = "class Mine(FSDP):\n    pass\n\n\n"
    left = SCRIPT.replace("dist.init", subclass + "dist.init").replace("= FSDP(", "= Mine(")
    (project / "train.py").write_text(left)
    result = run("train.py", "--device", "cpu", "--runtime", "never", "--", "{out}", "1e-2")
    assert result.exit_code == 2, result.output
    assert "left to you: train.py:" in result.output
    assert "all of it is left to you, see above" in result.output


@pytest.mark.usefixtures("warm")
def test_a_run_that_never_shards_proves_nothing(project: Path) -> None:
    sometimes = SCRIPT.replace(
        "model = FSDP(torch.nn.Linear(4, 3),",
        "model = torch.nn.Linear(4, 3)\nif len(sys.argv) > 3:\n    model = FSDP(model,",
    )
    (project / "train.py").write_text(sometimes)
    result = run("train.py", "--device", "cpu", "--", "{out}", "1e-2")
    assert result.exit_code == 2, result.output
    assert "NOT PROVEN" in result.output
    assert "the old version sharded nothing with FSDP1" in result.output
    result = run("train.py", "--device", "cpu", "--", "{out}", "1e-2", "fsdp")
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("warm")
def test_what_still_uses_fsdp1_is_not_proven(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hardly(copy: Path, options: Sequence[str] = ()) -> Migrated:
        return Migrated(changes=["train.py"])

    monkeypatch.setattr("fsdp_migrate.cli.two_versions.migrate_copy", hardly)
    result = run("train.py", "--device", "cpu", "--", "{out}", "1e-2")
    assert result.exit_code == 2, result.output
    assert "the new version still shards with FSDP1" in result.output


def test_options_of_the_migration_are_passed_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def listen(copy: Path, options: Sequence[str] = ()) -> Migrated:
        said.extend(options)
        return Migrated()

    monkeypatch.setattr("fsdp_migrate.cli.two_versions.migrate_copy", listen)
    words = ("--state-dict", "dtensor", "--exclude", "a", "--exclude", "b", "--allow-incomplete")
    assert run("train.py", *words).exit_code == 2
    assert said == list(words)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("no"), OSError(28, "disk full")])
def test_an_error_of_its_own_is_never_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object) -> None:
        raise error

    old = synthetic.write(tmp_path / "old", events())
    monkeypatch.setattr("fsdp_migrate.runtime.compare.compare", fail)
    result = CliRunner().invoke(compare, [str(old), str(old)])
    assert result.exit_code == 2
    assert "disk full" in result.output or "a bug of fsdp-migrate" in result.output


def test_a_copy_holds_what_a_program_needs(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / ".git" / "HEAD").write_text("")
    (project / "__pycache__").mkdir()
    (project / "data").mkdir()
    (project / "data" / "small.txt").write_text("1")
    with (project / "data" / "weights.bin").open("wb") as file:
        file.truncate(LARGE)
    copy_project(project, tmp_path / "copy")
    names = {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*")}
    assert names == {"data", "data/small.txt", "data/weights.bin"}
    assert (tmp_path / "copy" / "data" / "weights.bin").is_symlink()
    assert not (tmp_path / "copy" / "data" / "small.txt").is_symlink()


def test_a_copy_is_migrated_through_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    migrated = migrate_copy(tmp_path)
    assert migrated.changes == ["train.py"]
    assert {finding["path"] for finding in migrated.findings} == {"train.py"}
    assert not migrated.left
    assert "fully_shard" in (tmp_path / "train.py").read_text()


@pytest.mark.parametrize(
    ("losses", "words", "code"),
    [
        ((2.0, 1.5), (), 0),
        ((2.0, 1.75), (), 1),
        ((2.0, 1.5 + 2**-20), ("--rtol", "1e-5"), 0),
    ],
)
def test_two_recordings_are_compared(
    tmp_path: Path, losses: tuple[float, ...], words: tuple[str, ...], code: int
) -> None:
    old = synthetic.write(tmp_path / "old", events())
    new = synthetic.write(tmp_path / "new", events(losses=losses))
    page = tmp_path / "report.html"
    result = CliRunner().invoke(compare, [str(old), str(new), "--report", str(page), *words])
    assert result.exit_code == code, result.output
    assert page.is_file()


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    old = str(synthetic.write(tmp_path / "old", events()))
    result = CliRunner().invoke(compare, [old, old, "--ignore-line", "("])
    assert result.exit_code == 2
    assert "--ignore-line (" in result.output
    assert "bug" not in result.output


def test_nothing_to_compare(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events())
    empty = tmp_path / "empty"
    empty.mkdir()
    result = CliRunner().invoke(compare, [str(old), str(empty)])
    assert result.exit_code == 2
    assert "no recording" in result.output


PLAIN = """
import torch
torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr={lr})
for _ in range(2):
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
"""


@pytest.mark.usefixtures("warm")
def test_the_proof_as_a_test(tmp_path: Path) -> None:
    scripts = []
    for name, rate in (("old", "0.1"), ("same", "0.1"), ("other", "0.2")):
        (tmp_path / f"{name}.py").write_text(PLAIN.format(lr=rate))
        scripts.append(tmp_path / f"{name}.py")
    alone = Launch(nproc=1, launcher="python", device="cpu", timeout=60)
    assert assert_trains_identically(scripts[0], scripts[1], launch=alone).identical
    with pytest.raises(AssertionError, match=r"lr is 0\.2 instead of 0\.1"):
        assert_trains_identically(scripts[0], scripts[2], launch=alone)


@pytest.mark.usefixtures("warm")
def test_the_proof_leaves_the_users_folder_alone(tmp_path: Path) -> None:
    """The versions run in copies, and what they write there is compared."""
    wrote = "\nimport helper\nopen('log.txt', 'a').write(helper.WORD)\n"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(PLAIN.format(lr="0.1") + wrote)
        (tmp_path / name / "helper.py").write_text(f"WORD = {name!r}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    alone = Launch(nproc=1, launcher="python", device="cpu", timeout=60)
    script = tmp_path / "old" / "train.py"
    assert assert_trains_identically(script, script, launch=alone).identical
    with pytest.raises(AssertionError, match=r"log\.txt says 'new' instead of 'old'"):
        assert_trains_identically(script, tmp_path / "new" / "train.py", launch=alone)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.usefixtures("warm")
def test_a_program_that_does_not_repeat_itself(tmp_path: Path) -> None:
    text = PLAIN.format(lr="0.1").replace("manual_seed(0)", "seed()")
    (tmp_path / "train.py").write_text(text)
    alone = Launch(nproc=1, launcher="python", device="cpu", timeout=60)
    with pytest.raises(AssertionError, match="the program is not seeded: the old version does not"):
        assert_trains_identically(tmp_path / "train.py", tmp_path / "train.py", launch=alone)


@pytest.mark.usefixtures("warm")
def test_noise_after_a_divergence_is_a_note(tmp_path: Path) -> None:
    scripts = []
    for name, rate in (("old", "0.1"), ("new", "0.2")):
        noise = "\nimport os; print(os.urandom(4).hex())\n"
        (tmp_path / f"{name}.py").write_text(PLAIN.format(lr=rate) + noise)
        scripts.append(tmp_path / f"{name}.py")
    alone = Launch(nproc=1, launcher="python", device="cpu", timeout=60)
    with pytest.raises(AssertionError) as caught:
        assert_trains_identically(*scripts, launch=alone)
    assert "likely cause: the optimizer has other hyperparameters" in str(caught.value)
    assert "note: rank 0: not compared, for it changes with every run" in str(caught.value)


NOISY = """
import logging, os, sys, tempfile, time, warnings
logging.basicConfig(level=logging.INFO)
print("seconds since 1970:", time.time_ns(), "as", os.getpid())
print("worker", os.getpid(), file=sys.stderr)
logging.info("started %s", os.urandom(3).hex())
logging.getLogger("torch.distributed").warning("of a library: {lr}")
warnings.warn("of a library: {lr}")
open(f"run-{{time.time_ns()}}.log", "w").write("same")
sys.stderr.write("said {said}")
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(("said", "same"), [("1", True), ("2", False)])
def test_what_changes_with_every_run_is_learnt(tmp_path: Path, said: str, same: bool) -> None:
    programs = []
    for name, words in (("old", "1"), ("new", said)):
        folder = tmp_path / name
        folder.mkdir()
        text = PLAIN.format(lr="0.1") + NOISY.format(lr=name, said=words)
        (folder / "train.py").write_text(text)
        programs.append(Program(folder, str(folder / "train.py"), root=folder, scratch=True))
    alone = Launch(nproc=1, launcher="python", device="cpu", timeout=60)
    verdict = prove(*programs, tmp_path / "work", alone).verdict
    assert verdict.identical == same, verdict
    if not same:
        assert verdict.first is not None
        assert str(verdict.first) == "rank 0 (stderr) says 'said 2' instead of 'said 1'"
