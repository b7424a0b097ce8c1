"""`ignored_modules=` and `ignored_states=`: parameters that are left alone."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.evidence import is_plain_module
from fsdp_migrate.analysis.values import NONE, Container, Result, Symbol, Value
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.findings.code import Element, Part, Starred, code, loop_variable
from fsdp_migrate.lowering.wrap_plan import Ignored, Parts
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite

PARAMETERS = frozenset({"torch.nn.Parameter", "torch.nn.parameter.Parameter"})


def may_ignore(analysis: Analysis, fact: WrapFact) -> bool:
    """Whether parameters may be left out of the sharding."""
    names = ("ignored_modules", "ignored_states")
    given = [fact.arguments[name].value for name in names if name in fact.arguments]
    return fact.opaque or not all(is_empty(analysis, value) for value in given)


def is_empty(analysis: Analysis, value: Value) -> bool:
    """Whether it is None, or a list that nothing is ever put into."""
    return bool(value) and all(
        atom in NONE or (isinstance(atom, Container) and not analysis.item_keys(atom.site))
        for atom in value
    )


def lower_ignored_modules(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """Modules that are written out become the set of their parameters."""
    if argument.node is None:
        raise NotNative("the ignored modules are known only at run time")
    if is_empty(site.analysis, argument.value):
        return parts
    node = argument.node
    if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
        raise NotNative("the ignored modules are known only at run time")
    return replace(parts, ignored=Ignored(_parameters(site, node.elts)))


def _parameters(site: WrapSite, modules: list[ast.expr]) -> Part:
    if len(modules) == 1 and not isinstance(modules[0], ast.Starred):
        return code("set({module}.parameters())", module=site.kept(modules[0]))
    items: tuple[Element, ...] = tuple(
        Starred(site.kept(item.value)) if isinstance(item, ast.Starred) else site.kept(item)
        for item in modules
    )
    return code(
        "{{{p} for {m} in ({items},) for {p} in {m}.parameters()}}",
        items=items,
        m=loop_variable("m"),
        p=loop_variable("p"),
    )


def lower_ignored_states(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """Parameters that are written out become a set; modules the set of their parameters.

    Raises:
        NotNative: it isn't seen which of the two they are, or which ones.
    """
    if argument.node is None or argument.value == NONE or is_empty(site.analysis, argument.value):
        return parts
    node = argument.node
    if isinstance(node, ast.Call) and _lists_parameters(site, node):
        return replace(parts, ignored=Ignored(code("set({all})", all=site.kept(node))))
    if isinstance(node, ast.List | ast.Tuple | ast.Set) and node.elts:
        kinds = {_kind(site.analysis, item) for item in node.elts}
        if kinds == {"parameter"}:
            items = tuple(site.kept(item) for item in node.elts)
            return replace(parts, ignored=Ignored(code("{{{items}}}", items=items)))
        if kinds == {"module"}:
            return replace(parts, ignored=Ignored(_parameters(site, node.elts)))
    raise NotNative("`ignored_states` may hold modules or parameters")


def _lists_parameters(site: WrapSite, node: ast.Call) -> bool:
    """Whether a call gives the parameters of a module."""
    made = node
    if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.Call):
        lists = {Symbol(f"builtins.{name}") for name in ("list", "set", "tuple")}
        if not site.analysis.value(node.func) or not site.analysis.value(node.func) <= lists:
            return False
        made = node.args[0]
    if not isinstance(made.func, ast.Attribute) or made.func.attr != "parameters" or made.args:
        return False
    return not made.keywords and _kind(site.analysis, made.func.value) == "module"


def _kind(analysis: Analysis, node: ast.expr) -> str:
    """Whether all that `node` can be are parameters, or modules; nothing if it is not known."""
    value = analysis.value(node)
    parameters = {a for a in value if isinstance(a, Result) and a.symbol in PARAMETERS}
    if value and parameters == value:
        return "parameter"
    modules = value and all(is_plain_module(a) or analysis.is_module(a) for a in value)
    return "module" if modules and not parameters else ""


def check_ignored(parts: Parts) -> None:
    """Whether the other arguments of the call go together with ignored modules.

    Raises:
        NotNative: they don't.
    """
    precision = parts.precision
    if parts.ignored is None or precision is None:
        return
    if precision.casts_buffers or (parts.units is not None and precision.children_cast):
        raise NotNative("inputs and buffers of ignored modules keep their dtype")
