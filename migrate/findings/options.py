"""What the user chose, for the engine and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RuntimeMode = Literal["import", "vendor", "never"]
StateDicts = Literal["dcp", "dtensor"]
Style = Literal["native", "shim"]


@dataclass(frozen=True)
class Options:
    """The choices that change what is emitted."""

    runtime: RuntimeMode = "import"
    state_dict: StateDicts = "dcp"  # which of PyTorch's two ways full state dicts take
    mark: bool = False  # put a TODO comment above what is left for a person
    allow_incomplete: bool = False  # migrate what depends on places that are left for a person
    style: Style = "native"  # "shim": what isn't plain FSDP2 as a whole keeps FSDP1's shape
