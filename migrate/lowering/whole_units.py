"""Modules that are in the units around them, where the mixed precision decides whether they are."""

from __future__ import annotations

from fsdp_migrate.findings.code import Code, Part, attribute, code, variable
from fsdp_migrate.lowering.unit_functions import ATTENTION, WHOLE_CLASSES
from fsdp_migrate.lowering.wrap_plan import Parts, Precision

WHOLE = variable(WHOLE_CLASSES, "whole_classes")


def whole_classes(parts: Parts, policy: Part) -> Code | None:
    """The classes of the modules that stay whole, if the function of the units has to be told."""
    attention = parts.units.attention if parts.units is not None else ""
    if not attention:
        return None
    if attention == "whole" or parts.precision is None:
        return code("{attention}", attention=ATTENTION)
    given = _given(parts.precision, policy)
    return code("() if {given} else {attention}", given=given, attention=ATTENTION)


def bound_above(classes: Code) -> Code:
    """The variable that has them."""
    return code(
        "# FSDP1 made units of parts of attention only with mixed precision\n{whole} = {classes}",
        whole=WHOLE,
        classes=classes,
    )


def _given(precision: Precision, policy: Part) -> Part:
    """The test of whether there is a precision, whose parameters have a dtype where there is."""
    if precision.fsdp1 is not None:
        return code("{precision} is not None", precision=precision.fsdp1)
    if precision.given is not None and not precision.given_by_dtype:
        return precision.given
    return code("{dtype} is not None", dtype=attribute(policy, "param_dtype"))
