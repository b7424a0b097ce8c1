"""`MixedPrecision(buffer_dtype=...)`: buffers that are cast once the model is sharded."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.values import NONE, Result, Symbol, Wrapped
from fsdp_migrate.findings.code import Part, qualified
from fsdp_migrate.lowering.arguments.precision_fields import FIELDS, Fields, field_of_buffers
from fsdp_migrate.lowering.wrap_plan import Precision
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none

AT_RUN_TIME = "the dtype of the buffers is known only at run time"


def with_buffers(site: WrapSite, precision: Precision, every: list[Fields]) -> Precision:
    """`precision` with the dtype of the buffers, if they are given one and there may be any."""
    given = [f["buffer_dtype"] for f in every if "buffer_dtype" in f]
    given = [node for node in given if not is_none(node)]
    if not given or not site.program.may_hold_buffers(site.fact.inner):
        return precision
    if len(given) != len(every):
        raise NotNative(AT_RUN_TIME)
    dtype = _one_dtype(site, given, is_written=precision.node is None)
    if dtype is not None:
        precision = replace(precision, buffer_dtype=dtype)
    elif field_of_buffers(every):
        precision = replace(precision, buffers_as=field_of_buffers(every))
    else:
        raise NotNative(AT_RUN_TIME)
    if _is_saved(site):
        if site.style == "shim" or site.program.has_saved_buffers(site.fact.inner):
            raise NotNative("buffers are cast, and saved in the dtype that they had")
        precision = replace(precision, saves_cast=True)
    if site.has_inner:
        raise NotNative("buffers are cast unit by unit")
    if any(site.analysis.value(node) & NONE for node in given):
        return _by_policy(precision, every)
    return precision


def _by_policy(precision: Precision, every: list[Fields]) -> Precision:
    """`precision` where the policy says whether buffers are cast: where it has a dtype."""
    name = field_of_buffers(every)
    if not name:
        raise NotNative(AT_RUN_TIME)
    return replace(precision, buffer_dtype=None, buffers_as=name, given_by_dtype=True)


def _is_saved(site: WrapSite) -> bool:
    """Whether the program takes a state dict of the model."""
    me = Wrapped(site.fact.site)
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "state_dict"
        and me in site.analysis.value(call.func.value)
        for call in site.analysis.call_nodes.values()
    )


def _one_dtype(site: WrapSite, given: list[ast.expr], is_written: bool) -> Part | None:
    """The dtype that all of `given` are, if it can be said at the call."""
    if not all(_same(given[0], other) for other in given[1:]):
        return None
    if is_written:
        return site.kept(given[0])
    value = site.analysis.value(given[0])
    names = {a.name for a in value if isinstance(a, Symbol) and a.name.startswith("torch.")}
    return qualified(names.pop()) if len(names) == len(value) == 1 else None


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)


def casts_buffers(site: WrapSite) -> bool:
    """Whether FSDP1 may keep buffers in another dtype than it saves them in, at a shim call."""
    value = site.value("mixed_precision") - NONE
    calls = [site.analysis.call_nodes.get(a.site) for a in value if isinstance(a, Result)]
    plain = len(calls) == len(value) and all(
        made is not None
        and len(made.args) < FIELDS.index("buffer_dtype") + 1
        and {k.arg for k in made.keywords} <= set(FIELDS) - {"buffer_dtype"}
        for made in calls
    )
    return (site.fact.opaque or not plain) and site.program.may_hold_buffers(site.fact.inner)
