"""Checkpoints are read without running what they name."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from fsdp_migrate.runtime.compare.differences import Tolerance
from fsdp_migrate.runtime.compare.files import compare_files
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.compare.unpickling import Opaque, read_checkpoint


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


class Settings:
    """Of a program that saves its configuration in the checkpoint."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.scale = torch.ones(width)


def _differences(tmp_path: Path, old: Any, new: Any) -> list[str]:
    for name, value in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        torch.save(value, tmp_path / name / "model.pt")
    book = Notebook(Tolerance())
    compare_files(book, tmp_path / "old", tmp_path / "new")
    return [difference.message for difference in book.differences()]


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_that_a_file_names_is_run(tmp_path: Path, legacy: bool) -> None:
    mark, file = tmp_path / "mark", tmp_path / "model.pt"
    value = {"w": torch.ones(2), "evil": Runs(mark)}
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(file)
    assert not mark.exists()
    assert torch.equal(found["w"], torch.ones(2))
    assert isinstance(found["evil"], Opaque)
    assert found["evil"].made_of == (str(mark),)


def test_neither_is_what_a_distributed_checkpoint_names(tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "checkpoint"
    state = {"w": torch.arange(4.0), "evil": Runs(mark), "deep": {"step": 3, "list": [1, 2]}}
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    found = read_checkpoint(folder)
    assert not mark.exists()
    assert torch.equal(found["w"], torch.arange(4.0))
    assert isinstance(found["evil"], Opaque)
    assert found["deep"]["step"] == 3


def test_metadata_that_runs_something(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(ValueError, match="no distributed checkpoint"):
        read_checkpoint(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        (Settings(2), Settings(2), 0),
        (Settings(2), Settings(3), 2),
        (argparse.Namespace(lr=0.1), argparse.Namespace(lr=0.1), 0),
        (argparse.Namespace(lr=0.1), argparse.Namespace(lr=0.2), 1),
        (collections.deque([1, 2]), collections.deque([1, 2]), 0),
        (collections.deque([1, 2]), collections.deque([1, 3]), 1),
        (collections.defaultdict(list, a=1), collections.defaultdict(list, a=1), 0),
        (collections.defaultdict(list, a=1), collections.defaultdict(list, a=2), 1),
        ({"kind": Settings}, {"kind": Settings}, 0),
        ({"kind": Settings}, {"kind": Runs}, 1),
        (Settings(2), argparse.Namespace(), None),
    ],
)
def test_what_is_opaque_is_compared_by_what_it_is_made_of(
    tmp_path: Path, old: Any, new: Any, differs: int | None
) -> None:
    found = _differences(tmp_path, {"x": old, "w": torch.ones(2)}, {"x": new, "w": torch.ones(2)})
    assert len(found) == differs if differs is not None else found
