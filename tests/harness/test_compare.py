"""Verdicts about recordings made by hand: what differs is found, in order, with its cause."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.runtime.compare import (
    Aspect,
    Kind,
    Outcome,
    Tolerance,
    Verdict,
    compare,
    diagnoses,
)
from fsdp_migrate.runtime.record.fingerprint import fingerprint
from fsdp_migrate.runtime.verify.recording import NO_MODEL, End, Loss
from harness import synthetic
from harness.synthetic import WEIGHT, events

Changes = dict[str, Any]


def verdict(
    tmp_path: Path,
    *changes: Changes,
    tolerance: Tolerance | None = None,
    rank: int | None = None,
    losses: tuple[float, ...] = (2.0, 1.5),
    **written: Any,
) -> Verdict:
    """The verdict about two ranks of which one or both have these changes."""
    old = synthetic.write(tmp_path / "old", events(), events())
    new = [
        events(*changes, losses=losses) if rank in (None, number) else events()
        for number in range(2)
    ]
    return compare(old, synthetic.write(tmp_path / "new", *new, **written), tolerance)


def test_equal_recordings_are_identical(tmp_path: Path) -> None:
    found = verdict(tmp_path)
    assert found.outcome is Outcome.IDENTICAL
    assert found.passed
    assert found.first is None
    assert found.cause is None
    assert (found.steps, found.ranks) == (2, 2)
    assert "IDENTICAL" in str(found)


def other(tensor: torch.Tensor) -> Changes:
    return {"weight": fingerprint(tensor)}


@pytest.mark.parametrize(
    ("changes", "aspect", "title"),
    [
        ({"gradients": other(WEIGHT / 20)}, Aspect.GRADIENT, "0.5 times"),
        ({"gradients": other(WEIGHT / 5)}, Aspect.GRADIENT, "2 times"),
        ({"gradients": other(WEIGHT / 70)}, Aspect.GRADIENT, "0.1429 times"),
        ({"gradients": other((WEIGHT / 10).bfloat16())}, Aspect.GRADIENT, "another type"),
        ({"gradients": {"weight": None}}, Aspect.GRADIENT, "in one version only"),
        ({"gradients": other(WEIGHT.flip(0))}, Aspect.GRADIENT, "more than rounding"),
        ({"parameters": other(WEIGHT * 2)}, Aspect.PARAMETER, "same gradients"),
        ({"parameters": other(WEIGHT.bfloat16())}, Aspect.PARAMETER, "another type"),
        ({"parameters": {"bias": fingerprint(WEIGHT)}}, Aspect.PARAMETER, "other parameters"),
        ({"buffers": {"mean": fingerprint(WEIGHT[1])}}, Aspect.BUFFER, "buffers differ"),
        (
            {"buffers": {"mean": fingerprint(WEIGHT[0].bfloat16())}},
            Aspect.BUFFER,
            "buffers have another type",
        ),
        ({"state": {}}, Aspect.STATE, "in one version only"),
        (
            {"groups": [{"lr": 0.2, "weight_decay": 0.0}]},
            Aspect.GROUPS,
            "other hyperparameters",
        ),
        ({"random": {"torch": "elsewhere"}}, Aspect.RANDOM, "random numbers"),
        ({"optimizer": "SGD"}, Aspect.STEPS, "another number"),
        (
            {
                "parameters": {f"parameter 0 {NO_MODEL}": fingerprint(WEIGHT)},
                "gradients": {},
            },
            Aspect.GRADIENT,
            "the optimizer holds parameters",
        ),
    ],
)
def test_a_difference_is_found_and_explained(
    tmp_path: Path, changes: Changes, aspect: Aspect, title: str
) -> None:
    found = verdict(tmp_path, changes)
    assert found.outcome is Outcome.DIFFERENT
    assert found.first is not None
    assert (found.first.aspect, found.first.step) == (aspect, 0)
    assert found.cause is not None
    assert title in found.cause.title
    assert found.tallies[aspect].different


def test_the_first_divergence_comes_first(tmp_path: Path) -> None:
    late = {"gradients": other(WEIGHT), "parameters": other(WEIGHT), "random": {"torch": "x"}}
    found = verdict(tmp_path, {}, late)
    assert found.first is not None
    assert (found.first.aspect, found.first.step) == (Aspect.GRADIENT, 1)
    steps = [d.step for d in found.differences if d.step is not None]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("gradient", "title"),
    [
        (WEIGHT.bfloat16().float(), "summed in another type"),
        (WEIGHT.flip(0), "not accumulated as before"),
    ],
)
def test_sums_of_micro_batches(tmp_path: Path, gradient: torch.Tensor, title: str) -> None:
    def run(tensor: torch.Tensor) -> list[Any]:
        return [synthetic.loss(0), *events({"gradients": other(tensor)})]

    old = synthetic.write(tmp_path / "old", run(WEIGHT))
    found = compare(old, synthetic.write(tmp_path / "new", run(gradient)))
    assert found.cause is not None
    assert title in found.cause.title


def test_ranks_that_part_are_named(tmp_path: Path) -> None:
    found = verdict(tmp_path, {"gradients": other(WEIGHT * 3)}, rank=1)
    assert found.first is not None
    assert found.first.rank == 1
    assert found.cause is not None
    assert "no longer the same on all ranks" in found.cause.title


def test_differences_of_other_ranks_are_listed(tmp_path: Path) -> None:
    changes = {"gradients": other(WEIGHT * 3), "parameters": other(WEIGHT * 3)}
    alone = str(verdict(tmp_path / "alone", changes, rank=1))
    assert "  - rank 1, step 0: parameter weight differs" in alone
    both = str(verdict(tmp_path / "both", changes))
    (line,) = [line for line in both.splitlines() if "- rank 0, step 0: parameter" in line]
    assert line.endswith("(and rank 1)")


def test_every_rank_is_listened_to(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events(), events())
    new = synthetic.write(tmp_path / "new", events(), events())
    (new / "rank00001.out").write_text("another word")
    assert "rank 1 has 1 lines instead of 0" in str(compare(old, new).first)


def test_other_ranks_alone_point_to_their_data(tmp_path: Path) -> None:
    found = verdict(tmp_path, rank=1, losses=(2.25, 1.5))
    assert found.cause is not None
    assert found.cause.title == "ranks other than the first see other data"
    assert not found.cause.codes


def test_or_to_the_broadcast_where_they_hold_other_weights(tmp_path: Path) -> None:
    found = verdict(tmp_path, {"parameters": other(WEIGHT * 2)}, rank=1, losses=(2.25, 1.5))
    assert found.cause is not None
    assert "sync_module_states" in found.cause.explanation


def test_a_scaled_loss_is_recognised(tmp_path: Path) -> None:
    found = verdict(tmp_path, losses=(1024.0, 1.5))
    assert found.cause is not None
    assert "512 times" in found.cause.title


@pytest.mark.parametrize("loss", [2.5, 2.02, -2.0, 0.0, 1.999])
def test_another_loss_is_not_a_scaled_one(tmp_path: Path, loss: float) -> None:
    found = verdict(tmp_path, losses=(loss, 1.5))
    assert found.cause is None or "times what it was" not in found.cause.title


def test_a_loss_that_is_scaled_on_one_rank_is_another(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events(), events())
    new = synthetic.write(tmp_path / "new", events(losses=(4.0, 1.5)), events(losses=(6.0, 1.5)))
    found = compare(old, new)
    assert found.cause is not None
    assert "times what it was" not in found.cause.title


def test_a_program_without_seeds_is_said_to_be_so(tmp_path: Path) -> None:
    drawn: Changes = {"random": {"torch": "elsewhere"}}
    old = synthetic.write(tmp_path / "old", events(), seed=None)
    new = synthetic.write(tmp_path / "new", events(drawn, drawn, losses=(4.0, 3.0)), seed=None)
    found = compare(old, new)
    assert found.cause is not None
    assert found.cause.title == "the program is not seeded"


def test_communication_alone(tmp_path: Path) -> None:
    more = {"collectives": {**synthetic.COLLECTIVES, "backward all-gather": (3, 300)}}
    found = verdict(tmp_path, more, more)
    assert found.first is not None
    assert found.first.aspect is Aspect.COLLECTIVES
    assert found.cause is not None
    assert "reshard_after_forward" in found.cause.explanation
    assert verdict(tmp_path, more, more, tolerance=Tolerance(collectives="skip")).identical


def test_one_rank_has_nobody_to_talk_to(tmp_path: Path) -> None:
    none: Changes = {"collectives": {}}
    old = synthetic.write(tmp_path / "old", events())
    assert compare(old, synthetic.write(tmp_path / "new", events(none, none))).identical


@pytest.mark.parametrize(
    ("new", "limits", "outcome"),
    [
        ({"seconds": 9.0}, {}, Outcome.IDENTICAL),
        ({"seconds": 0.109}, {"slowdown": 0.1}, Outcome.IDENTICAL),
        ({"seconds": 0.12}, {"slowdown": 0.1}, Outcome.DIFFERENT),
        ({"seconds": 0.01}, {"slowdown": 0.0}, Outcome.IDENTICAL),
        ({"peak_memory": 109}, {"memory_growth": 0.1}, Outcome.IDENTICAL),
        ({"peak_memory": 120}, {"memory_growth": 0.1}, Outcome.DIFFERENT),
        ({"peak_memory": None}, {"memory_growth": 0.1}, Outcome.FAILED),
    ],
)
def test_costs_are_held_where_that_is_asked_for(
    tmp_path: Path, new: Changes, limits: dict[str, float], outcome: Outcome
) -> None:
    before: Changes = {"peak_memory": 100}
    old = synthetic.write(tmp_path / "old", *[events(before, before)] * 2)
    later = {**before, **new}
    changed = synthetic.write(tmp_path / "new", *[events(later, later)] * 2)
    found = compare(old, changed, Tolerance(**limits))  # type: ignore[arg-type]
    assert found.outcome is outcome, found
    if outcome is Outcome.DIFFERENT:
        assert found.cause is not None
        assert "costs more" in found.cause.title
        assert "20% more" in str(found.first)


def test_what_is_asked_for_is_no_part_of_sharding(tmp_path: Path) -> None:
    """Metrics are their own business, and to ask for a unit early changes nothing."""
    metrics = {"collectives": {**synthetic.COLLECTIVES, "aside all-gather": (5, 50)}}
    assert verdict(tmp_path / "metrics", metrics, metrics).identical
    early = {
        "collectives": {
            **synthetic.COLLECTIVES,
            "forward all-gather": (2, 200),
            "aside all-gather": (1, 100),
        }
    }
    assert verdict(tmp_path / "early", early, early).identical


def test_communication_by_bytes(tmp_path: Path) -> None:
    split = {"collectives": {**synthetic.COLLECTIVES, "forward all-gather": (6, 300)}}
    twice = {"collectives": {**synthetic.COLLECTIVES, "forward all-gather": (3, 900)}}
    rule = Tolerance(collectives="bytes")
    assert not verdict(tmp_path, split, split).passed
    assert verdict(tmp_path, split, split, tolerance=rule).passed
    assert not verdict(tmp_path, twice, twice, tolerance=rule).passed


def test_frozen_parameters_need_not_be_reduced(tmp_path: Path) -> None:
    frozen = {"frozen": ("weight",)}
    old = synthetic.write(tmp_path / "old", *[events(frozen, frozen)] * 2)
    less = {"collectives": {**synthetic.COLLECTIVES, "backward reduce-scatter": (3, 220)}}
    new = synthetic.write(tmp_path / "new", *[events({**frozen, **less}, {**frozen, **less})] * 2)
    assert compare(old, new).passed


def test_a_single_odd_step_does_not_count_as_communication(tmp_path: Path) -> None:
    listed = events({}, {"collectives": {"forward all-gather": (9, 9)}})[:-1]
    listed += [synthetic.loss(2), synthetic.step(2), End(None, 1.0, ())]
    plain = [*events()[:-1], synthetic.loss(2), synthetic.step(2), End(None, 1.0, ())]
    old = synthetic.write(tmp_path / "old", plain, plain)
    assert compare(old, synthetic.write(tmp_path / "new", listed, listed)).passed


def test_gradients_of_zeros_are_as_good_as_none(tmp_path: Path) -> None:
    zeros = {"gradients": {"weight": fingerprint(torch.zeros(4, 6))}}
    old = synthetic.write(tmp_path / "old", events(zeros, zeros))
    none = {"gradients": {"weight": None}}
    found = compare(old, synthetic.write(tmp_path / "new", events(none, none)))
    assert found.passed
    assert any("gradient of zeros" in note for note in found.notes)


def test_values_within_tolerance_are_close(tmp_path: Path) -> None:
    old, new = (synthetic.write(tmp_path / name, events()) for name in ("old", "new"))
    near = WEIGHT / 10 + 1e-6
    synthetic.write(new, events({"gradients": other(near)}))
    for folder, tensor in ((old, WEIGHT / 10), (new, near)):
        place = folder / "tensors" / "rank00000"
        place.mkdir(parents=True)
        torch.save({"gradient weight": tensor}, place / "step000000.pt")
    assert compare(old, new).outcome is Outcome.DIFFERENT
    found = compare(old, new, Tolerance(rtol=1e-4))
    assert found.outcome is Outcome.CLOSE
    assert found.tallies[Aspect.GRADIENT].tolerated == 1
    assert "CLOSE: both versions train the same within --rtol 0.0001 (2 steps" in str(found)
    assert "note: with --rtol 2e-05, this would be close" in str(compare(old, new))
    assert not compare(old, new, Tolerance(rtol=1e-6)).passed


def test_what_is_off_coherently_is_no_rounding(tmp_path: Path) -> None:
    old, new = (synthetic.write(tmp_path / name, events()) for name in ("old", "new"))
    scaled = WEIGHT / 10 * 1.0067
    synthetic.write(new, events({"gradients": other(scaled)}))
    for folder, tensor in ((old, WEIGHT / 10), (new, scaled)):
        place = folder / "tensors" / "rank00000"
        place.mkdir(parents=True)
        torch.save({"gradient weight": tensor}, place / "step000000.pt")
    found = compare(old, new)
    assert found.cause is not None
    assert "1.007 times" in found.cause.title
    assert "would be close" not in str(found)


@pytest.mark.parametrize(
    ("noise", "gap", "outcome"),
    [
        (1e-6, 3e-6, Outcome.CLOSE),
        (1e-6, 3e-5, Outcome.DIFFERENT),
        (0.0, 1e-6, Outcome.DIFFERENT),
        (0.1, 0.1, Outcome.DIFFERENT),  # that is no noise, but another start
    ],
)
def test_two_runs_of_the_old_version_are_a_measure(
    tmp_path: Path, noise: float, gap: float, outcome: Outcome
) -> None:
    pattern = torch.where(torch.arange(24).reshape(4, 6) % 3 == 0, 1.0, -0.5)
    runs = [
        synthetic.write(tmp_path / name, events({"gradients": other(WEIGHT + pattern * by)}))
        for name, by in (("old", 0.0), ("new", gap), ("again", noise))
    ]
    found = compare(runs[0], runs[1], again=runs[2])
    assert found.outcome is outcome, found
    words = "within what two runs of the old version differ by"
    assert (words in found.headline) == (outcome is Outcome.CLOSE)


def test_digests_alone_are_never_within_tolerance(tmp_path: Path) -> None:
    found = verdict(tmp_path, {"gradients": other(WEIGHT / 10 + 1e-6)}, tolerance=Tolerance(0.1))
    assert not found.passed
    assert found.first is not None
    assert found.first.gap is not None
    assert found.first.gap.estimated


def test_shapes_and_types_are_never_tolerated(tmp_path: Path) -> None:
    loose = Tolerance(rtol=1.0, atol=1.0)
    shaped = verdict(tmp_path, {"parameters": other(WEIGHT.T)}, tolerance=loose)
    assert shaped.first is not None
    assert shaped.first.kind is Kind.SHAPE
    typed = verdict(tmp_path, {"parameters": other(WEIGHT.double())}, tolerance=loose)
    assert typed.first is not None
    assert typed.first.kind is Kind.DTYPE


def test_unseeded_generators_are_a_note(tmp_path: Path) -> None:
    first, second = {"random": {"torch": "a"}}, {"random": {"torch": "b"}}
    old = synthetic.write(tmp_path / "old", events(first, first), seed=None)
    found = compare(old, synthetic.write(tmp_path / "new", events(second, second), seed=None))
    assert found.passed
    assert any("seeded" in note for note in found.notes)


def test_a_tensor_that_is_no_scalar_can_be_a_loss(tmp_path: Path) -> None:
    def run(tensor: torch.Tensor) -> list[Any]:
        return [Loss(0, None, fingerprint(tensor)), *events()]

    old = synthetic.write(tmp_path / "old", run(WEIGHT))
    assert compare(old, old).passed
    assert not compare(old, synthetic.write(tmp_path / "new", run(WEIGHT * 2))).passed


def test_lost_steps_are_counted(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events())
    short = [*events()[:2], End(None, 1.0, ())]
    found = compare(old, synthetic.write(tmp_path / "new", short))
    assert "1 optimizer steps instead of 2" in str(found)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (events()[:-1], "did not end: it stopped after 2 optimizer steps"),
        ([*events()[:-1], End("ValueError: no", 1.0, ())], "ValueError: no"),
        ([End(None, 1.0, ())], "took no optimizer step"),
    ],
)
def test_runs_that_prove_nothing(tmp_path: Path, listed: list[Any], words: str) -> None:
    old = synthetic.write(tmp_path / "old", events())
    found = compare(old, synthetic.write(tmp_path / "new", listed))
    assert found.outcome is Outcome.FAILED
    assert not found.passed
    assert words in str(found)


def test_the_telling_error_comes_first(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events(), events())
    other_rank = [End("RuntimeError: Connection closed by peer [127.0.0.1]:1", 1.0, ())]
    new = synthetic.write(tmp_path / "new", other_rank, [End("KeyError: 'x'", 1.0, ())])
    found = compare(old, new)
    assert "KeyError" in str(found.first)
    assert "Connection closed" not in str(found)


def test_missing_ranks_and_folders(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events(), events())
    new = synthetic.write(tmp_path / "new", events(), events())
    (new / "rank00001.jsonl").unlink()
    assert "no recording of rank 1 of 2" in str(compare(old, new))
    assert "no recording" in str(compare(old, tmp_path / "nothing"))
    assert compare(old, synthetic.write(tmp_path / "one", events())).outcome is Outcome.FAILED


def test_a_line_that_was_cut_off_is_ignored(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "old", events()[:-1])
    path = folder / "rank00000.jsonl"
    path.write_text(path.read_text() + '{"event":"st')
    assert "did not end" in str(compare(folder, folder))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"event":"header"', '"event":"hea"'),
        ('"rank":0', '"rank":"zero"'),
        ('"rank":0,', ""),
        ('"world":1', '"world":null'),
        ('"format":1', '"format":2'),
        ('"seed":0', '"seed":0,"later":1'),
        ('"number":0', '"number":[0]'),
        ('"groups":[', '"groups":5,"others":['),
        ('"float32"', "32"),
        ('"random":{', '"random":7,"more":{'),
        ('"collectives":{', '"collectives":{"x":1,'),
        ('"value":2.0', '"value":"two"'),
        ('{"event":"loss"', '["event"]\n{"event":"loss"'),
        ('{"event":"loss"', '\xff\xfe{"event":"loss"'),
        ('"state":{', '"state":{"a":["float32"],'),
    ],
)
def test_a_damaged_recording_proves_nothing(tmp_path: Path, old: str, new: str) -> None:
    right = synthetic.write(tmp_path / "old", events())
    wrong = synthetic.write(tmp_path / "new", events())
    path = wrong / "rank00000.jsonl"
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))
    found = compare(right, wrong)
    assert found.outcome is Outcome.FAILED, found
    assert str(path) in str(found)


def test_damaged_tensors_prove_nothing(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events())
    new = synthetic.write(tmp_path / "new", events({"gradients": other(WEIGHT)}))
    for folder in (old, new):
        place = folder / "tensors" / "rank00000"
        place.mkdir(parents=True)
        (place / "step000000.pt").write_bytes(b"no tensors")
    found = compare(old, new)
    assert found.outcome is Outcome.FAILED
    assert "is damaged" in str(found)


def test_causes_name_rules_that_exist() -> None:
    texts = [path.read_text() for path in Path(diagnoses.__file__).parent.glob("*.py")]
    named = set(re.findall(r"FSDP\d{3}", "".join(texts)))
    assert named
    assert named <= load_rules().by_code.keys()


def test_paths_of_the_runs_are_not_compared(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events(), printed="saved to /out/files/x.pt\n")
    new = synthetic.write(
        tmp_path / "new", events(), printed="saved to /elsewhere/files/x.pt\n", out="/elsewhere"
    )
    assert compare(old, new).passed
