"""`cpu_offload=`: parameters that live on the CPU between their uses."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import Const
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Name, Part, call, code
from fsdp_migrate.lowering.wrap_plan import Offload, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none, resolve
from fsdp_migrate.syntax.fsdp1_names import ROOT

CPU_OFFLOAD = f"{ROOT}.CPUOffload"
ON_CPU = Name(ROOT, "CPUOffloadPolicy")
NOWHERE = Name(ROOT, "OffloadPolicy")
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
    if argument.value <= OFF:
        return parts
    written, through = resolve(site, argument.node)
    choice = _choice(site, written)
    offload = Offload(_policy(choice)) if choice is not False else None
    return replace(parts, offload=offload, absorbed=(*parts.absorbed, *through))


def _choice(site: WrapSite, node: ast.expr) -> Offloading:
    if is_none(node):
        return False
    if isinstance(node, ast.IfExp):
        yes, no = _choice(site, node.body), _choice(site, node.orelse)
        return yes if yes == no else Choice(site.kept(node.test), yes, no)
    if isinstance(node, ast.Call) and site.calls(node, CPU_OFFLOAD):
        return _flag(site, node)
    raise NotNative("the CPU offload is known only at run time")


def _flag(site: WrapSite, made: ast.Call) -> Offloading:
    """What `CPUOffload(...)` is given; without anything it is off."""
    starred = any(isinstance(argument, ast.Starred) for argument in made.args)
    if starred or any(keyword.arg is None for keyword in made.keywords):
        raise NotNative("the CPU offload is known only at run time")
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
