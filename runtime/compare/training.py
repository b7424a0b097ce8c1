"""Compares what two ranks trained: losses, gradients, parameters, optimizer state."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsdp_migrate.runtime.compare import gaps
from fsdp_migrate.runtime.compare.differences import Aspect, Difference, Gap, Kind
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.verify.recording import (
    Fingerprint,
    Groups,
    Loss,
    NoRecording,
    Prints,
    Rank,
    Recording,
    Step,
)

if TYPE_CHECKING:
    import torch

# how an optimizer computes, not what
_IMPLEMENTATION = {"foreach", "fused", "capturable", "differentiable"}


class Kept:
    """The full tensors of one rank and step in both recordings, read when they are needed."""

    def __init__(self, old: Recording, new: Recording, rank: int, step: int) -> None:
        self._paths = old.tensors(rank, step), new.tensors(rank, step)
        self._loaded: tuple[dict[str, Any], dict[str, Any]] | None = None

    def pair(self, key: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Both versions of a tensor, if both were kept."""
        first, second = self._paths
        if first is None or second is None:
            return None
        if self._loaded is None:
            self._loaded = _load(first), _load(second)
        old, new = self._loaded
        return (old[key], new[key]) if key in old and key in new else None


def _load(path: Path) -> dict[str, Any]:
    import torch

    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file raises
        raise NoRecording(f"{path} is damaged: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise NoRecording(f"{path} holds no tensors of a recording")
    return found


def compare_rank(book: Notebook, old: Recording, new: Recording, number: int) -> None:
    """Compare one rank of two recordings."""
    a, b = old.ranks[number], new.ranks[number]
    _compare_counts(book, a, b)
    for first, second in zip(a.losses, b.losses, strict=False):
        _compare_loss(book, number, first, second)
    for before, after in zip(a.steps, b.steps, strict=False):
        kept = Kept(old, new, number, before.number)
        _compare_step(book, number, before, after, kept)
    _compare_random(book, a, b)


def _compare_counts(book: Notebook, old: Rank, new: Rank) -> None:
    for what, a, b in (
        ("optimizer steps", len(old.steps), len(new.steps)),
        ("calls of backward", len(old.losses), len(new.losses)),
    ):
        if a == b:
            book.same(Aspect.STEPS)
        else:
            book.differs(Difference(Aspect.STEPS, f"{b} {what} instead of {a}", old.header.rank))


def _compare_loss(book: Notebook, rank: int, old: Loss, new: Loss) -> None:
    if old.print.same(new.print):
        book.same(Aspect.LOSS)
        return
    if old.value is None or new.value is None:
        gap, scale = gaps.estimated(old.print, new.print), 0.0
        message = f"backward is called on another tensor: {gap}"
    else:
        distance = 0.0 if old.value == new.value else abs(old.value - new.value)
        scale = abs(old.value)
        gap = Gap(distance, distance / scale if scale else math.inf)
        message = f"loss {new.value:.9g} instead of {old.value:.9g}"
        if old.print.dtype != new.print.dtype:
            message += f" ({new.print.dtype} instead of {old.print.dtype})"
    book.judge(Difference(Aspect.LOSS, message, rank, old.step, "loss", gap), gap, scale)


def _compare_step(book: Notebook, rank: int, old: Step, new: Step, kept: Kept) -> None:
    step = old.number
    if old.optimizer != new.optimizer:
        message = f"{new.optimizer} steps instead of {old.optimizer}"
        book.differs(Difference(Aspect.STEPS, message, rank, step))
        return
    _compare_groups(book, rank, step, old.groups, new.groups)
    for aspect, key, a, b in (
        (Aspect.GRADIENT, "gradient", old.gradients, new.gradients),
        (Aspect.PARAMETER, "parameter", old.parameters, new.parameters),
        (Aspect.BUFFER, "buffer", old.buffers, new.buffers),
        (Aspect.STATE, "state", old.state, new.state),
    ):
        if aspect is Aspect.GRADIENT:
            frozen = {*old.frozen, *new.frozen}
            _compare_presence(book, rank, step, a, b, frozen, kept)
        else:
            _compare_names(book, aspect, rank, step, a.keys(), b.keys())
        for name in (n for n in a if n in b):
            first, second = a[name], b[name]
            if first is not None and second is not None:
                place = Difference(aspect, "", rank, step, name)
                _compare_tensor(book, place, first, second, kept, f"{key} {name}")


def _compare_groups(book: Notebook, rank: int, step: int, old: Groups, new: Groups) -> None:
    if len(old) != len(new):
        message = f"{len(new)} parameter groups instead of {len(old)}"
        book.differs(Difference(Aspect.GROUPS, message, rank, step))
        return
    for number, (a, b) in enumerate(zip(old, new, strict=True)):
        for key in sorted((a.keys() | b.keys()) - _IMPLEMENTATION):
            x, y = a.get(key), b.get(key)
            name = f"group {number}: {key}"
            if x == y:
                book.same(Aspect.GROUPS)
                continue
            difference = Difference(
                Aspect.GROUPS, f"{name} is {y} instead of {x}", rank, step, name
            )
            if isinstance(x, float) and isinstance(y, float):
                distance = abs(x - y)
                book.judge(difference, Gap(distance, distance / abs(x) if x else 1.0), abs(x))
            else:
                book.differs(difference)


def _compare_random(book: Notebook, old: Rank, new: Rank) -> None:
    """Compare where the generators are, unless nobody seeded them."""
    if not old.steps or not new.steps:
        return
    first = old.steps[0].random, new.steps[0].random
    for source in sorted(first[0].keys() & first[1].keys()):
        seeded = first[0][source] == first[1][source] or None not in (
            old.header.seed,
            new.header.seed,
        )
        for before, after in zip(old.steps, new.steps, strict=False):
            if before.random[source] == after.random[source]:
                book.same(Aspect.RANDOM)
                continue
            message = f"the random numbers of {source} are at another point"
            if seeded and source in ("torch", "cuda"):
                rank, step = old.header.rank, before.number
                book.differs(Difference(Aspect.RANDOM, message, rank, step, source))
            else:
                book.note(f"{message}{'' if seeded else ': is the program seeded?'}")


def _compare_names(
    book: Notebook, aspect: Aspect, rank: int, step: int, old: Iterable[str], new: Iterable[str]
) -> None:
    before, after = set(old), set(new)
    for kind, names in ((Kind.MISSING, before - after), (Kind.UNEXPECTED, after - before)):
        if names:
            message = f"{kind.value} {aspect.value}: {_list(sorted(names))}"
            book.differs(Difference(aspect, message, rank, step, min(names), kind=kind))


def _compare_presence(
    book: Notebook, rank: int, step: int, old: Prints, new: Prints, frozen: set[str], kept: Kept
) -> None:
    """A gradient of zeros is as good as none: a flat parameter cannot tell them apart."""
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if (a is None) == (b is None):
            continue
        there = a or b
        if there is not None and not any(there.sketch):
            book.same(Aspect.GRADIENT)
            if name not in frozen:
                which = "new" if a is None else "old"
                book.note(
                    f"{name} has a gradient of zeros in the {which} version, none in the other"
                )
            continue
        kind = Kind.MISSING if b is None else Kind.UNEXPECTED
        message = f"gradient of {name} is {kind.value}"
        book.differs(Difference(Aspect.GRADIENT, message, rank, step, name, kind=kind))


def _compare_tensor(
    book: Notebook, place: Difference, old: Fingerprint, new: Fingerprint, kept: Kept, key: str
) -> None:
    if old.same(new):
        book.same(place.aspect)
        return
    label = f"{place.aspect.value} {place.name}"
    if old.shape != new.shape:
        message = f"{label} has shape {new.shape} instead of {old.shape}"
        book.differs(replace(place, message=message, kind=Kind.SHAPE))
        return
    pair = kept.pair(key)
    gap, scale = gaps.between(*pair) if pair else (gaps.estimated(old, new), 0.0)
    if old.dtype == new.dtype:
        book.judge(replace(place, message=f"{label} differs {gap}", gap=gap), gap, scale)
    elif place.aspect is Aspect.GRADIENT and gap.max_abs == 0:
        book.same(place.aspect)
        book.note(f"gradients are {new.dtype} instead of {old.dtype}, with the same values")
    else:
        message = f"{label} is {new.dtype} instead of {old.dtype}, differs {gap}"
        book.differs(replace(place, message=message, gap=gap, kind=Kind.DTYPE))


def _list(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
