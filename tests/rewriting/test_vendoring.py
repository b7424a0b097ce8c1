"""`--runtime vendor`: the shim's source beside the program, and nothing else of this project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fsdp_migrate.rewriting.seals import sealed
from fsdp_migrate.rewriting.vendoring import VENDORED, _Shim
from fsdp_migrate.runtime import __all__ as offered
from support.training import train_identically

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "programs"
ALONE = (
    "import sys; sys.modules['fsdp_migrate'] = None; "
    f"import {VENDORED} as shim; print(*shim.__all__)"
)


def migrate(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "fsdp_migrate", "--write", "--runtime", "vendor", *options]
    done = subprocess.run([*command, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr


def alone(folder: Path) -> list[str]:
    """What the copy in `folder` offers where fsdp-migrate is not installed."""
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_program_of_several_packages_trains_with_its_own_copy(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    ignore = shutil.ignore_patterns("__pycache__", "case.toml")
    shutil.copytree(PROGRAMS / "finetune_recipe", old, ignore=ignore)
    config = old / "configs" / "training.py"
    config.write_text(
        config.read_text().replace("threshold: float = 0.6", "threshold: float = 9e9")
    )
    shutil.copytree(old, new)
    report = migrate(new, "--style", "shim")
    assert "0 manual" in report
    assert "Training needs" not in report
    texts = {path: path.read_text() for path in new.rglob("*.py")}
    assert not [path for path, text in texts.items() if "fsdp_migrate.runtime" in text]
    assert "fully_shard_from_fsdp1" in alone(new)
    migrate(new, "--style", "shim")
    assert texts == {path: path.read_text() for path in new.rglob("*.py")}
    verdict = train_identically(old, new, "finetuning.py", ["--workdir", "{out}"])
    assert verdict.identical, verdict


def test_the_copy_grows_with_what_is_needed(tmp_path: Path) -> None:
    head = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(
        f"{head}def f(net, config):\n    return FSDP(net, **config.fsdp)\n"
    )
    migrate(tmp_path)
    assert alone(tmp_path) == ["fully_shard_from_fsdp1"]
    small = len(list((tmp_path / VENDORED).iterdir()))
    (package / "two.py").write_text(
        f"{head}def f(net):\n    model = FSDP(net)\n    with FSDP.summon_full_params(model):\n"
        "        print(model)\n"
    )
    migrate(tmp_path)
    assert alone(tmp_path) == ["fully_shard_from_fsdp1", "summon_full_params"]
    assert len(list((tmp_path / VENDORED).iterdir())) > small
    assert f"from {VENDORED} import" in (package / "two.py").read_text()


HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n"
OPAQUE = f"{HEAD}def f(net, config):\n    return FSDP(net, **config.fsdp)\n"
OTHER = (
    f"{HEAD}def f(net):\n    model = FSDP(net)\n    with FSDP.summon_full_params(model):\n"
    "        print(model)\n"
)


def run(folder: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fsdp_migrate", "--write", "--runtime", "vendor", *paths]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_copy_that_was_changed_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(OPAQUE)
    assert run(tmp_path, ".").returncode == 0
    copy = sorted((tmp_path / VENDORED).glob("*.py"))
    for path in copy:
        path.write_text(path.read_text() + "\nMINE = 1\n")
    (tmp_path / "again.py").write_text(OPAQUE)
    assert run(tmp_path, ".").returncode == 0, "what is needed is there"
    (tmp_path / "two.py").write_text(OTHER)
    ran = run(tmp_path, ".")
    assert ran.returncode == 2
    assert "it lacks summon_full_params" in ran.stderr
    assert (tmp_path / "two.py").read_text() == OTHER
    assert all("MINE = 1" in path.read_text() for path in copy)


@pytest.mark.parametrize("name", ["__init__.py", "helpers.py"])
def test_a_package_of_that_name_is_the_users(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.py").write_text(OPAQUE)
    (tmp_path / VENDORED).mkdir()
    (tmp_path / VENDORED / name).write_text("x = 1\n")
    ran = run(tmp_path, ".")
    assert ran.returncode == 2
    assert "is a package of yours" in ran.stderr
    assert (tmp_path / "one.py").read_text() == OPAQUE
    assert [path.name for path in (tmp_path / VENDORED).iterdir()] == [name]


def test_a_copy_of_another_version_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(OPAQUE)
    run(tmp_path, ".")
    path = next(p for p in (tmp_path / VENDORED).glob("*.py") if p.name != "__init__.py")
    current = path.read_text()
    path.write_text(sealed("x = 1\n"))
    (tmp_path / "two.py").write_text(OTHER)
    assert run(tmp_path, ".").returncode == 0
    assert path.read_text() == current


def test_the_copy_is_not_written_outside_of_what_is_given(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(OPAQUE)
    ran = run(tmp_path, "package")
    assert ran.returncode == 2
    assert "outside of what was given" in ran.stderr
    assert (package / "one.py").read_text() == OPAQUE
    assert not (tmp_path / VENDORED).exists()
    assert run(tmp_path, ".").returncode == 0


def test_every_name_can_be_copied(tmp_path: Path) -> None:
    (tmp_path / VENDORED).mkdir()
    for name, text in _Shim().files(offered).items():
        (tmp_path / VENDORED / name).write_text(text)
    assert alone(tmp_path) == sorted(offered)


@pytest.mark.parametrize("comment", ["# fsdp-migrate: ignore-file", "  #fsdp-migrate: ignore-file"])
def test_a_file_that_asks_for_it_is_left_alone(comment: str, tmp_path: Path) -> None:
    text = (
        "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"
        f"def f(net):\n{comment}\n    return FSDP(net)\n"
    )
    (tmp_path / "train.py").write_text(text)
    migrate(tmp_path)
    assert (tmp_path / "train.py").read_text() == text
