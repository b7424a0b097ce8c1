"""Tensors as fingerprints: a 128-bit digest of the bits and a small linear sketch of the values."""

from __future__ import annotations

import ctypes
import functools
import hashlib

import torch

from fsdp_migrate.runtime.verify.recording import Fingerprint

WIDTH = 8  # numbers in a sketch
_COLUMNS = 1024


def fingerprint(tensor: torch.Tensor) -> Fingerprint:
    """The fingerprint of a plain tensor (no DTensor)."""
    host = tensor.detach() if tensor.device.type == "cpu" else tensor.detach().cpu()
    flat = host.contiguous().reshape(-1)
    return Fingerprint(
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        digest=_digest(flat),
        sketch=_sketch(flat),
    )


def _digest(flat: torch.Tensor) -> str:
    if flat.numel() == 0:
        return ""
    size = flat.numel() * flat.element_size()
    raw = (ctypes.c_ubyte * size).from_address(flat.data_ptr())  # a view that needs no NumPy
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:32]


def _sketch(flat: torch.Tensor) -> tuple[float, ...]:
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    rows = -(-flat.numel() // _COLUMNS)
    padded = torch.zeros(rows * _COLUMNS, dtype=torch.float64)
    padded[: flat.numel()] = flat
    row_signs, column_signs = _signs(rows), _signs(_COLUMNS)
    folded = (row_signs @ padded.view(rows, _COLUMNS)) * column_signs
    return tuple(folded.view(-1, WIDTH).sum(0).tolist())


@functools.lru_cache(maxsize=64)
def _signs(count: int) -> torch.Tensor:
    """The same pseudo-random signs in every process, from a generator of its own."""
    generator = torch.Generator().manual_seed(20_240_229)
    return torch.randint(0, 2, (count,), generator=generator).double() * 2 - 1
