"""How far two tensors are apart, from their values or from their sketches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fsdp_migrate.runtime.compare.differences import Gap
from fsdp_migrate.runtime.verify.recording import Fingerprint

if TYPE_CHECKING:
    import torch


def between(old: torch.Tensor, new: torch.Tensor) -> tuple[Gap, float]:
    """The gap between two tensors of one shape, and the largest finite value of the old one."""
    import torch

    wide = torch.complex128 if old.is_complex() or new.is_complex() else torch.float64
    a, b = old.detach().to(wide), new.detach().to(wide)
    equal = (a == b) | (a.isnan() & b.isnan())
    distance = (a - b).abs()
    distance[equal] = 0
    finite = a.abs()[a.abs().isfinite()]
    scale = finite.max().item() if finite.numel() else 0.0
    if not distance.numel() or equal.all():
        return Gap(0.0, 0.0, 0, 1.0), scale
    largest = distance.max().item()
    relative = (distance / torch.maximum(a.abs(), b.abs()))[~equal].max().item()
    gap = Gap(
        max_abs=math.inf if math.isnan(largest) else largest,
        max_rel=math.inf if math.isnan(relative) else relative,
        ulps=_ulps(old, new),
        ratio=None if wide.is_complex else _ratio(a.flatten(), b.flatten()),
    )
    return gap, scale


def estimated(old: Fingerprint, new: Fingerprint) -> Gap:
    """The gap according to the sketches: norms instead of maxima."""
    distance = math.dist(old.sketch, new.sketch)
    size = math.hypot(*old.sketch)
    relative = distance / size if size else math.inf
    return Gap(distance, relative, ratio=_sketch_ratio(old, new), estimated=True)


def _ulps(old: torch.Tensor, new: torch.Tensor) -> int | None:
    """The largest distance in units in the last place."""
    import torch

    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(old.element_size())
    if old.dtype != new.dtype or not old.dtype.is_floating_point or integer is None:
        return None
    if not bool(old.isfinite().all() and new.isfinite().all()):
        return None
    smallest = torch.iinfo(integer).min

    def ordered(tensor: torch.Tensor) -> torch.Tensor:
        bits = tensor.contiguous().view(integer).to(torch.int64)
        return torch.where(bits < 0, smallest - bits, bits)

    return int((ordered(old) - ordered(new)).abs().max().item())


def _ratio(old: torch.Tensor, new: torch.Tensor) -> float | None:
    """The number k for which new = k * old, if there is one."""
    size = float(old @ old)
    if not size or not math.isfinite(size):
        return None
    ratio = float(old @ new) / size
    rest = float((new - ratio * old).norm())
    return ratio if rest <= 1e-3 * abs(ratio) * math.sqrt(size) else None


def _sketch_ratio(old: Fingerprint, new: Fingerprint) -> float | None:
    size = sum(x * x for x in old.sketch)
    if not size or not math.isfinite(size):
        return None
    ratio = sum(x * y for x, y in zip(old.sketch, new.sketch, strict=True)) / size
    rest = math.dist([ratio * x for x in old.sketch], new.sketch)
    return ratio if rest <= 1e-3 * abs(ratio) * math.sqrt(size) else None
