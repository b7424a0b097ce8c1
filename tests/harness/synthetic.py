"""Recordings made by hand, for tests of the comparison alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fsdp_migrate.runtime.record.fingerprint import fingerprint
from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.recording import End, Header, Loss, Step

HEADER = Header(
    rank=0,
    world=2,
    host="here",
    torch=torch.__version__,
    python="3.11",
    device="rehearsal",
    folder="/old",
    out="/out",
    arguments=("train.py",),
    deterministic=True,
    seed=0,
)
COLLECTIVES = {"forward all-gather": (3, 300), "backward reduce-scatter": (3, 300)}
WEIGHT = torch.linspace(-1, 1, 24).reshape(4, 6)


def step(number: int = 0, **changes: Any) -> Step:
    """A step of a model with one weight and one buffer."""
    plain = Step(
        number=number,
        optimizer="AdamW",
        groups=[{"lr": 0.1, "weight_decay": 0.0}],
        gradients={"weight": fingerprint(WEIGHT / 10)},
        parameters={"weight": fingerprint(WEIGHT + number)},
        buffers={"mean": fingerprint(WEIGHT[0])},
        state={"weight: exp_avg": fingerprint(WEIGHT / 100)},
        random={"torch": f"t{number}"},
        collectives=COLLECTIVES,
        seconds=0.1,
    )
    return replace(plain, **changes)


def loss(number: int, value: float = 2.0) -> Loss:
    """A float32 loss."""
    return Loss(number, value, fingerprint(torch.tensor(value)))


def events(*changes: dict[str, Any], losses: tuple[float, ...] = (2.0, 1.5)) -> list[Any]:
    """Two steps with a loss each; `changes` are to the first step and to the second."""
    wanted = [*changes, {}, {}]
    listed: list[Any] = []
    for number, value in enumerate(losses):
        listed += [loss(number, value), step(number, **wanted[number])]
    return [*listed, End(None, 1.0, ())]


def write(folder: Path, *ranks: list[Any], printed: str = "loss 2.0\n", **header: Any) -> Path:
    """A recording with these events per rank; the folder of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank, listed in enumerate(ranks):
        head = replace(HEADER, rank=rank, world=len(ranks), **header)
        lines = [recording.to_line(event) for event in [head, *listed]]
        recording.events_path(folder, rank).write_text("".join(lines))
        recording.output_path(folder, rank).write_text(printed if rank == 0 else "")
    return folder
