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
    safe_only: bool = False  # leave what can change the outcome of a run
    select: tuple[str, ...] = ()  # beginnings of the codes that are wanted; none: all
    ignore: tuple[str, ...] = ()  # beginnings of those that are not; the longer one counts

    def rules_out(self, code: str) -> bool:
        """Whether what `code` speaks of is to be left as it is, and not reported."""
        wanted = [len(each) for each in self.select or ("",) if code.startswith(each)]
        unwanted = [len(each) for each in self.ignore if code.startswith(each)]
        return not wanted or max(unwanted, default=-1) >= max(wanted)
