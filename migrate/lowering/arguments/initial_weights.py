"""`sync_module_states=` and `param_init_fn=`: where the first weights come from."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.values import NONE, Const, Func, Result, Unknown, constants
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Kept, Part, variable
from fsdp_migrate.lowering.absence import is_setting
from fsdp_migrate.lowering.arguments.ignored import is_empty
from fsdp_migrate.lowering.arguments.node_groups import is_world
from fsdp_migrate.lowering.memory_functions import (
    BROADCAST_IN_MESH,
    BROADCAST_UNIT,
    BY_FUNCTION,
    MATERIALIZE,
    MATERIALIZE_OR_RESET,
    RESET,
    by_function_or_reset,
    by_reset,
    from_first_of_mesh,
    from_first_rank,
)
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.predicates import is_docstring
from fsdp_migrate.lowering.wrap_plan import InitialWeights, Materialized, ModelCall, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, is_none
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

ON_META = "modules may be on the meta device"
MATERIALIZES = "`param_init_fn` materialises modules"
ASKED = variable("sync_states", "states_are_shared")
LEFT_ALONE = ("ignored_modules", "ignored_states")
INIT = variable("param_init_fn", "init_fn")
_NONE_TOO = (Const, Result, Unknown)  # what can be None


def lower_sync_module_states(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """The state of the first rank goes to the others, if it is for a whole model."""
    if _is_off(argument) and (site.style == "shim" or not is_setting(site, argument)):
        return parts
    test, bound = asked(site, argument)
    if test is not None and site.style == "shim":
        raise NotNative("`sync_module_states` is known only at run time")
    if leaves_out(site) or _has_groups(site):
        return _in_mesh(site, InitialWeights(test=test, bound=bound), parts)
    share = site.program.has_unsaved_buffers(site.fact.inner)
    alone = site.role is Role.ROOT and not site.has_inner
    if not alone and site.style == "shim":
        raise NotNative("states are synchronised unit by unit")
    if not alone or parts.materialized is not None:
        function = from_first_rank(site.device_type)
        initial = InitialWeights(test=test, bound=bound, by_unit=BROADCAST_UNIT, on_world=True)
        return replace(parts, initial=initial, defined=(*parts.defined, function))
    initial = InitialWeights(share, is_empty_elsewhere(site), test=test, bound=bound)
    return replace(parts, initial=initial)


def _in_mesh(site: WrapSite, initial: InitialWeights, parts: Parts) -> Parts:
    """`parts` where the first rank of a mesh hands out what it has to the others of the mesh.

    Raises:
        NotNative: some modules are left alone, or the mesh is not the program's own.
    """
    if site.style == "shim" or leaves_out(site) or parts.mesh is None:
        raise NotNative("states are synchronised inside a process group")
    function = from_first_of_mesh(site.device_type)
    initial = replace(initial, by_unit=BROADCAST_IN_MESH)
    return replace(parts, initial=initial, defined=(*parts.defined, function))


def _has_groups(site: WrapSite) -> bool:
    """Whether the ranks of a group or a mesh of the program's own may be others than all."""
    group = site.value("process_group") - NONE
    return bool(site.value("device_mesh") - NONE) or (bool(group) and not is_world(group))


def _is_off(argument: Argument) -> bool:
    known = constants(argument.value)
    return known is not None and set(map(bool, known)) == {False}


def asked(site: WrapSite, argument: Argument) -> tuple[Part | None, Kept | None]:
    """The test of whether states are synchronised, and what it is bound to; None if they are.

    Raises:
        NotNative: it is not written at the call.
    """
    known = constants(argument.value)
    if known is not None and set(map(bool, known)) == {True}:
        return None, None
    if argument.node is None:
        raise NotNative("`sync_module_states` is known only at run time")
    kept = site.kept(argument.node)
    return (kept, None) if path_of(argument.node) is not None else (ASKED, kept)


def lower_param_init_fn(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A function that only makes room for what the first rank hands out has nothing else to do."""
    if argument.value == NONE or is_empty_elsewhere(site):
        return parts
    if site.style == "shim" or argument.node is None or leaves_out(site):
        raise NotNative(MATERIALIZES)
    if not site.program.may_be_meta(site.fact.inner, is_asked=True):
        return parts  # FSDP1 has never called it
    again = path_of(argument.node) is not None or isinstance(argument.node, ast.Lambda)
    given: Part = site.kept(argument.node) if again else INIT
    name, function = MATERIALIZE, BY_FUNCTION
    if not argument.value or any(isinstance(atom, _NONE_TOO) for atom in argument.value):
        name, function = MATERIALIZE_OR_RESET, by_function_or_reset(site.device_type)
    bound = None if again else site.kept(argument.node)
    made = Materialized(ModelCall(name, (given,)), given, bound)
    return replace(parts, materialized=made, defined=(*parts.defined, function))


def initialised(site: WrapSite, parts: Parts) -> Parts:
    """`parts` that give each unit its memory, for modules may be on the meta device.

    Raises:
        NotNative: the call is to keep FSDP1's shape, or leaves modules as they are.
    """
    if site.style == "shim" or leaves_out(site):
        raise NotNative(ON_META)
    if site.value("param_init_fn") - NONE:
        return parts
    made = Materialized(ModelCall(RESET))
    return replace(parts, materialized=made, defined=(*parts.defined, by_reset(site.device_type)))


def leaves_out(site: WrapSite) -> bool:
    """Whether modules may be ignored, which then stay as they are."""
    given = (site.arguments[name] for name in LEFT_ALONE if name in site.arguments)
    return not all(is_empty(site.analysis, argument.value) for argument in given)


def is_empty_elsewhere(site: WrapSite) -> bool:
    """Whether all that `param_init_fn` does is to make room for what rank 0 broadcasts."""
    init = site.value("param_init_fn") - NONE
    sync = site.arguments.get("sync_module_states")
    if not init or sync is None or _is_off(sync) or site.value("cpu_offload") - NONE:
        return False
    if site.style == "shim" and set(constants(sync.value) or ()) != {True}:
        return False
    return all(isinstance(atom, Func) and _only_makes_room(site, atom.site) for atom in init)


def _only_makes_room(site: WrapSite, function: Site) -> bool:
    node = site.analysis.functions[function].node
    body: ast.AST | None = node.body if isinstance(node, ast.Lambda) else None
    if not isinstance(node, ast.Lambda):
        statements = [s for s in node.body if not is_docstring(s)]
        if len(statements) == 1 and isinstance(statements[0], ast.Expr | ast.Return):
            body = statements[0].value
    if isinstance(body, ast.IfExp) and is_none(body.orelse):
        body = body.body  # `... if rank != 0 else None`
    return (
        isinstance(body, ast.Call)
        and isinstance(body.func, ast.Attribute)
        and body.func.attr == "to_empty"
        and isinstance(body.func.value, ast.Name)
        and [argument.arg for argument in node.args.args[:1]] == [body.func.value.id]
    )
