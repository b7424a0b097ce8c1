"""Where the class of a model is asked for: `isinstance`, `type(m) is ...`, annotations."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from enum import Enum

from fsdp_migrate.analysis.values import Cls, Container, Symbol, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_flow import TESTS, fates, is_of_typing
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

TYPE_VARIABLES = frozenset({"ParamSpec", "TypeVar", "TypeVarTuple"})


class Place(Enum):
    """What a reference to a class is for."""

    TEST = "asked whether something is an instance of it, or annotates"
    COMPARISON = "compared with a class"
    BOTH = "passed on, to be asked for and for something else"
    KEY = "a key that something is found by"
    UNSEEN = "given to a library, which may ask for it and may call it"
    VALUE = "passed on, to be called or kept"


def place_of(facts: Facts, module: Module, node: ast.expr) -> Place:
    """What the reference to a class at `node` is for."""
    child: ast.AST = node
    for parent in module.ancestors(node):
        if isinstance(parent, ast.Call):
            tested = child in parent.args[1:] and symbols(facts.value(parent.func)) & TESTS
            if tested or is_of_typing(facts, parent.func):
                return Place.TEST
            return _passed_on(facts, module, node)
        if type(parent).__name__ in TYPE_VARIABLES:  # of Python 3.12
            return Place.TEST
        if isinstance(parent, ast.arg | ast.MatchClass):
            return Place.TEST
        if isinstance(parent, ast.Subscript) and child is parent.slice:
            holds = any(isinstance(a, Container) for a in facts.value(parent.value))
            return Place.KEY if holds else Place.TEST
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.BitOr):
            return Place.TEST
        if isinstance(parent, ast.Compare):
            return Place.COMPARISON
        if isinstance(parent, ast.stmt):
            in_place = _is_type_in(parent, child)
            return Place.TEST if in_place else _passed_on(facts, module, node)
        child = parent
    return Place.VALUE


def _passed_on(facts: Facts, module: Module, node: ast.expr) -> Place:
    """What a reference to a class is for that goes to where it is used under another name."""
    found = fates(facts, module, node)
    asked = found.is_asked_for
    if found.is_unseen:
        return Place.UNSEEN
    if found.is_looked_up:
        return Place.KEY
    if asked is None:
        return Place.BOTH
    return Place.TEST if asked else Place.VALUE


def _is_type_in(statement: ast.stmt, child: ast.AST) -> bool:
    """Whether `child` of a statement is an annotation, or in a tuple of classes to ask for."""
    if isinstance(statement, ast.AnnAssign):
        return child is statement.annotation
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return child is statement.returns
    return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple)


def are_classes(facts: Facts, nodes: Sequence[ast.expr]) -> bool:
    """Whether each of `nodes` (and there are some) is known to be a class."""
    values = [facts.value(node) for node in nodes]
    return bool(values) and all(
        value and all(isinstance(atom, Symbol | Cls) for atom in value) for value in values
    )


def asks_for_attribute(facts: Facts, call: ast.Call, name: str) -> bool:
    """Whether `call` is `hasattr(something, name)`."""
    return (
        symbols(facts.value(call.func)) == {"builtins.hasattr"}
        and len(call.args) == 2
        and literals(facts.value(call.args[1])) == [name]
    )


# ---------------------------------------------------------------------- type(m), m.__class__
def instance_asked(facts: Facts, node: ast.expr) -> ast.expr | None:
    """The object whose class `type(x)` or `x.__class__` is."""
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return node.value
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return node.args[0] if symbols(facts.value(node.func)) == {"builtins.type"} else None
    return None


def comparisons_of_name(facts: Facts, module: Module) -> Iterator[tuple[ast.Compare, ast.expr]]:
    """Comparisons of the name of an object's class with that of FSDP1's, and the object."""
    for node in module.parents:
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        asked = [s for s in sides if isinstance(s, ast.Attribute) and s.attr == "__name__"]
        if not asked or not any(is_class_name(facts, n) for s in sides for n in nodes_in(s)):
            continue
        instance = instance_asked(facts, asked[0].value)
        if instance is not None:
            yield node, instance


def is_class_name(facts: Facts, node: ast.AST) -> bool:
    """Whether `node` is the string that FSDP1's class has for a name."""
    return isinstance(node, ast.expr) and literals(facts.value(node)) == [short(FSDP1)]
