"""Real training: right migrations pass, wrong ones do not, and nothing passes for different."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.runtime.compare import Aspect, compare
from fsdp_migrate.runtime.verify import recording
from harness.mutations import MUTATIONS, PROGRAMS, SUBJECTS, kill
from support.training import record, train_identically

# one of each kind; all of them are in test_every_mutant
HANDFUL = (
    "buffers not broadcast",
    "reduce_dtype forgotten",
    "root only wrapped",
    "reshard flipped",
    "clip after the step",
    "local norm printed",
    "checkpoint in bfloat16",
    "no_sync dropped",
    "edit of full parameters lost",
    "overflow not skipped",
)


@pytest.mark.parametrize("program", SUBJECTS)
def test_right_migrations_are_identical(program: str) -> None:
    subject, folder = SUBJECTS[program], PROGRAMS / program
    verdict = train_identically(
        folder / "old",
        folder / "new",
        "train.py",
        subject.args,
        subject.nproc,
        gpus=subject.gpus,
    )
    assert verdict.identical, verdict
    assert verdict.steps >= 4
    assert verdict.tallies[Aspect.STATE].compared
    assert verdict.tallies[Aspect.COLLECTIVES].compared


@pytest.mark.parametrize("name", HANDFUL)
def test_wrong_migrations_are_rejected(name: str, tmp_path: Path) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == name)
    killed, words = kill(mutation, tmp_path)
    assert killed, words
    assert "crashes" not in words
    assert words.endswith("]"), f"no cause: {words}"


# what the verdict has to name first, of the mutants that train at all
CAUSES = {
    "parameters not broadcast": "the first loss differs",
    "buffers not broadcast": "other weights or buffers, rank 0 does not",
    "reduce_dtype forgotten": "more than rounding, the loss does not",
    "reduce_dtype bfloat16": "more than rounding, the loss does not",
    "param_dtype forgotten": "the first loss differs",
    "model cast instead of a policy": "another type",
    "root only wrapped": "communication does not",
    "one block forgotten": "communication does not",
    "blocks cut in two": "communication does not",
    "reshard flipped": "communication does not",
    "root resharded": "communication does not",
    "clip dropped": "all gradients are",
    "clip after the step": "all gradients are",
    "clip with the 2-norm": "all gradients are",
    "local norm printed": "what is printed does not",
    "groups swapped": "other hyperparameters",
    "everything decays": "other hyperparameters",
    "learning rate schedule lost": "other hyperparameters",
    "schedule before the step": "other hyperparameters",
    "gradients not cleared": "of the step before are still there",
    "optimizer state not loaded": "other hyperparameters",
    "weights not loaded": "changes between two steps",
    "checkpoint in bfloat16": "the same gradients give other parameters",
    "last file not written": "the files do not",
    "HYBRID as FULL": "communication differs",
    "HYBRID as replicas": "communication differs",
    "no_sync never restored": "sharded parameters have no gradients",
    "no_sync dropped": "communication differs",
    "no_sync inverted": "not accumulated as before",
    "micro-batches not averaged": "the loss is 2 times",
    "gradients cleared too early": "not accumulated as before",
    "frozen parameters trained": "in one version only",
    "edit of full parameters lost": "changes between two steps",
    "edit through data lost": "changes between two steps",
    "initialised after sharding": "the first loss differs",
    "loss scaled twice": "the loss is 1024 times",
    "scaler disabled": "the loss is 0.000976562 times",
    "clip before unscaling": "all gradients are",
    "another initial scale": "the loss is 64 times",
    "overflow not skipped": "no finite loss",
}


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutant(mutation: object, tmp_path: Path) -> None:
    assert mutation in MUTATIONS
    one = MUTATIONS[MUTATIONS.index(mutation)]  # type: ignore[arg-type]
    killed, words = kill(one, tmp_path)
    assert CAUSES.get(one.name, "") in words
    assert killed == (not one.why), words


def test_a_program_is_identical_with_itself() -> None:
    subject, folder = SUBJECTS["language"], PROGRAMS / "language" / "old"
    runs = []
    for _ in range(2):
        run, problem = record(folder, "train.py", subject.args, again=True)
        assert not problem
        runs.append(recording.read(run))
    first, *others = runs
    for other in others:
        assert other.ranks[0].losses == first.ranks[0].losses
        for before, after in zip(first.ranks[1].steps, other.ranks[1].steps, strict=True):
            assert before.parameters == after.parameters
            assert before.random == after.random


@pytest.mark.slow
@pytest.mark.parametrize("program", SUBJECTS)
def test_no_false_alarm_in_twenty_runs(program: str, tmp_path: Path) -> None:
    subject, folder = SUBJECTS[program], PROGRAMS / program / "old"
    first, _ = record(folder, "train.py", subject.args, subject.nproc, gpus=subject.gpus)
    first = first.rename(tmp_path / "first")
    for _ in range(20):
        again, problem = record(
            folder, "train.py", subject.args, subject.nproc, gpus=subject.gpus, again=True
        )
        assert not problem
        verdict = compare(first, again)
        assert verdict.identical, verdict


def test_what_is_recorded_of_a_rank() -> None:
    subject, folder = SUBJECTS["language"], PROGRAMS / "language"
    runs = [record(folder / side, "train.py", subject.args)[0] for side in ("old", "new")]
    for rank in (recording.read(run).ranks[1] for run in runs):
        step = rank.steps[0]
        assert step.optimizer == "AdamW"
        assert [group["weight_decay"] for group in step.groups] == [0.2, 0.0]
        assert step.parameters.keys() == step.gradients.keys()
        assert {"embed.weight", "blocks.0.norm.weight", "head.bias"} <= step.parameters.keys()
        assert step.parameters["embed.weight"] is not None
        assert step.parameters["embed.weight"].shape == (17, 12)
        assert "blocks.1.gain" in step.buffers
        assert "head.bias: exp_avg_sq" in step.state
        assert "head.bias: step" in step.state
        assert step.collectives["backward reduce-scatter"][0] == 3
        assert step.seconds > 0
        assert step.peak_memory is None
        assert rank.end is not None
        assert rank.end.error is None
    kept = recording.read(runs[0]).tensors(0, 0)
    assert kept is not None
