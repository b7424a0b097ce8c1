"""Where a value that only the run knows comes from, in words for a finding."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.lowering.wrap_site import WrapSite
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

LONG = 40  # an expression that is longer is not repeated in a message


def origin(site: WrapSite, argument: Argument) -> str:
    """` (`cfg.strategy`, an attribute)`, or nothing where there is nothing to add."""
    if argument.node is None or isinstance(argument.node, ast.Constant):
        return ""
    text = site.module.text(argument.node)
    if len(text) > LONG or "\n" in text:
        return f" ({_kind(site.module, argument.node)})"
    return f" (`{text}`, {_kind(site.module, argument.node)})"


def _kind(module: Module, node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return _name(module, node)
    if isinstance(node, ast.Attribute):
        return "an attribute"
    if isinstance(node, ast.Subscript):
        return "a look-up"
    if isinstance(node, ast.Call):
        return "what a call returns"
    return "what an expression says"


def _name(module: Module, node: ast.Name) -> str:
    scope = scope_of(module, node)
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = nodes_in(scope.args)
        if any(isinstance(a, ast.arg) and a.arg == node.id for a in arguments):
            return f"a parameter of `{scope.name}`"
    bound = list(bindings(scope, node.id)) if scope is not None else []
    if len(bound) == 1 and isinstance(bound[0], ast.alias | ast.Import | ast.ImportFrom):
        return "imported"
    if len(bound) == 1 and isinstance(bound[0], ast.FunctionDef):
        return f"a function in line {bound[0].lineno}"
    places = sorted({n.lineno for n in bound if isinstance(n, ast.expr | ast.stmt)})
    if not places:
        return "a variable"
    lines = " and ".join(map(str, places[:2])) + (" and others" if len(places) > 2 else "")
    return f"a variable that is set in line{'s' if len(places) > 1 else ''} {lines}"
