"""Compares what two programs wrote: checkpoints tensor by tensor, other files as they are."""

from __future__ import annotations

import filecmp
import fnmatch
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fsdp_migrate.runtime.compare import formats, gaps
from fsdp_migrate.runtime.compare.differences import (
    Aspect,
    Difference,
    Gap,
    Kind,
    Tolerance,
)
from fsdp_migrate.runtime.compare.notebook import Notebook
from fsdp_migrate.runtime.compare.text import compare_text
from fsdp_migrate.runtime.compare.unpickling import Opaque

_NOISE = {"__pycache__", ".git"}
_SMALL = 1 << 16  # bytes


def compare_files(book: Notebook, old: Path, new: Path, again: Path | None = None) -> None:
    """Compare everything below two folders.

    `again` has what the old version wrote when it ran once more: what it does not repeat itself
    is no difference.
    """
    before, after = _listing(book, old), _listing(book, new)
    repeated = before if again is None else _listing(book, again)
    pairs = {name: name for name in before & after} | _paired(before, after, repeated)
    for kind, names in (
        (Kind.MISSING, (before & repeated) - pairs.keys()),
        (Kind.UNEXPECTED, after - repeated - set(pairs.values())),
    ):
        for name in sorted(names):
            message = f"{kind.value} file: {name}"
            book.differs(Difference(Aspect.FILES, message, name=name, kind=kind))
    for name in sorted(before ^ repeated):
        book.note(f"the old version does not write {name} in every run")
    for name, other in sorted(pairs.items()):
        known = again / name if again is not None and name in repeated else None
        _compare_file(book, name, old / name, new / other, known)


def _paired(before: set[str], after: set[str], repeated: set[str]) -> dict[str, str]:
    """Files whose names have a date, a number or an id that every run chooses anew."""
    pairs: dict[str, str] = {}
    for name in sorted(before - after - repeated):
        alike = [other for other in after - before if _shape(other) == _shape(name)]
        if len(alike) == 1 and alike[0] not in pairs.values():
            pairs[name] = alike[0]
    return pairs


def _shape(name: str) -> str:
    return re.sub(r"(?<![A-Za-z])[0-9a-fA-F]*\d[0-9a-fA-F]*", "#", name)


def _listing(book: Notebook, root: Path) -> set[str]:
    """Files, with a distributed checkpoint as one entry, relative to the folder."""
    if not root.is_dir():
        return set()
    checkpoints = {path.parent for path in root.rglob(".metadata")}
    found = list(checkpoints)
    for path in root.rglob("*"):
        part = path.suffix == ".distcp" or path.name == ".metadata"
        inside = (path.parent in checkpoints and part) or _NOISE & set(path.parts)
        if path.is_file() and not inside and path.suffix != ".pyc":
            found.append(path)
    names = {str(path.relative_to(root)) for path in found}
    patterns = book.tolerance.ignore_files
    return {n for n in names if not any(fnmatch.fnmatch(n, pattern) for pattern in patterns)}


def _compare_file(book: Notebook, name: str, old: Path, new: Path, again: Path | None) -> None:
    if old.is_file() and filecmp.cmp(old, new, shallow=False):
        book.same(Aspect.FILES)
    elif formats.holds_values(old):
        try:
            loaded = formats.values(old), formats.values(new)
            repeated = loaded[0] if again is None else formats.values(again)
        except Exception as error:  # whatever a damaged file raises
            message = f"{name} cannot be read: {type(error).__name__}: {str(error)[:200]}"
            book.differs(Difference(Aspect.FILES, message, name=name))
            return
        changing = _changing(name, loaded[0], repeated)
        _compare_values(book, name, *loaded, changing)
        for place in sorted(changing):
            book.note(f"{place} changes with every run of the old version, and is not compared")
        _compare_sizes(book, name, old, new)
    else:
        texts = [None if path is None else formats.text(path) for path in (old, new, again)]
        if texts[0] is not None and texts[1] is not None:
            compare_text(book, Aspect.FILES, name, texts[0], texts[1], texts[2])
        elif again is not None and not filecmp.cmp(old, again, shallow=False):
            book.note(f"{name} has other bytes with every run of the old version")
        else:
            book.differs(Difference(Aspect.FILES, f"{name} has other bytes", name=name))


def _changing(name: str, old: Any, again: Any) -> set[str]:
    """The values that the old version does not repeat."""
    if again is old:
        return set()
    control = Notebook(Tolerance())
    _compare_values(control, name, old, again, set())
    return {difference.name for difference in control.differences() if difference.name != name}


def _compare_sizes(book: Notebook, name: str, old: Path, new: Path) -> None:
    """A view of a large tensor is saved with all of it: the same values in a larger file."""
    if old.is_file() and new.stat().st_size > 2 * old.stat().st_size + _SMALL:
        sizes = f"{new.stat().st_size:,} bytes instead of {old.stat().st_size:,}"
        book.note(f"{name} has {sizes}: parts of larger tensors are saved with all of these")


def _compare_values(book: Notebook, where: str, old: Any, new: Any, changing: set[str]) -> None:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for kind, names in (
        (Kind.MISSING, before.keys() - after.keys()),
        (Kind.UNEXPECTED, after.keys() - before.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:4]) + (" …" if len(names) > 4 else "")
            message = f"{where}: {kind.value} {shown}"
            book.differs(Difference(Aspect.FILES, message, name=where, kind=kind))
    for name in (n for n in before if n in after and f"{where}: {n}" not in changing):
        _compare_leaf(book, f"{where}: {name}", before[name], after[name])


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of nested containers by path; the containers' own types do not matter."""
    if isinstance(value, Mapping):
        yield f"{path}{{}}", len(value)
        for key, part in value.items():
            yield from _leaves(part, f"{path}[{_key(key)}]")
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


def _key(key: Any) -> str:
    """A key as it is read best; 1 and "1" are two."""
    return key if isinstance(key, str) and not key.lstrip("-").isdigit() else repr(key)


def _compare_leaf(book: Notebook, where: str, old: Any, new: Any) -> None:
    import torch

    if _is_number(old) and _is_number(new) and _of_one_type(old, new):
        _compare_numbers(book, where, float(old), float(new))
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


def _of_one_type(old: Any, new: Any) -> bool:
    """Two numbers, or two tensors, have to be of one type; one of each is as good."""
    import torch

    tensors = isinstance(old, torch.Tensor), isinstance(new, torch.Tensor)
    if all(tensors):
        return bool(old.dtype == new.dtype)
    return any(tensors) or type(old) is type(new)


def _kind(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
