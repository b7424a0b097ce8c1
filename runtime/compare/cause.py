"""Which migration site is the likely cause of a divergence."""

from __future__ import annotations

from collections.abc import Sequence

from fsdp_migrate.runtime.compare.verdict import Cause, Difference
from fsdp_migrate.runtime.recording import Recording


def likely_cause(old: Recording, new: Recording, differences: Sequence[Difference]) -> Cause | None:
    """The likely cause of the first divergence, if there is a telling one."""
    return None
