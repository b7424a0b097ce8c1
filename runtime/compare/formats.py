"""What a file holds, told by how it begins and not by its name."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from fsdp_migrate.runtime.compare.unpickling import read_checkpoint

CHECKPOINTS = {".pt", ".pth", ".bin", ".ckpt", ".tar"}
LONG = 64 << 20  # bytes
_LONGEST_HEADER = 100 << 20
_TYPES = {"F": "float", "I": "int", "U": "uint", "C": "complex"}


def holds_values(path: Path) -> bool:
    """Whether it is a distributed checkpoint, or a file of `torch.save` or safetensors."""
    return path.is_dir() or path.suffix in CHECKPOINTS or _is_pickled(path) or is_safe(path)


def values(path: Path) -> Any:
    """What is in such a file or folder.

    Raises:
        Exception: whatever reading a damaged file raises.
    """
    return read_checkpoint(path) if path.is_dir() or not is_safe(path) else _safetensors(path)


def text(path: Path) -> str | None:
    """The text of a file; None if it is none, or too long to be read by anybody."""
    if path.stat().st_size > LONG:
        return None
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error):
        return None


def _is_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(64)
    zipped = begin[:4] == b"PK\x03\x04" and b"data.pkl" in begin
    return zipped or begin[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def is_safe(path: Path) -> bool:
    """Whether a file is of safetensors."""
    with path.open("rb") as file:
        size, begin = int.from_bytes(file.read(8), "little"), file.read(1)
    return begin == b"{" and 2 <= size <= min(_LONGEST_HEADER, path.stat().st_size - 8)


def _safetensors(path: Path) -> dict[str, Any]:
    """The tensors and the metadata, without a package for it."""
    import torch

    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    found: dict[str, Any] = {"metadata": header.pop("__metadata__", {})}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        dtype = getattr(torch, _dtype(about["dtype"]))
        flat = torch.frombuffer(data[begin:end] or bytearray(8), dtype=dtype)
        found[name] = flat[: 0 if begin == end else None].reshape(about["shape"])
    return found


def _dtype(name: str) -> str:
    """A type as torch calls it."""
    if name == "BOOL":
        return "bool"
    if name == "BF16":
        return "bfloat16"
    kind, rest = name[0], name[1:]
    return _TYPES[kind] + rest.lower()
