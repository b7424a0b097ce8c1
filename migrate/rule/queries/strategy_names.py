"""Where a program's own name of the sharding strategy can be asked for beside a window."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import bindings, definition, scope_of
from fsdp_migrate.analysis.values import Container, Instance, Result, Symbol, Unknown, Value
from fsdp_migrate.findings.code import Kept, Literal, Part, attribute, code
from fsdp_migrate.lowering.sharding_function import KEEP_UNSHARDED
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.running import callers
from fsdp_migrate.rule.queries.values import library_name
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

STRATEGY = f"{ROOT}.ShardingStrategy"
MEMBERS = ("FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "_HYBRID_SHARD_ZERO2")
PARSING = ("parse_args", "parse_known_args")
DEPTH = 4


@dataclass(frozen=True)
class Looked:
    """A strategy that is looked up by a name: where the name comes from, and those that keep."""

    module: Module
    key: ast.expr
    keeping: tuple[str, ...]


def released_if(use: Use, facts: Facts) -> Part | None:
    """The test of whether weights are given back after the forward, in words of the program's own
    that can be asked where `use` stands; None if there is none."""
    plans = [facts.plan(wrapped) for wrapped in use.wraps]
    if len(plans) != 1 or plans[0] is None:
        return None
    argument = plans[0].arguments.get("sharding_strategy")
    if argument is None or argument.node is None:
        return None
    home = facts.analysis.project.modules[plans[0].fact.site.module]
    if argument.node not in home.parents:
        return None
    found = _looked_up(facts, home, argument.node, 0)
    if found is None or not found.keeping:
        return None
    name = _in_scope(facts, use, found)
    if name is None:
        return None
    values = tuple(Literal(each) for each in found.keeping)
    if len(values) == 1:
        return code("{name} != {value}", name=name, value=values[0])
    return code("{name} not in ({values},)", name=name, values=values)


# ---------------------------------------------------------------------- where it is looked up
def _looked_up(facts: Facts, module: Module, node: ast.expr, depth: int) -> Looked | None:
    if depth > DEPTH:
        return None
    if isinstance(node, ast.Name):
        made = definition(module, node)
        return _looked_up(facts, module, made.value, depth + 1) if made is not None else None
    key, names = _lookup(facts, node)
    if key is None or names is None:
        return None
    keeping = tuple(sorted(name for name, member in names.items() if member in KEEP_UNSHARDED))
    place = _origin(facts, module, key, 0)
    return Looked(*place, keeping) if place is not None else None


def _lookup(facts: Facts, node: ast.expr) -> tuple[ast.expr | None, dict[str, str] | None]:
    """What a strategy is looked up by, and the members by their names."""
    if isinstance(node, ast.Subscript):
        value = facts.value(node.value)
        if value == frozenset({Symbol(STRATEGY)}):
            return node.slice, {name: name for name in MEMBERS}
        return node.slice, _table(facts, value)
    if isinstance(node, ast.Call) and len(node.args) == 2:
        is_getattr = library_name(facts.value(node.func)) == "builtins.getattr"
        if is_getattr and facts.value(node.args[0]) == frozenset({Symbol(STRATEGY)}):
            return node.args[1], {name: name for name in MEMBERS}
    return None, None


def _table(facts: Facts, value: Value) -> dict[str, str] | None:
    """The members in a dict display that nothing is added to, by their keys."""
    (atom,) = value if len(value) == 1 else (None,)
    if not isinstance(atom, Container) or atom.kind != "dict":
        return None
    module = facts.analysis.project.modules[atom.site.module]
    display = next(
        (n for n in module.parents if isinstance(n, ast.Dict) and module.site(n) == atom.site), None
    )
    if display is None or len(facts.analysis.item_keys(atom.site)) != len(display.keys):
        return None
    found: dict[str, str] = {}
    for key, each in zip(display.keys, display.values, strict=True):
        name = library_name(facts.value(each))
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            return None
        if name is None or not name.startswith(f"{STRATEGY}."):
            return None
        found[key.value] = short(name)
    return found


def _origin(
    facts: Facts, module: Module, key: ast.expr, depth: int
) -> tuple[Module, ast.expr] | None:
    """The attribute that the name is kept in, through the parameters that hand it on."""
    if isinstance(key, ast.Attribute):
        return (module, key) if path_of(key) is not None else None
    scope = scope_of(module, key) if isinstance(key, ast.Name) else None
    if not isinstance(key, ast.Name) or depth > DEPTH or not isinstance(scope, ast.FunctionDef):
        return None
    bound = list(bindings(scope, key.id))
    names = [parameter.arg for parameter in scope.args.args]
    calls = callers(facts, module, scope)
    if len(bound) != 1 or key.id not in names or len(calls) != 1:
        return None
    (home, call), index = calls[0], names.index(key.id)
    named = [keyword.value for keyword in call.keywords if keyword.arg == key.id]
    given = [*named, *call.args[index : index + 1]]
    return _origin(facts, home, given[0], depth + 1) if given else None


# ---------------------------------------------------------------------- where it is asked for
def _in_scope(facts: Facts, use: Use, found: Looked) -> Part | None:
    """The same attribute of the same object, as it is called where `use` stands."""
    attributes: list[str] = []
    node = found.key
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    if _is_set(facts, attributes[0]):
        return None
    for name in _names_near(use):
        if isinstance(node, ast.Name) and name.id == node.id:
            if _is_one(facts, facts.value(name) & facts.value(node)):
                new: Part = Kept(use.module.span(name))
                for each in reversed(attributes):
                    new = attribute(new, each)
                return new
    return None


def _names_near(use: Use) -> Iterator[ast.Name]:
    """The variables of the function around `use`, its parameters or what is bound above it."""
    function = use.module.function(use.node)
    while isinstance(function, ast.Lambda):
        function = use.module.function(function)
    for node in nodes_in(function or use.module.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.lineno <= use.node.lineno or _is_parameter(function, node.id):
                yield node


def _is_parameter(function: ast.AST | None, name: str) -> bool:
    arguments = getattr(function, "args", None)
    return isinstance(arguments, ast.arguments) and any(
        isinstance(node, ast.arg) and node.arg == name for node in nodes_in(arguments)
    )


def _is_one(facts: Facts, value: Value) -> bool:
    """Whether it can be one object only: of a class or a call, or what the command line gave."""
    (atom,) = value if len(value) == 1 else (None,)
    if isinstance(atom, Unknown) and any(name in atom.reason for name in PARSING):
        calls = facts.analysis.call_nodes.values()
        parsed = [c for c in calls if getattr(c.func, "attr", "") in PARSING]
        return len(parsed) == 1
    return isinstance(atom, Instance | Result)


def _is_set(facts: Facts, name: str) -> bool:
    """Whether an attribute of that name is set on its own in more than one place."""
    stores = [
        node
        for module in facts.analysis.project.modules.values()
        for node in module.parents
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)
    ]
    return len(stores) > 1
