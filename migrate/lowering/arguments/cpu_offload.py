"""`cpu_offload=`: parameters that live on the CPU between their uses."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import NONE, Const, Value
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Part, call, code
from fsdp_migrate.lowering.absence import says_none
from fsdp_migrate.lowering.born_policies import NONES_GONE, NOWHERE, ON_CPU
from fsdp_migrate.lowering.passed_on import passed_on
from fsdp_migrate.lowering.wrap_plan import Offload, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none
from fsdp_migrate.syntax.fsdp1_names import ROOT

CPU_OFFLOAD = f"{ROOT}.CPUOffload"
AT_RUN_TIME = "the CPU offload is known only at run time"
OFF = frozenset({Const.of(None), Const.of(False)})


@dataclass(frozen=True)
class Choice:
    """Offloading or not, as a test says."""

    test: Part
    yes: Offloading
    no: Offloading


Offloading = bool | Choice


def lower_cpu_offload(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """`CPUOffload(...)`, or a choice between it and None, as an offload policy."""
    if says_none(site, argument, "offload") or (argument.value <= OFF and argument.value - NONE):
        return parts
    node = argument.node
    if node is None:
        raise NotNative(AT_RUN_TIME)
    if is_none(node) or (isinstance(node, ast.IfExp | ast.Call) and _is_written(site, node)):
        choice = _choice(site, node)
        return replace(parts, offload=Offload(_policy(choice)) if choice is not False else None)
    return replace(parts, offload=Offload(_made_elsewhere(site, node, argument.value)))


def _made_elsewhere(site: WrapSite, node: ast.expr, value: Value) -> Part:
    """An object that is made elsewhere, and becomes a policy there.

    Raises:
        NotNative: it stays what it is.
    """
    form = passed_on(site, node, value, "offload")
    policy = site.kept(node)
    if not value & NONE or form == NONES_GONE:
        return policy
    return code("{policy} or {nowhere}()", policy=policy, nowhere=NOWHERE)


def _is_written(site: WrapSite, node: ast.expr) -> bool:
    """Whether it is written at the call whether parameters are offloaded."""
    if isinstance(node, ast.IfExp):
        return _is_written(site, node.body) and _is_written(site, node.orelse)
    return is_none(node) or site.calls(node, CPU_OFFLOAD)


def _choice(site: WrapSite, node: ast.expr) -> Offloading:
    if is_none(node):
        return False
    if isinstance(node, ast.IfExp):
        yes, no = _choice(site, node.body), _choice(site, node.orelse)
        return yes if yes == no else Choice(site.kept(node.test), yes, no)
    if isinstance(node, ast.Call) and site.calls(node, CPU_OFFLOAD):
        return _flag(site, node)
    raise NotNative(AT_RUN_TIME)


def _flag(site: WrapSite, made: ast.Call) -> Offloading:
    """What `CPUOffload(...)` is given; without anything it is off."""
    starred = any(isinstance(argument, ast.Starred) for argument in made.args)
    if starred or any(keyword.arg is None for keyword in made.keywords):
        raise NotNative(AT_RUN_TIME)
    flags = [*made.args, *(keyword.value for keyword in made.keywords)]
    if not flags:
        return False
    if isinstance(flags[0], ast.Constant):
        return bool(flags[0].value)
    return Choice(site.kept(flags[0]), yes=True, no=False)


def _policy(choice: Offloading) -> Part:
    if isinstance(choice, bool):
        return call(ON_CPU if choice else NOWHERE)
    yes, no = _policy(choice.yes), _policy(choice.no)
    return code("{yes} if {test} else {no}", yes=yes, test=choice.test, no=no)
