"""Fingerprints, distances, text and files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from fsdp_migrate.runtime.compare import gaps
from fsdp_migrate.runtime.compare.differences import Aspect, Tolerance
from fsdp_migrate.runtime.compare.files import compare_files
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.compare.text import compare_text
from fsdp_migrate.runtime.record.fingerprint import fingerprint

TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", [*TYPES, torch.complex64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 7), (2050,)])
def test_fingerprints_tell_bits_apart(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = (torch.randn(shape, generator=generator) * 3).to(dtype)
    same = tensor.clone()
    assert fingerprint(tensor).same(fingerprint(same))
    assert fingerprint(tensor) == fingerprint(same)
    if tensor.numel():
        same.view(-1)[-1] = not same.view(-1)[-1] if dtype is torch.bool else 9
        assert not fingerprint(tensor).same(fingerprint(same))


def test_fingerprints_see_layout_free_values() -> None:
    tensor = torch.randn(6, 4)
    assert fingerprint(tensor.T).same(fingerprint(tensor.T.contiguous()))
    assert not fingerprint(tensor.T).same(fingerprint(tensor))
    assert not fingerprint(torch.zeros(2)).same(fingerprint(-torch.zeros(2)))


def test_sketches_are_linear_and_estimate_norms() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(3000, generator=generator) for _ in range(2))
    total = fingerprint(first + 2 * second).sketch
    parts = zip(fingerprint(first).sketch, fingerprint(second).sketch, strict=True)
    assert total == pytest.approx([x + 2 * y for x, y in parts], rel=1e-4, abs=1e-4)
    estimate = gaps.estimated(fingerprint(first), fingerprint(second))
    assert estimate.max_abs == pytest.approx(float((first - second).norm()), rel=0.7)
    assert gaps.estimated(fingerprint(first), fingerprint(first * 3)).ratio == pytest.approx(3)


def test_fingerprints_leave_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    fingerprint(torch.ones(5000))
    assert torch.equal(before, torch.get_rng_state())


def test_gaps_count_units_in_the_last_place() -> None:
    old = torch.tensor([1.0, -2.0, 0.0])
    new = old.clone()
    new[0] = torch.nextafter(new[0], torch.tensor(2.0))
    gap, scale = gaps.between(old, new)
    assert (gap.ulps, scale) == (1, 2.0)
    assert gap.max_abs == pytest.approx(2**-23)
    crossing, _ = gaps.between(torch.tensor([-1e-45]), torch.tensor([1e-45]))
    assert crossing.ulps == 2
    halves, _ = gaps.between(torch.tensor([1.0]).half(), torch.tensor([1.5]).half())
    assert halves.ulps == 512


def test_gaps_of_what_is_not_finite() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert gaps.between(nan, nan.clone())[0].max_abs == 0
    assert gaps.between(nan, torch.ones(2))[0].max_abs == math.inf
    infinite = torch.tensor([float("inf"), 1.0])
    assert gaps.between(infinite, infinite.clone())[0].max_abs == 0
    assert gaps.between(infinite, torch.ones(2))[0].max_abs == math.inf


def test_gaps_recognise_a_factor() -> None:
    tensor = torch.linspace(1, 2, 50)
    assert gaps.between(tensor, tensor * 4)[0].ratio == pytest.approx(4)
    assert gaps.between(tensor, tensor.flip(0))[0].ratio is None


def book(**options: object) -> Notebook:
    return Notebook(Tolerance(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "rtol", "same"),
    [
        ("loss 1.25", "loss 1.25", 0.0, True),
        ("loss 1.25", "loss 1.26", 0.0, False),
        ("loss 1.25", "loss 1.26", 1e-6, True),  # one unit of the last printed digit
        ("loss 1.25", "loss 1.28", 1e-6, False),
        ("loss 1.25", "loss 1.28", 0.1, True),
        ("step 3", "step 4", 1e-3, False),
        ("loss nan", "loss nan", 0.0, True),
        ("loss nan", "loss 1.0", 0.5, False),
        ("saved model", "saved the model", 0.5, False),
        ("took 12.5 s", "took 13.1 s", 0.0, True),
        ("12.5 it/s", "13.1 it/s", 0.0, True),
        ("time: 3.2 loss 1.0", "time: 9.9 loss 1.0", 0.0, True),
        ("time: 3.2 loss 1.0", "time: 3.2 loss 1.1", 0.0, False),
        ("2024-01-02 10:11:12 loss 1.0", "2025-03-04 12:00:01 loss 1.0", 0.0, True),
        ("memory 1.5 GiB", "memory 1.7 GiB", 0.0, True),
        ("a\nb", "a\nb\nc", 0.0, False),
        ("a\n\nb", "a\nb  ", 0.0, True),
    ],
)
def test_text(old: str, new: str, rtol: float, same: bool) -> None:
    notes = book(rtol=rtol)
    compare_text(notes, Aspect.STDOUT, "rank 0", old, new)
    assert (not notes.differences()) == same


def test_lines_can_be_ignored() -> None:
    notes = book(ignore_lines=("^run id",))
    compare_text(notes, Aspect.STDOUT, "rank 0", "run id abc\nx", "run id def\nx")
    assert not notes.differences()


STATE = {"model": {"w": torch.ones(2, 3)}, "step": 3, "names": ["a", "b"], "none": None}


def files(tmp_path: Path, old: object, new: object, **options: object) -> list[str]:
    """What differs between two files."""
    for name, value in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        torch.save(value, tmp_path / name / "state.pt")
    notes = book(**options)
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    return [str(difference) for difference in notes.differences()]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (STATE, None),
        ({**STATE, "model": {"w": torch.zeros(2, 3)}}, "[model][w] differs"),
        ({**STATE, "model": {"w": torch.ones(3, 2)}}, "shape (3, 2)"),
        ({**STATE, "model": {"w": torch.ones(2, 3).double()}}, "float64"),
        ({**STATE, "model": {"module.w": torch.ones(2, 3)}}, "missing [model][w]"),
        ({**STATE, "step": torch.tensor(3.0)}, None),
        ({**STATE, "step": 4}, "[step] is 4.0 instead of 3.0"),
        ({**STATE, "names": ["a", "c"]}, "[names][1] is c instead of b"),
        ({**STATE, "names": ["a"]}, "missing [names][1]"),
        ({**STATE, "none": 0}, "[none] is 0 instead of None"),
    ],
)
def test_checkpoints(tmp_path: Path, new: object, words: str | None) -> None:
    found = files(tmp_path, STATE, new)
    assert any(words in text for text in found) if words else not found


def test_the_order_inside_a_parameter_group_does_not_matter(tmp_path: Path) -> None:
    old, new = ({"param_groups": [{"params": names}]} for names in (["a", "b"], ["b", "a"]))
    assert not files(tmp_path, old, new)


def test_tolerances_hold_for_files(tmp_path: Path) -> None:
    assert not files(tmp_path, {"w": torch.ones(3)}, {"w": torch.ones(3) + 1e-6}, rtol=1e-4)


def test_files_that_are_missing_unexpected_or_unreadable(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "sub").mkdir(parents=True)
    (tmp_path / "old" / "a.txt").write_text("a")
    (tmp_path / "new" / "sub" / "b.txt").write_text("b")
    for name in ("old", "new"):
        (tmp_path / name / "broken.pt").write_text(f"no checkpoint of {name}")
        (tmp_path / name / "noise.bin").write_bytes(b"\xff\xfe" + name.encode())
        (tmp_path / name / "log.csv").write_text("step,loss\n1,0.5\n")
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    text = "\n".join(map(str, notes.differences()))
    for words in ("missing file: a.txt", "unexpected file: sub/b.txt", "broken.pt cannot be read"):
        assert words in text
    assert "log.csv" not in text


def test_distributed_checkpoints_are_compared_as_one(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    for name, value in (("old", 1.0), ("new", 1.5)):
        dcp.save(
            {"w": torch.full((3,), value)}, checkpoint_id=tmp_path / name / "dcp", no_dist=True
        )
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    assert [d.name for d in notes.differences()] == ["dcp: [w]"]
