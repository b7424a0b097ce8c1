"""Wrap policies in a list that the program fills, all of which `_or_policy` asks.

    policies = [by_block]
    if lora:
        policies.append(by_gradient)
    return functools.partial(_or_policy, policies=policies)

The list stays, of what the policies become, and so does what fills it.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Mapping

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import bindings, scope_of
from fsdp_migrate.analysis.values import NONE, Atom, Container, Partial, Symbol
from fsdp_migrate.findings.code import Kept, Part, Starred, code, either, loop_variable
from fsdp_migrate.lowering.condition import UNIT
from fsdp_migrate.lowering.policy_unions import PARAMETER
from fsdp_migrate.lowering.value_flow import ValueFlow
from fsdp_migrate.lowering.wrap_policy import OR
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

POLICY = loop_variable("policy", "asked")
CLASSES, CLASS = loop_variable("classes"), loop_variable("cls", "each")
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp)


def listed_policies(analysis: Analysis, node: ast.expr) -> ast.expr | None:
    """The list that `node`, a partial of `_or_policy`, is given."""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or len(node.keywords) != 1:
        return None
    known = analysis.value(node.func) == {Symbol("functools.partial")}
    asks = analysis.value(node.args[0]) == {Symbol(OR)} and node.keywords[0].arg == PARAMETER
    return node.keywords[0].value if known and asks else None


def asked_in_lists(flow: ValueFlow, written: Iterable[ast.AST]) -> Mapping[Atom, frozenset[Atom]]:
    """The policies that each union of a list may ask, but for unions `written` out."""
    found: dict[Atom, frozenset[Atom]] = {}
    out = frozenset(written)
    for place in flow.places([Symbol(OR)]):
        made = place.module.parents[place.node]
        listed = listed_policies(flow.analysis, made) if isinstance(made, ast.expr) else None
        if listed is not None and made not in out:
            found[Partial(place.module.site(made))] = items_of(flow.analysis, listed)
    return found


def items_of(analysis: Analysis, listed: ast.expr) -> frozenset[Atom]:
    """What a list may hold."""
    lists = [a for a in analysis.value(listed) if isinstance(a, Container)]
    return frozenset[Atom]().union(*(analysis.parts(a) for a in lists))


def joined(
    groups: Iterable[frozenset[Atom]], asked: Mapping[Atom, frozenset[Atom]]
) -> Iterator[frozenset[Atom]]:
    """`groups`, where a union is in one with all that it asks."""
    left = list(groups)
    for union, items in asked.items():
        together = [g for g in left if union in g or not g.isdisjoint(items)]
        left = [g for g in left if g not in together]
        if together:
            left.append(frozenset[Atom]().union(*together))
    yield from left


def check_items(analysis: Analysis, module: Module, node: ast.Call, atoms: frozenset[Atom]) -> None:
    """See to it that all that the list of a union may hold is seen.

    Raises:
        NotNative: it may hold something else than the policies `atoms`.
    """
    listed = node.keywords[0].value
    said = " ".join(module.text(listed).split())
    value = analysis.value(listed)
    items = items_of(analysis, listed)
    if not items or not all(isinstance(a, Container) and a.kind != "dict" for a in value):
        raise NotNative(f"what `{said}` holds is known only at run time")
    if items - atoms - NONE:
        raise NotNative(f"`{said}` may hold something else than wrap policies")


def _displayed(listed: ast.expr) -> list[ast.expr] | None:
    """The items of a list that is written out."""
    return listed.elts if isinstance(listed, ast.List | ast.Tuple | ast.Set) else None


def _check_kept(module: Module, node: ast.Call, names: Iterable[ast.expr]) -> None:
    """See to it that variables mean the same when a policy is made, and whenever it is asked.

    Raises:
        NotNative: one may not.
    """
    for name in names:
        if not isinstance(name, ast.Name) or _changes(module, node, name):
            what = f"`{module.text(name)}`"
            raise NotNative(f"{what} may be something else when a wrap policy asks for it")


def _changes(module: Module, node: ast.Call, name: ast.Name) -> bool:
    """Whether a variable may be bound again, or its value be given to others, below a policy."""
    scope = scope_of(module, name)
    if scope is None or scope is not module.scope(node) or not any(bindings(scope, name.id)):
        return True
    statement = module.statement(node)
    around = itertools.takewhile(lambda outer: outer is not scope, module.ancestors(node))
    if any(isinstance(outer, _LOOPS) for outer in around):
        return True
    uses = (n for n in nodes_in(scope) if isinstance(n, ast.Name) and n.id == name.id)
    end = statement.end_lineno or statement.lineno
    return any(
        use.lineno > end or (use.lineno >= statement.lineno and isinstance(use.ctx, ast.Store))
        for use in uses
    )


def union_of_classes(module: Module, node: ast.Call) -> Part:
    """The classes of all policies of a list, as a tuple.

    Raises:
        NotNative: the list may change later.
    """
    listed = node.keywords[0].value
    written = _displayed(listed)
    if written is not None and not any(isinstance(item, ast.Starred) for item in written):
        return code("({items},)", items=tuple(Starred(Kept(module.span(i))) for i in written))
    _check_kept(module, node, [listed])
    return code(
        "tuple({cls} for {classes} in {listed} for {cls} in {classes})",
        cls=CLASS,
        classes=CLASSES,
        listed=Kept(module.span(listed)),
    )


def union_of_predicates(module: Module, node: ast.Call) -> Part:
    """The test of whether a policy of a list holds for a module.

    Raises:
        NotNative: the list, or a variable in it, may change later.
    """
    listed = node.keywords[0].value
    written = _displayed(listed)
    _check_kept(module, node, written if written is not None else [listed])
    if written is not None:
        kept = (Kept(module.span(item)) for item in written)
        return either(*(code("{asked}({unit})", asked=each, unit=UNIT) for each in kept))
    return code(
        "any({policy}({unit}) for {policy} in {listed})",
        policy=POLICY,
        unit=UNIT,
        listed=Kept(module.span(listed)),
    )
