"""`sync_module_states=` and `param_init_fn=`: where the first weights come from."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.values import NONE, Func, constants
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Kept, Part, variable
from fsdp_migrate.lowering.nesting import Role
from fsdp_migrate.lowering.predicates import is_docstring
from fsdp_migrate.lowering.wrap_plan import InitialWeights, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

ASKED = variable("sync_states", "states_are_shared")
OF_A_GROUP = frozenset({"process_group", "ignored_modules", "ignored_states"})


def lower_sync_module_states(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """The state of the first rank goes to the others, if it is for a whole model."""
    if _is_off(argument):
        return parts
    test, bound = asked(site, argument)
    if test is not None and site.style == "shim":
        raise NotNative("`sync_module_states` is known only at run time")
    if any(site.value(name) - NONE for name in OF_A_GROUP):
        raise NotNative("states are synchronised inside a process group")
    share = site.program.has_unsaved_buffers(site.fact.inner)
    if site.role is not Role.ROOT or site.has_inner:
        raise NotNative("states are synchronised unit by unit")
    if parts.materialized is not None:
        raise NotNative("states are synchronised once a unit has its memory")
    initial = InitialWeights(share, is_empty_elsewhere(site), test=test, bound=bound)
    return replace(parts, initial=initial)


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
    if argument.value != NONE and not is_empty_elsewhere(site):
        raise NotNative("`param_init_fn` materialises modules")
    return parts


def is_empty_elsewhere(site: WrapSite) -> bool:
    """Whether all that `param_init_fn` does is to make room for what rank 0 broadcasts."""
    init = site.value("param_init_fn") - NONE
    sync = constants(site.value("sync_module_states"))
    if not init or not sync or set(sync) != {True} or site.value("cpu_offload"):
        return False
    return all(isinstance(atom, Func) and _only_makes_room(site, atom.site) for atom in init)


def _only_makes_room(site: WrapSite, function: Site) -> bool:
    node = site.analysis.functions[function].node
    body: ast.AST | None = node.body if isinstance(node, ast.Lambda) else None
    if not isinstance(node, ast.Lambda):
        statements = [s for s in node.body if not is_docstring(s)]
        if len(statements) == 1 and isinstance(statements[0], ast.Expr | ast.Return):
            body = statements[0].value
    return (
        isinstance(body, ast.Call)
        and isinstance(body.func, ast.Attribute)
        and body.func.attr == "to_empty"
        and isinstance(body.func.value, ast.Name)
        and [argument.arg for argument in node.args.args[:1]] == [body.func.value.id]
    )
