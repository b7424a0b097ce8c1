"""Fingerprints, distances, text and files."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from fsdp_migrate.runtime.compare import gaps, upwards
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
        ("step_time=0.31 elapsed (s): 3", "step_time=0.44 elapsed (s): 9", 0.0, True),
        ("stepTime 0.31, 1200 tokens/s", "stepTime 0.44, 900 tokens/s", 0.0, True),
        ("tokens_per_second: 12", "tokens_per_second: 19", 0.0, True),
        ("beta 0.9", "beta 0.8", 0.0, False),
        ("member 3", "member 4", 0.0, False),
        ("remember: 3", "remember: 4", 0.0, False),
        ("theta=1.5", "theta=1.6", 0.0, False),
        ("support 7", "support 8", 0.0, False),
        ("sentiment 0.5", "sentiment 0.6", 0.0, False),
        ("timestep 3", "timestep 4", 0.0, False),
        ("time_step 3", "time_step 4", 0.0, False),
        ("3 s-curves", "4 s-curves", 0.0, False),
        ("a\nb", "a\nb\nc", 0.0, False),
        ("a\n\nb", "a\nb  ", 0.0, True),
    ],
)
def test_text(old: str, new: str, rtol: float, same: bool) -> None:
    notes = book(rtol=rtol)
    compare_text(notes, Aspect.STDOUT, "rank 0", old, new)
    assert (not notes.differences()) == same


@pytest.mark.parametrize(
    ("old", "again", "new", "same"),
    [
        ("run 1f3a loss 1.0", "run 99bc loss 1.0", "run 0012 loss 1.0", True),
        ("run 1f3a loss 1.0", "run 99bc loss 1.0", "run 0012 loss 2.0", False),
        ("host a1 | rate 12.5", "host a1 | rate 11.0", "host a1 | rate 9", True),
        ("host a1 | rate 12.5", "host a1 | rate 11.0", "host b1 | rate 9", False),
        # what changed in one line may change in all of its shape
        ("1 took 3\n2 took 4", "1 took 5\n2 took 4", "1 took 3\n2 took 6", True),
        ("1 took 3\n2 took 4", "1 took 5\n2 took 4", "1 took 3\n3 took 6", False),
        ("from a b", "from a", "from c", True),  # nothing can be said of the line
        ("x\nfrom a b", "x\nfrom a", "y\nfrom c", False),
        ("retry\nloss 1", "loss 1", "loss 1", True),  # nor of any
        ("loss 1", "loss 1", "loss 2", False),
        ("\r 10% 3.1 it/s\r 20%\nloss 1", "loss 1", "loss 1", True),  # a bar
    ],
)
def test_what_changes_with_every_run_is_no_difference(
    old: str, again: str, new: str, same: bool
) -> None:
    notes = book()
    compare_text(notes, Aspect.STDOUT, "rank 0", old, new, again)
    assert (not notes.differences()) == same
    if same and "\r" not in old:
        assert any("every run" in note for note in notes.notes)


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
        ({**STATE, "step": 3.0}, "[step] is 3.0 instead of 3"),
        ({**STATE, "model": {"w": torch.ones(2, 3), 1: 2}}, "unexpected [model][1]"),
    ],
)
def test_checkpoints(tmp_path: Path, new: object, words: str | None) -> None:
    found = files(tmp_path, STATE, new)
    assert any(words in text for text in found) if words else not found


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ({1: "a"}, {"1": "a"}, True),
        ({True: "a"}, {1: "a"}, True),
        ({(0, 1): "a"}, {(0, 1): "a"}, False),
        ({"s": torch.tensor(3.0)}, {"s": torch.tensor(3)}, True),
        ({"s": torch.tensor(3.0)}, {"s": torch.tensor(3.0).double()}, True),
        ({"s": torch.tensor(3.0)}, {"s": 3}, False),
        ({"s": [1, 2]}, {"s": [2, 1]}, True),
        ({"s": (1, 2)}, {"s": [1, 2]}, False),
    ],
)
def test_keys_and_numbers_have_types(
    tmp_path: Path, old: object, new: object, differs: bool
) -> None:
    assert bool(files(tmp_path, old, new)) == differs


def _safe(tensors: dict[str, torch.Tensor], **metadata: str) -> bytes:
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, tensor in tensors.items():
        raw = tensor.contiguous().view(torch.uint8).flatten().tolist() if tensor.numel() else []
        kind = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}[tensor.dtype]
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": place}
        data += bytes(raw)
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data


@pytest.mark.parametrize("name", ["model.safetensors", "weights"])
def test_safetensors_are_compared_tensor_by_tensor(tmp_path: Path, name: str) -> None:
    tensors = {"b": torch.ones(3), "a": torch.ones(2, 2).bfloat16(), "e": torch.ones(0, 2)}
    turned = dict(reversed(tensors.items()))
    for folder, content in (
        ("old", _safe(tensors, format="pt")),
        ("same", _safe(turned, format="pt")),
        ("new", _safe({**tensors, "b": torch.arange(3)}, format="np")),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "same")
    assert not notes.differences()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    found = {difference.name for difference in notes.differences()}
    assert found == {f"{name}: [b]", f"{name}: [metadata][format]"}


def test_files_are_told_by_how_they_begin(tmp_path: Path) -> None:
    for folder, value in (("old", 1.0), ("new", 2.0)):
        (tmp_path / folder).mkdir()
        torch.save({"w": torch.tensor([value])}, tmp_path / folder / "last")
        text = gzip.compress(b"loss 1.0\n", mtime=int(value))
        (tmp_path / folder / "log.gz").write_bytes(text)
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    assert [difference.name for difference in notes.differences()] == ["last: [w]"]


def test_files_that_change_with_every_run(tmp_path: Path) -> None:
    for folder, when, value in (("old", 11, 1.0), ("again", 12, 1.0), ("new", 13, 2.0)):
        place = tmp_path / folder
        (place / f"run-{when}").mkdir(parents=True)
        torch.save({"when": when, "loss": value}, place / f"run-{when}" / "last.pt")
        torch.save({"when": when, "loss": value}, place / "best.pt")
        (place / "noise.bin2").write_bytes(b"\xff\xfe" + bytes([when]))
        (place / "log.txt").write_text(f"started {when}\nloss 1.0\n")
    notes = book()
    compare_files(notes, *(tmp_path / name for name in ("old", "new", "again")))
    assert {difference.name for difference in notes.differences()} == {
        "best.pt: [loss]",
        "run-11/last.pt: [loss]",
        "run-11/last.pt: [when]",  # which of its runs wrote it is not known
    }
    assert any("best.pt: [when] changes with every run" in note for note in notes.notes)
    assert any("noise.bin2 has other bytes with every run" in note for note in notes.notes)
    notes = book(ignore_files=("*.pt", "noise*"))
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    assert {difference.name for difference in notes.differences()} == {"log.txt"}


def test_what_lies_beside_a_distributed_checkpoint_is_compared(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        place = tmp_path / folder / "step"
        dcp.save({"w": torch.ones(3)}, checkpoint_id=place, no_dist=True)
        (place / "trainer.json").write_text(f'"{folder}"')
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    assert [difference.name for difference in notes.differences()] == ["step/trainer.json"]


def test_larger_files_of_the_same_values_are_a_note(tmp_path: Path) -> None:
    large = torch.ones(100_000)
    assert not files(tmp_path, {"w": large[:3].clone()}, {"w": large[:3]})


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
    for name, value in (("old", 1.0), ("new", 1.5)):
        dcp.save(
            {"w": torch.full((3,), value)}, checkpoint_id=tmp_path / name / "dcp", no_dist=True
        )
    notes = book()
    compare_files(notes, tmp_path / "old", tmp_path / "new")
    assert [d.name for d in notes.differences()] == ["dcp: [w]"]


@pytest.mark.parametrize(
    ("number", "written"), [(3.1e-6, "4e-06"), (1e-5, "1e-05"), (9.7e-4, "1e-03"), (2.0, "2e+00")]
)
def test_tolerances_are_suggested_with_one_digit(number: float, written: str) -> None:
    assert upwards(number) == written
    assert float(written) >= number
