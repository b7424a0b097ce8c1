"""Arguments of a constructor call that only the run knows, each made FSDP2's by a function.

The call still becomes plain `fully_shard` calls: the functions of the runtime return what these
take, a mesh, a policy or the list of the units, for one value of FSDP1's each.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace

from fsdp_migrate.analysis.values import NONE, Instance, Result, Value
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Element, Keyword, Literal, Name, Part, call, variable
from fsdp_migrate.lowering.arguments.initial_weights import asked
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.origin import origin
from fsdp_migrate.lowering.unit_inputs import model_gets_parameter_dtype
from fsdp_migrate.lowering.wrap_plan import (
    Ignored,
    InitialWeights,
    ModelCall,
    Offload,
    Parts,
    Precision,
    Residue,
    Units,
)
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.lowering.written_strategies import is_member
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

RUNTIME = "fsdp_migrate.runtime"
SHARDING = ("sharding_strategy", "process_group", "device_mesh")
SHARDING_KWARGS = Name(RUNTIME, "sharding_kwargs")
MP_POLICY = Name(RUNTIME, "mp_policy_from_fsdp1")
OFFLOAD_POLICY = Name(RUNTIME, "offload_policy_from_fsdp1")
UNITS = Name(RUNTIME, "units_from_policy")
IGNORED = Name(RUNTIME, "ignored_params_from_fsdp1")
SYNC = Name(RUNTIME, "sync_module_states")

GIVEN = variable("mixed_precision", "precision")
Left = Callable[[WrapSite, Argument, Parts], Parts]


def left_to_run(site: WrapSite, name: str, argument: Argument, parts: Parts, why: str) -> Parts:
    """`parts` with an argument, of which the lowering says `why` not, left to the runtime.

    Raises:
        NotNative: there is no function for it, or it is not written at the call.
    """
    if site.style == "shim" or name not in FUNCTIONS:
        raise NotNative(why)
    function, leave = FUNCTIONS[name]
    try:
        made = leave(site, argument, parts)
    except NotNative as error:
        raise NotNative(str(error) or why) from None
    left = Residue(name, function.name, why, origin(site, argument))
    return replace(made, residues=(*made.residues, left))


def with_sharding(site: WrapSite, parts: Parts) -> Parts:
    """`parts` with one call for strategy, group and mesh, where one of them is left to the run."""
    if not any(residue.parameter in SHARDING for residue in parts.residues):
        return parts
    return replace(parts, sharding=_sharding(site), mesh=None, reshard=None)


def units_share_mesh(site: WrapSite, parts: Parts, why: str) -> Parts:
    """`parts` where units of a model that are sharded by several calls get the same mesh."""
    if site.style == "shim":
        raise NotNative(why)
    names = parts.chosen is not None and parts.chosen.by_name  # which the function takes, too
    left = Residue("device_mesh" if names else "sharding_strategy", SHARDING_KWARGS.name, why)
    made = replace(parts, residues=(*parts.residues, left))
    return with_sharding(site, made)


def _sharding(site: WrapSite) -> Part:
    given: list[Element] = []
    for name, short in zip(SHARDING, ("strategy", "process_group", "device_mesh"), strict=True):
        argument = site.arguments.get(name)
        if argument is None or argument.value == NONE:
            continue
        assert argument.node is not None
        value: Part = site.kept(argument.node)
        if name == "sharding_strategy" and is_member(site.analysis, argument.node):
            (member,) = site.members
            if member == "FULL_SHARD":
                continue
            value = Literal(member)
        given.append(value if name == "sharding_strategy" else Keyword(short, value))
    if site.device_type != "cuda":
        given.append(Keyword("device_type", Literal(site.device_type)))
    return call(SHARDING_KWARGS, *given)


def _written(argument: Argument) -> ast.expr:
    if argument.node is None:
        raise NotNative("")
    return argument.node


def _leave_sharding(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    for name in SHARDING:
        given = site.arguments.get(name)
        if given is not None and given.value != NONE:
            _written(given)
    return parts  # `with_sharding` looks at all three


def _leave_offload(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    policy = call(OFFLOAD_POLICY, site.kept(_written(argument)))
    return replace(parts, offload=Offload(policy))


def _leave_precision(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    has_units = bool(site.value("auto_wrap_policy") - NONE)
    inputs_known = model_gets_parameter_dtype(site.analysis, site.program, site.fact.inner)
    if site.role is Role.EITHER and not inputs_known:
        raise NotNative("it may be a unit inside another one, whose inputs are not cast")
    node = _written(argument)
    inner = (Keyword("root", Literal(False)),)
    buffers = site.program.may_hold_buffers(site.fact.inner)
    if buffers and site.has_inner:
        raise NotNative("buffers are cast unit by unit")
    once = path_of(node) is not None or not (has_units or buffers)
    given = site.kept(node) if once else GIVEN
    own = inner if site.role is Role.INNER else ()
    precision = Precision(
        policy=call(MP_POLICY, given, *own),
        child_policy=call(MP_POLICY, given, *inner) if has_units else None,
        fsdp1=given,
        bound=None if once else site.kept(node),
        casts_by_fsdp1=buffers,
    )
    return replace(parts, precision=precision)


def _leave_policy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    given: list[Element] = [site.kept(_written(argument))]
    if _may_override(site, argument.value):
        raise NotNative("the wrap policy may give units arguments of their own")
    if "ignored_states" in site.arguments:
        raise NotNative("the wrap policy leaves out what `ignored_states` says")
    ignored = site.arguments.get("ignored_modules")
    if ignored is not None and ignored.value != NONE:
        node = _written(ignored)
        if any(isinstance(inner, ast.Call | ast.Await) for inner in nodes_in(node)):
            raise NotNative("the wrap policy leaves out ignored modules")
        given.append(site.kept(node))
    return replace(parts, units=Units(listed=ModelCall(UNITS, tuple(given))))


def _may_override(site: WrapSite, value: Value) -> bool:
    """Whether a policy may be one that gives units arguments, as `CustomPolicy` does."""
    custom = f"{ROOT}.wrap.CustomPolicy"
    if any(isinstance(atom, Result) and atom.symbol == custom for atom in value):
        return True
    if value and all(isinstance(atom, Result) for atom in value):
        return False
    own = {a.cls for a in value if isinstance(a, Instance)}
    made = site.program.calls(custom)
    return bool(own) or made


def _leave_ignored(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    name = next(n for n, given in site.arguments.items() if given is argument)
    given = Keyword(name, site.kept(_written(argument)))
    return replace(parts, ignored=Ignored(ModelCall(IGNORED, (given,))))


def _leave_sync(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    test, bound = asked(site, argument)
    return replace(parts, initial=InitialWeights(test=test, bound=bound, by_unit=SYNC))


FUNCTIONS: Mapping[str, tuple[Name, Left]] = {
    "sharding_strategy": (SHARDING_KWARGS, _leave_sharding),
    "process_group": (SHARDING_KWARGS, _leave_sharding),
    "device_mesh": (SHARDING_KWARGS, _leave_sharding),
    "mixed_precision": (MP_POLICY, _leave_precision),
    "cpu_offload": (OFFLOAD_POLICY, _leave_offload),
    "auto_wrap_policy": (UNITS, _leave_policy),
    "ignored_modules": (IGNORED, _leave_ignored),
    "ignored_states": (IGNORED, _leave_ignored),
    "sync_module_states": (SYNC, _leave_sync),
}
