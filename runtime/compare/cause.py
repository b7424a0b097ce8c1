"""Which migration site is the likely cause of a divergence.

Every diagnosis looks at the first divergence and says yes with an explanation, or passes.  They
are tried from the most telling to the least; the codes name the rules that migrate such sites.
"""

from __future__ import annotations

from collections.abc import Sequence

from fsdp_migrate.runtime.compare.diagnoses import gradients, parameters, surroundings
from fsdp_migrate.runtime.compare.diagnoses.evidence import Diagnosis, Evidence
from fsdp_migrate.runtime.compare.differences import Difference
from fsdp_migrate.runtime.compare.verdict import Cause
from fsdp_migrate.runtime.verify.recording import Recording

DIAGNOSES: tuple[Diagnosis, ...] = (
    surroundings.unseeded,
    gradients.overflow,
    parameters.optimizer_before_wrap,
    parameters.names,
    gradients.scaled_loss,
    gradients.none_left,
    parameters.other_ranks_alone,
    parameters.dtype,
    gradients.not_reduced,
    parameters.buffers_alone,
    gradients.scaled_gradients,
    parameters.presence,
    gradients.rounding,
    gradients.lost_microbatches,
    gradients.precision,
    parameters.groups,
    surroundings.between_steps,
    parameters.update,
    surroundings.random,
    surroundings.communication,
    surroundings.artefacts,
    surroundings.counts,
)


def likely_cause(old: Recording, new: Recording, differences: Sequence[Difference]) -> Cause | None:
    """The likely cause of the first divergence, if there is a telling one."""
    if not differences:
        return None
    evidence = Evidence(old, new, differences)
    for diagnose in DIAGNOSES:
        cause = diagnose(evidence)
        if cause is not None:
            return cause
    return None
