"""Compares what two programs wrote: checkpoints tensor by tensor, other files as they are."""

from __future__ import annotations

import filecmp
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fsdp_migrate.runtime.compare import gaps
from fsdp_migrate.runtime.compare.differences import Aspect, Difference, Gap, Kind
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.compare.text import compare_text
from fsdp_migrate.runtime.compare.unpickling import Opaque, read_checkpoint

CHECKPOINTS = {".pt", ".pth", ".bin", ".ckpt", ".tar", ".distcp"}
LONG = 64 << 20  # bytes
_NOISE = {"__pycache__", ".git"}


def compare_files(book: Notebook, old: Path, new: Path) -> None:
    """Compare everything below two folders."""
    before, after = _listing(old), _listing(new)
    for kind, names in ((Kind.MISSING, before - after), (Kind.UNEXPECTED, after - before)):
        for name in sorted(names):
            message = f"{kind.value} file: {name}"
            book.differs(Difference(Aspect.FILES, message, name=name, kind=kind))
    for name in sorted(before & after):
        _compare_file(book, name, old / name, new / name)


def _listing(root: Path) -> set[str]:
    """Files, with a distributed checkpoint as one entry, relative to the folder."""
    if not root.is_dir():
        return set()
    checkpoints = {path.parent for path in root.rglob(".metadata")}
    names = {str(path.relative_to(root)) for path in checkpoints}
    for path in root.rglob("*"):
        inside = path.parent in checkpoints or _NOISE & set(path.parts)
        if path.is_file() and not inside and path.suffix != ".pyc":
            names.add(str(path.relative_to(root)))
    return names


def _compare_file(book: Notebook, name: str, old: Path, new: Path) -> None:
    if old.is_file() and filecmp.cmp(old, new, shallow=False):
        book.same(Aspect.FILES)
    elif old.is_dir() or old.suffix in CHECKPOINTS:
        try:
            values = read_checkpoint(old), read_checkpoint(new)
        except Exception as error:  # whatever a damaged file raises
            message = f"{name} cannot be read: {type(error).__name__}: {str(error)[:200]}"
            book.differs(Difference(Aspect.FILES, message, name=name))
            return
        _compare_values(book, name, *values)
    else:
        texts = _text(old), _text(new)
        if texts[0] is None or texts[1] is None:
            book.differs(Difference(Aspect.FILES, f"{name} has other bytes", name=name))
        else:
            compare_text(book, Aspect.FILES, name, texts[0], texts[1])


def _text(path: Path) -> str | None:
    """The text of a file; None if it is none, or too long to be read by anybody."""
    if path.stat().st_size > LONG:
        return None
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def _compare_values(book: Notebook, where: str, old: Any, new: Any) -> None:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for kind, names in (
        (Kind.MISSING, before.keys() - after.keys()),
        (Kind.UNEXPECTED, after.keys() - before.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:4]) + (" …" if len(names) > 4 else "")
            message = f"{where}: {kind.value} {shown}"
            book.differs(Difference(Aspect.FILES, message, name=where, kind=kind))
    for name in (n for n in before if n in after):
        _compare_leaf(book, f"{where}: {name}", before[name], after[name])


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of nested containers by path; the containers' own types do not matter."""
    if isinstance(value, Mapping):
        yield f"{path}{{}}", len(value)
        for key, part in value.items():
            yield from _leaves(part, f"{path}[{key}]")
    elif isinstance(value, (list, tuple)):
        if re.search(r"\[params\]$", path):  # the order inside a group is that of flattening
            value = sorted(value, key=str)
        yield f"{path}[]", len(value)
        for number, part in enumerate(value):
            yield from _leaves(part, f"{path}[{number}]")
    elif isinstance(value, Opaque):
        yield f"{path}<{value.name}>", 1
        for name, part in value.parts():
            yield from _leaves(part, f"{path}<{name}>")
    else:
        yield path, value


def _compare_leaf(book: Notebook, where: str, old: Any, new: Any) -> None:
    import torch

    if _is_number(old) and _is_number(new):
        _compare_numbers(book, where, _number(old), _number(new))
        return
    if isinstance(old, type) and isinstance(new, type):
        old, new = old.__name__, new.__name__
    if not (isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor)):
        if type(old) is type(new) and old == new:
            book.same(Aspect.FILES)
        else:
            message = f"{where} is {str(new)[:80]} instead of {str(old)[:80]}"
            book.differs(Difference(Aspect.FILES, message, name=where))
        return
    kinds = [type(value).__name__ for value in (old, new)]
    if hasattr(old, "to_local") != hasattr(new, "to_local"):
        message = f"{where} is a {kinds[1]} instead of a {kinds[0]}"
        book.differs(Difference(Aspect.FILES, message, name=where))
        return
    old, new = (t.to_local() if hasattr(t, "to_local") else t for t in (old, new))
    if old.shape != new.shape or old.dtype != new.dtype:
        message = (
            f"{where} is {_kind(new)} instead of {_kind(old)}"  # the values do not matter then
        )
        book.differs(Difference(Aspect.FILES, message, name=where))
        return
    gap, scale = gaps.between(old, new)
    if gap.max_abs == 0:
        book.same(Aspect.FILES)
    else:
        message = f"{where} differs {gap}"
        book.judge(Difference(Aspect.FILES, message, name=where, gap=gap), gap, scale)


def _compare_numbers(book: Notebook, where: str, old: float, new: float) -> None:
    if old == new or (math.isnan(old) and math.isnan(new)):
        book.same(Aspect.FILES)
        return
    distance = abs(old - new)
    gap = Gap(distance, distance / abs(old) if old else math.inf)
    message = f"{where} is {new} instead of {old}"
    book.judge(Difference(Aspect.FILES, message, name=where, gap=gap), gap, abs(old))


def _is_number(value: Any) -> bool:
    """A number or a tensor that holds one: FSDP1 and FSDP2 differ in which they save."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.ndim == 0 and not hasattr(value, "to_local")
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return float(value)


def _kind(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
