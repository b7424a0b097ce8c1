"""`mixed_precision=`: the policy of the units, and of the root, whose inputs are treated apart."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.values import NONE, Result
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import (
    Part,
    call,
    code,
)
from fsdp_migrate.lowering.absence import births_in, says_none
from fsdp_migrate.lowering.arguments.buffer_dtype import with_buffers
from fsdp_migrate.lowering.arguments.precision_fields import (
    MIXED_PRECISION,
    POLICY,
    Fields,
    casts_inputs,
    fields_of,
    policy_call,
)
from fsdp_migrate.lowering.born_policies import NONES_GONE, have_dtypes
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.passed_on import passed_on
from fsdp_migrate.lowering.unit_inputs import model_gets_parameter_dtype
from fsdp_migrate.lowering.wrap_plan import Parts, Precision
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none

AT_RUN_TIME = "the mixed precision is known only at run time"


def lower_mixed_precision(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A `MixedPrecision(...)` that is written out or passed on becomes a policy."""
    if says_none(site, argument, "precision"):
        return parts
    if site.style == "shim" and site.value("auto_wrap_policy") - NONE:
        why = site.program.may_hold_batch_norm(site.fact.inner)
        if why:
            raise NotNative(why)
    return replace(parts, precision=_precision(site, argument))


def _precision(site: WrapSite, argument: Argument) -> Precision:
    node = argument.node
    if node is None:
        raise NotNative(AT_RUN_TIME)
    every = [fields_of(call) for call in _made(site, argument)]
    flags = {casts_inputs(fields) for fields in every}
    if len(flags) != 1:
        raise NotNative(AT_RUN_TIME)
    if site.role is Role.EITHER and not _is_cast_anyway(site):
        raise NotNative("it may be a unit inside another one, whose inputs are not cast")
    children_cast, root_cast = flags.pop()
    own_cast = children_cast if site.role is Role.INNER else root_cast
    written = _written(site, node, own_cast)
    if written is None:
        precision = replace(_passed_on(site, argument, node, every), casts=root_cast)
    else:
        policy, given = written
        precision = Precision(policy, casts=own_cast, given=given)
    precision = replace(precision, children_cast=children_cast, own_cast=own_cast)
    return with_buffers(site, precision, every)


def _is_cast_anyway(site: WrapSite) -> bool:
    """Whether the inputs are of the parameters' dtype, were it a unit inside another one."""
    if site.style == "shim":
        return False
    return model_gets_parameter_dtype(site.analysis, site.program, site.fact.inner)


def _passed_on(
    site: WrapSite, argument: Argument, node: ast.expr, every: list[Fields]
) -> Precision:
    """An object that is made elsewhere, and becomes a policy there, or None.

    Raises:
        NotNative: it stays what it is.
    """
    gone = passed_on(site, node, argument.value, "precision") == NONES_GONE
    kept = site.kept(node)
    optional = bool(argument.value & NONE)
    told = optional and have_dtypes(every)
    return Precision(
        policy=kept,
        is_name=isinstance(node, ast.Name) and (gone or not optional),
        optional=optional and not gone,
        given=code("{policy} is not None", policy=kept) if optional and not told else None,
        given_by_dtype=told,
        node=node,
    )


def _made(site: WrapSite, argument: Argument) -> list[ast.Call]:
    """The calls of `MixedPrecision` that an argument comes from, if it comes from nothing else.

    It can come from all of the program where it is None only as things are set.
    """
    if argument.value == NONE:
        places = births_in(site, "precision")
        return [place.node for place in places if isinstance(place.node, ast.Call)]
    made = [a for a in argument.value if isinstance(a, Result) and a.symbol == MIXED_PRECISION]
    if not made or len(made) != len(argument.value - NONE):
        raise NotNative(AT_RUN_TIME)
    return [site.analysis.call_nodes[atom.site] for atom in made]


# ---------------------------------------------------------------------- what is written out
def _written(site: WrapSite, node: ast.expr, cast: bool) -> tuple[Part, Part | None] | None:
    """The policy for what is written out at `node`, and the test of whether there is one."""
    if isinstance(node, ast.Call) and site.calls(node, MIXED_PRECISION):
        return policy_call(site.module, node, cast), None
    if not isinstance(node, ast.IfExp):
        return None
    test = site.kept(node.test)
    sides: list[Part] = []
    given: Part | None = None
    for branch in (node.body, node.orelse):
        if is_none(branch):
            sides.append(call(POLICY))
            given = given or (test if branch is node.orelse else code("not {test}", test=test))
        elif isinstance(branch, ast.Call) and site.calls(branch, MIXED_PRECISION):
            sides.append(policy_call(site.module, branch, cast))
        else:
            return None
    yes, no = sides
    return code("{yes} if {test} else {no}", yes=yes, test=test, no=no), given
