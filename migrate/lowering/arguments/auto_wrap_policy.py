"""`auto_wrap_policy=`: which submodules are units of their own."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import NONE, Func
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.wrap_plan import Parts, Units
from fsdp_migrate.lowering.wrap_policy import lower_policy
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, resolve


def _is_function(argument: Argument) -> bool:
    """Whether the policy is a function of the user's, which may hand on to one of FSDP1's."""
    return all(isinstance(atom, Func) for atom in argument.value)


def lower_auto_wrap_policy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A policy that asks for classes, or a predicate, becomes the condition of a loop."""
    if argument.value == NONE:
        return parts
    absorbed: list[Definition] = []
    condition, through = None, tuple[Definition, ...]()
    if argument.node is not None and _is_function(argument):
        condition = lower_policy(site.analysis, site.module, argument.node, absorbed)
    if condition is None:
        node, through = resolve(site, argument.node)
        condition = lower_policy(site.analysis, site.module, node, absorbed)
    if condition is None:
        raise NotNative("the wrap policy is not a plain set of classes or a predicate")
    units = Units(condition, condition.may_hold_for(site.analysis, site.fact.inner))
    return replace(parts, units=units, absorbed=(*parts.absorbed, *through, *absorbed))
