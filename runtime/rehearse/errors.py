"""What a rehearsal cannot do."""

from __future__ import annotations


class CannotRehearse(RuntimeError):
    """The program uses something that has no counterpart on a CPU."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} cannot be rehearsed without a GPU; run the comparison on a machine with "
            "CUDA devices (--device cuda)"
        )
