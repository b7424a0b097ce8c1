"""`mixed_precision=`: the policy of the units, and of the root, whose inputs are treated apart."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.definitions import Definition, removable
from fsdp_migrate.analysis.values import NONE, Result
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import (
    Part,
    call,
    code,
)
from fsdp_migrate.lowering.arguments.buffer_dtype import with_buffers
from fsdp_migrate.lowering.arguments.precision_fields import (
    MIXED_PRECISION,
    POLICY,
    casts_inputs,
    fields_of,
    policy_call,
)
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.wrap_plan import Parts, Precision
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none
from fsdp_migrate.syntax.nodes import nodes_in

AT_RUN_TIME = "the mixed precision is known only at run time"


def lower_mixed_precision(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A `MixedPrecision(...)` that is written out or passed on becomes a policy."""
    if argument.value == NONE:
        return parts
    if site.style == "shim" and site.value("auto_wrap_policy") - NONE:
        why = site.program.may_hold_batch_norm(site.fact.inner)
        if why:
            raise NotNative(why)
    precision, through = _precision(site, argument)
    return replace(parts, precision=precision, absorbed=(*parts.absorbed, *through))


def _precision(site: WrapSite, argument: Argument) -> tuple[Precision, tuple[Definition, ...]]:
    if argument.node is None:
        raise NotNative(AT_RUN_TIME)
    calls = _made(site, argument)
    optional = bool(argument.value & NONE)
    every = [fields_of(call) for call in calls]
    flags = {casts_inputs(fields) for fields in every}
    if len(flags) != 1:
        raise NotNative(AT_RUN_TIME)
    node, through = argument.node, tuple[Definition, ...]()
    if len(calls) == 1 and not optional:
        node, through = _only_reader(site, node, calls[0])
    if site.role is Role.EITHER:
        raise NotNative("it may be a unit inside another one, whose inputs are not cast")
    children_cast, root_cast = flags.pop()
    own_cast = children_cast if site.role is Role.INNER else root_cast
    written = _written(site, node, own_cast)
    if written is None:
        if set(calls) & set(nodes_in(argument.node)):
            raise NotNative("the mixed precision is chosen at the call")
        precision = replace(_passed_on(site, argument, node), casts=root_cast)
    else:
        policy, given = written
        precision = Precision(policy, casts=own_cast, given=given)
    precision = replace(precision, children_cast=children_cast, own_cast=own_cast)
    return with_buffers(site, precision, every), through


def _passed_on(site: WrapSite, argument: Argument, node: ast.expr) -> Precision:
    """An object that is made elsewhere, and becomes a policy there, or None."""
    optional = bool(argument.value & NONE)
    kept = site.kept(node)
    return Precision(
        policy=kept,
        is_name=isinstance(node, ast.Name) and not optional,
        optional=optional,
        given=code("{policy} is not None", policy=kept) if optional else None,
        node=node,
        sites=frozenset(a.site for a in argument.value if isinstance(a, Result)),
    )


def _made(site: WrapSite, argument: Argument) -> list[ast.Call]:
    """The calls of `MixedPrecision` that an argument comes from, if it comes from nothing else."""
    made = [a for a in argument.value if isinstance(a, Result) and a.symbol == MIXED_PRECISION]
    if not made or len(made) != len(argument.value - NONE):
        raise NotNative(AT_RUN_TIME)
    return [site.analysis.call_nodes[atom.site] for atom in made]


def _only_reader(
    site: WrapSite, node: ast.expr, made: ast.Call
) -> tuple[ast.expr, tuple[Definition, ...]]:
    """`made` and its assignment, if `node` names the variable and nothing else does."""
    found = followed(site.module, node) if isinstance(node, ast.Name) else None
    if found is None or found.value is not made:
        return node, ()
    alone = removable(site.analysis, site.module, found, {node})
    return (made, (found,)) if alone else (node, ())


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
