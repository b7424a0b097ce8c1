"""Reads checkpoints without running anything that they name.

A pickle names functions, and unpickling calls them: a checkpoint from somewhere else can do
anything.  Here only what `torch.load(weights_only=True)` allows is called, after
torch/_weights_only_unpickler.py; what else is named becomes an opaque value, which holds what it
would have been made of and can be compared.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Of distributed checkpoints: what says where which part of a tensor is.
METADATA = ("torch.distributed.checkpoint.metadata.", "torch.distributed.checkpoint.filesystem.")
PLAIN = frozenset(
    {"collections.OrderedDict", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath"}
)


class Opaque:
    """Something of a class, or made by a function, that isn't looked up."""

    name = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.made_of: tuple[Any, ...] = (*args, *kwargs.items())
        self.items: list[Any] = []
        self.entries: dict[Any, Any] = {}
        self.state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Opaque:
        """An object even where pickle doesn't call `__init__`."""
        made = super().__new__(cls)
        made.__init__(*args, **kwargs)  # type: ignore[misc]
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, item: Any) -> None:
        """Take an item of a list."""
        self.items.append(item)

    def parts(self) -> Iterator[tuple[str, Any]]:
        """What it holds, with a name for each."""
        yield from (("made of", self.made_of), ("state", self.state))
        yield from (("items", self.items), ("entries", self.entries))


@cache
def _opaque(name: str) -> type[Opaque]:
    return type(name, (Opaque,), {"name": name})


@cache
def _allowed() -> dict[str, Any]:
    """What PyTorch calls by these names, where only weights are loaded."""
    from torch import _weights_only_unpickler as unpickler

    marked: Callable[[], dict[str, Any]] = unpickler._get_user_allowed_globals
    return {**unpickler._get_allowed_globals(), **marked()}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        known = _allowed().get(full)
        return known if known is not None else _opaque(full)


class _MetadataUnpickler(_Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if "." not in name and (full.startswith(METADATA) or full in PLAIN):
            return pickle.Unpickler.find_class(self, module, name)
        return super().find_class(module, name)


def _load(file: Any, **kwargs: Any) -> Any:
    return _Unpickler(file, **kwargs).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="pickle")


def read_checkpoint(path: Path) -> Any:
    """What a file of `torch.save` holds, or a folder of `torch.distributed.checkpoint`.

    Raises:
        Exception: whatever reading a damaged file raises.
    """
    if not path.is_dir():
        return _read_file(path)
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        return _read_folder(path)
    except CheckpointException as error:  # which is no Exception
        raise ValueError(f"no distributed checkpoint: {path}") from error


def _read_file(file: Path | io.BytesIO) -> Any:
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # holds more than tensors
        if isinstance(file, io.BytesIO):
            file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_PICKLE)


def _read_folder(folder: Path) -> dict[str, Any]:
    """The state dict of a distributed checkpoint, after `dcp_to_torch_save` of
    torch/distributed/checkpoint/format_utils.py."""
    from torch.distributed.checkpoint._traverse import set_element
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import StorageMeta
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
            with (folder / ".metadata").open("rb") as file:
                metadata = _MetadataUnpickler(file).load()
            if getattr(metadata, "storage_meta", None) is None:
                metadata.storage_meta = StorageMeta()
            metadata.storage_meta.load_id = self.load_id
            return metadata

    class Planner(_EmptyStateDictLoadPlanner):
        def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
            name, loaded = read_item.dest_index.fqn, _read_file(value)
            if self.flatten_state_dict:
                set_element(self.original_state_dict, self.mappings[name], loaded)
            else:
                self.state_dict[name] = loaded

    found: dict[str, Any] = {}
    load: Callable[..., None] = _load_state_dict
    planner: Callable[[], Any] = Planner
    load(found, storage_reader=Reader(folder), planner=planner(), no_dist=True)
    return found
