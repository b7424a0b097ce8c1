"""What lies around the paths that are given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsdp_migrate.discovery import surroundings
from fsdp_migrate.discovery.discover import context_of, discover

FSDP1 = "from torch.distributed.fsdp import FullyShardedDataParallel\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project: lib/wrap.py makes the model, lib/keep.py and train.py use it."""
    monkeypatch.chdir(tmp_path)
    files = {
        "repo/lib/wrap.py": FSDP1,
        "repo/lib/keep.py": FSDP1,
        "repo/train.py": "from lib.keep import keep\nfrom lib.wrap import shard\n",
        "repo/other/alone.py": FSDP1,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "repo"


def context(*paths: str, exclude: tuple[str, ...] = ()) -> list[str]:
    """The context of a run, by path."""
    found = discover(paths, exclude=exclude)
    return sorted(os.path.relpath(file.path) for file in found.context)


def test_a_file_has_all_that_can_run_with_it_around_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "pyproject.toml").touch()
    monkeypatch.chdir(tree)
    assert context("lib/wrap.py") == ["lib/keep.py", "train.py"]
    assert context("lib") == ["train.py"]
    assert context("other") == []
    assert context(".") == []


def test_what_is_excluded_is_still_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert context(".", exclude=("keep.py",)) == ["lib/keep.py"]
    assert context(".", exclude=("lib/",)) == ["lib/keep.py", "lib/wrap.py"]
    assert context(".", exclude=("*.py",)) == []


def test_a_run_may_start_below_the_root(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "lib")
    assert context(".") == ["../train.py"]  # Python files above are as good as a sign of a project
    (tree / "setup.cfg").touch()
    assert context(".") == ["../train.py"]


def test_the_working_folder_is_the_project_where_no_other_sign_is(tree: Path) -> None:
    (tree / "train.py").rename(tree / "lib" / "train.py")
    assert context("repo/lib/wrap.py") == ["repo/lib/keep.py", "repo/lib/train.py"]


def test_a_folder_of_all_sorts_of_things_is_no_project(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "LARGEST", 2)
    assert context("repo/lib/wrap.py") == []


def test_what_git_ignores_is_left_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "pyproject.toml").touch()
    (tree / ".gitignore").write_text("keep.py\n")
    monkeypatch.chdir(tree)
    assert context("lib/wrap.py") == ["lib/keep.py", "train.py"]  # train.py imports it
    assert context("lib/wrap.py", "train.py") == ["lib/keep.py"]


def test_a_text_that_is_not_on_disk_has_its_importers_around_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "pyproject.toml").touch()
    monkeypatch.chdir(tree)
    found = context_of(Path("lib/wrap.py"), FSDP1.encode())
    assert sorted(file.path.as_posix() for file in found) == ["lib/keep.py", "train.py"]
