"""What gives parameters of which only that is asked which is alike with FSDP1 and FSDP2."""

from __future__ import annotations

import ast

from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.alike import ALIKE
from fsdp_migrate.syntax.nodes import nodes_in

GOES_THROUGH = (ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp)


def asked_alike(facts: Facts) -> frozenset[ast.AST]:
    """The expressions of a program whose parameters are asked for their device or dtype alone."""
    every = facts.analysis.project.modules.values()
    nodes = [node for module in every for node in module.parents]
    asked = (n for n in nodes if isinstance(n, ast.Attribute) and n.attr in ALIKE)
    counted = (n.generators[0].iter for n in nodes if isinstance(n, GOES_THROUGH) and _counts(n))
    return frozenset((*(_first_of(node.value) for node in asked), *counted))


def _first_of(node: ast.expr) -> ast.expr:
    """`x` of `next(x)`, `next(iter(x))`, `list(x)[0]`; else the node itself."""
    while True:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            if not isinstance(node.value, ast.Call):
                return node
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id not in ("iter", "list", "next", "tuple"):
                return node
            node = node.args[0]
        else:
            return node


def _counts(node: ast.DictComp | ast.GeneratorExp | ast.ListComp | ast.SetComp) -> bool:
    """Whether it is `p.numel() for p in parameters`, or the like."""
    target = node.generators[0].target
    parameter = target.elts[-1] if isinstance(target, ast.Tuple) and target.elts else target
    if len(node.generators) > 1 or not isinstance(parameter, ast.Name):
        return False
    asked = {
        inner.value
        for inner in nodes_in(node)
        if isinstance(inner, ast.Attribute) and inner.attr in ALIKE
    }
    return all(
        inner in asked
        for inner in nodes_in(node)
        if isinstance(inner, ast.Name) and inner.id == parameter.id and inner is not parameter
    )
