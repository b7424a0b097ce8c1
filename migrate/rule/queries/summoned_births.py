"""Parameters that come into `summon_full_params` from outside, or go out of it.

FSDP1 made the parameters themselves whole for a while, whoever held them.  Under FSDP2 something
else is whole: copies that are gathered, or that the shim puts into the modules.  A parameter that
was asked for outside stays a shard inside, and what was asked for inside stays whole outside.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from fsdp_migrate.analysis.library_results import parts_given
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Const,
    Container,
    Func,
    Method,
    Params,
    Result,
    Wrapped,
    symbols,
)
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.alike import ALIKE
from fsdp_migrate.rule.queries.parameters import modules
from fsdp_migrate.rule.queries.uniform import is_uniform
from fsdp_migrate.rule.stores import KEEP
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

HOLDERS = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)
PASSING = (
    ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.IfExp, ast.NamedExpr, ast.ListComp,
    ast.SetComp, ast.GeneratorExp, ast.DictComp, ast.Assign, ast.AnnAssign, ast.Return, ast.Yield,
    ast.Expr,
)  # fmt: skip
# Functions that look at no value of what they are given.
BLIND = frozenset(
    f"builtins.{name}"
    for name in (
        "dict", "enumerate", "getattr", "hasattr", "id", "isinstance", "iter", "len", "list",
        "reversed", "set", "setattr", "tuple", "type", "zip",
    )
)  # fmt: skip
LEAVING = (ast.Break, ast.Continue, ast.Return, ast.Raise)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
CONDITIONAL = (
    ast.If, ast.IfExp, ast.BoolOp, ast.While, ast.Try, ast.Match, ast.Lambda, ast.AsyncFor,
    ast.FunctionDef, ast.comprehension,
)  # fmt: skip
SHORT = frozenset({"builtins.any", "builtins.all", "builtins.next"})  # may stop before the end
PAIRING = frozenset({"builtins.enumerate", "builtins.reversed", "builtins.list", "builtins.zip"})
SETS = frozenset({"add", "update"})
OPTIMIZERS = "torch.optim."
OWN = ("builtins.", "collections.", "functools.", "itertools.", "torch.")  # keep no parameters, or
QUIET = frozenset({"cpu", "cuda", "load_state_dict", "state_dict", "to"})  # look at none of them


@dataclass(frozen=True, eq=False)
class Births:
    """Where parameters are met on the other side than where they were asked for."""

    strangers: tuple[tuple[Module, ast.expr], ...]  # inside, and their values are read
    kept: dict[Site, ast.expr]  # outside, by where inside they were asked for
    views: dict[Site, ast.expr]  # the same of views, by where they were made


@lru_cache(maxsize=1)
def births(facts: Facts) -> Births:
    """Those of a program."""
    strangers: list[tuple[Module, ast.expr]] = []
    kept: dict[Site, ast.expr] = {}
    views: dict[Site, ast.expr] = {}
    if any(use.name.endswith("summon_full_params") for use in facts.uses):
        for module in modules(facts):
            for node in module.parents:
                if not isinstance(node, HOLDERS) or _is_written_to(node):
                    continue
                found = {site for a in _parameters(facts, module, node) if (site := a.born)}
                inside = found and facts.sharded.gathered.ever(module, node)
                if _is_read_there(facts, module, node, bool(inside)):
                    strangers.append((module, node))
                elif inside and _trains(facts, module, node):
                    kept |= {site: node for site in found if facts.sharded.gathered.at(site)[0]}
                elif not inside:
                    whole = {site for site in found if facts.sharded.gathered.at(site)[0]}
                    kept |= dict.fromkeys(whole - kept.keys(), node)
                new = set(_views(facts, node)) - views.keys()
                if new and not facts.sharded.gathered.ever(module, node):
                    views |= dict.fromkeys(new, node)
    return Births(tuple(strangers), kept, views)


def _views(facts: Facts, node: ast.expr) -> Iterator[Site]:
    """Where views were made inside that `node`, which stands outside, can be or hold."""
    for atom in facts.sharded.held(node):
        made = None
        if isinstance(atom, Params) and not atom.copied:
            made = atom.made
        elif isinstance(atom, Method) and isinstance(atom.receiver, Params) and atom.name == "data":
            made = atom.receiver.born if atom.receiver.made is None else None
        if made is not None and facts.sharded.gathered.at(made)[0]:
            yield made


def is_stranger(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether `node`, which stands inside, can be one parameter that was asked for outside."""
    return any(
        atom.kind == "one" and atom.born and _is_from_outside(facts, module, node, atom.born)
        for atom in _own(facts, module, node)
    )


def _is_from_outside(facts: Facts, module: Module, node: ast.expr, born: Site) -> bool:
    """Whether parameters that `node` can be were asked for where they weren't whole yet.

    What a context of its own made whole is so no more when that is left.
    """
    gathered = facts.sharded.gathered
    return not gathered.at(born)[1] or gathered.are_apart(module, node, born)


def _is_read_there(facts: Facts, module: Module, node: ast.expr, inside: bool) -> bool:
    """Whether `node` stands inside, and looks at parameters that aren't asked for there."""
    if _asks_holder(facts, node):
        return facts.sharded.gathered.ever(module, node)
    return inside and is_stranger(facts, module, node) and reads(facts, module, node)


def _asks_holder(facts: Facts, node: ast.expr) -> bool:
    """Whether `ema.update()` runs: a library's object that was given parameters, and now isn't."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr in QUIET or any(map(_holds_parameters(facts), parts_given(node))):
        return False
    for atom in facts.value(node.func.value):
        if isinstance(atom, Result) and not atom.symbol.startswith(OWN):
            made = facts.analysis.call_nodes.get(atom.site)
            if made is not None and any(map(_holds_parameters(facts), parts_given(made))):
                return True
    return False


def _holds_parameters(facts: Facts) -> Callable[[ast.expr], bool]:
    """Tells of an expression whether it is parameters themselves, or a list with some."""
    return lambda node: any(
        isinstance(a, Params) and a.made is None and a.kind != "name"
        for a in facts.sharded.held(node)
    )


def _own(facts: Facts, module: Module, node: ast.expr) -> Iterator[Params]:
    """The sharded parameters that `node` itself can be, copies and views apart."""
    for atom in facts.value(node):
        if isinstance(atom, Params) and _is_sharded(facts, module, node, atom):
            yield atom


def _parameters(facts: Facts, module: Module, node: ast.expr) -> Iterator[Params]:
    """The sharded parameters that `node` can be, or hold."""
    for atom in facts.sharded.held(node):
        if isinstance(atom, Params) and _is_sharded(facts, module, node, atom):
            yield atom


def _is_sharded(facts: Facts, module: Module, node: ast.expr, atom: Params) -> bool:
    if atom.made is not None or atom.kind == "name":
        return False
    return bool(facts.sharded.wraps_of(module, node, atom))


def _trains(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether an optimizer is given `node`, and keeps it as long as it lives."""
    parent = module.parents[node]
    names = symbols(facts.value(parent.func)) if isinstance(parent, ast.Call) else set()
    return any(name.startswith(OPTIMIZERS) for name in names)


def _is_written_to(node: ast.expr) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def reads(facts: Facts, module: Module, node: ast.expr) -> bool:
    """Whether the values of the parameter `node` are looked at, and not just handed on."""
    parent = module.parents[node]
    if isinstance(parent, ast.Attribute):
        return parent.attr not in ALIKE
    if isinstance(parent, ast.Compare):
        return not all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in parent.ops)
    if isinstance(parent, ast.keyword):
        parent = module.parents[parent]
    if isinstance(parent, ast.Call):
        return not _hands_on(facts, parent)
    return not isinstance(parent, PASSING)


def _hands_on(facts: Facts, call: ast.Call) -> bool:
    """Whether a call keeps what it is given, or hands it to code that is looked at itself."""
    callee = facts.value(call.func)
    names = symbols(callee)
    if names:
        return all(name in BLIND or name.startswith(OPTIMIZERS) for name in names)
    if callee and all(isinstance(atom, Func | Bound | Cls) for atom in callee):
        return True
    return bool(callee) and all(_keeps(atom) for atom in callee)


def _keeps(atom: Atom) -> bool:
    """Whether a function is a list's or a dict's own, which keeps what it is given."""
    return (
        isinstance(atom, Method)
        and isinstance(atom.receiver, Container)
        and atom.name in KEEP.keys() | SETS
    )


# ---------------------------------------------------------------------- one context
def strangers_in(facts: Facts, module: Module, statement: ast.With | None) -> list[ast.expr]:
    """The parameters from outside that are read in a statement, or in no statement of its kind."""
    found = births(facts).strangers
    if statement is None:
        return [node for _, node in found]
    inside = {node for each in statement.body for node in nodes_in(each)}
    return [
        node
        for home, node in found
        if node in inside or not facts.sharded.gathered.stands_in_one(home, node)
    ]


def models_read(facts: Facts, module: Module, node: ast.expr) -> frozenset[Wrapped]:
    """The models that `node` can be a sharded parameter of."""
    found = (facts.sharded.wraps_of(module, node, atom) for atom in facts.value(node))
    return frozenset[Wrapped]().union(*found)


def kept_of(facts: Facts, module: Module, statement: ast.With | None) -> dict[Site, ast.expr]:
    """The parameters that leave a statement, by where they are asked for, and where they end up."""
    kept = births(facts).kept
    if statement is None:
        return kept
    inside = {module.site(node) for each in statement.body for node in nodes_in(each)}
    return {
        site: node
        for site, node in kept.items()
        if site in inside or not facts.sharded.gathered.stands_at(site)
    }


def views_of(facts: Facts, module: Module, statement: ast.With | None) -> list[ast.expr]:
    """Where views of parameters are used that were made in a statement, and outlive it."""
    inside = {
        module.site(n) for each in (statement.body if statement else ()) for n in nodes_in(each)
    }
    return [
        node
        for site, node in births(facts).views.items()
        if statement is None or site in inside or not facts.sharded.gathered.stands_at(site)
    ]


def is_read_inside(facts: Facts, module: Module, statement: ast.With, site: Site) -> bool:
    """Whether a statement looks at the values of the parameters that are asked for at `site`."""
    for each in statement.body:
        for node in nodes_in(each):
            if isinstance(node, HOLDERS) and not _is_written_to(node):
                found = [a for a in _parameters(facts, module, node) if a.born == site]
                ones = any(atom.kind == "one" for atom in found) and _is_one(facts, node)
                if ones and reads(facts, module, node):
                    return True
                parent = module.parents[node]
                if found and not ones and isinstance(parent, ast.Call) and parent.func is not node:
                    if not _hands_on(facts, parent):
                        return True
    return False


def _is_one(facts: Facts, node: ast.expr) -> bool:
    return any(isinstance(a, Params) and a.kind == "one" for a in facts.value(node))


def is_gathered_alone(facts: Facts, module: Module, statement: ast.With, node: ast.expr) -> bool:
    """Whether `node` is a parameter from outside and nothing else, and every rank comes to it."""
    atoms = facts.value(node)
    if not all(isinstance(a, Params) and a.kind == "one" and a.made is None for a in atoms):
        return False
    births = [atom.born for atom in atoms if isinstance(atom, Params)]
    if not all(born and _is_from_outside(facts, module, node, born) for born in births):
        return False
    if not is_surely_sharded(facts, node) and path_of(node) is None:
        return False
    child: ast.AST = node
    for around in module.ancestors(node):
        if around is statement:
            return True
        if isinstance(around, ast.For):
            leaves = any(isinstance(inner, LEAVING) for inner in nodes_in(around))
            if leaves or not _is_even(facts, module, around.iter):
                return False
        elif isinstance(around, COMPREHENSIONS):
            if not all(not g.ifs and _is_even(facts, module, g.iter) for g in around.generators):
                return False
            call = module.parents[around]
            if isinstance(call, ast.Call) and symbols(facts.value(call.func)) & SHORT:
                return False
        elif isinstance(around, CONDITIONAL) and child is not getattr(around, "test", None):
            return False
        child = around
    return False


def is_surely_sharded(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` was asked of FSDP models: one of a module's may be another object's."""
    return all(isinstance(a, Params) and isinstance(a.owner, Wrapped) for a in facts.value(node))


def _is_even(facts: Facts, module: Module, items: ast.expr) -> bool:
    """Whether every rank goes through as many: lists of parameters, or what is the same on all."""
    if isinstance(items, ast.Call) and symbols(facts.value(items.func)) & PAIRING:
        return all(_is_even(facts, module, argument) for argument in items.args)
    held = facts.sharded.held(items)
    if any(isinstance(a, Params) for a in held):
        return all(isinstance(a, Params | Container | Const | Method) for a in facts.value(items))
    holds = facts.value(items)
    if holds and all(isinstance(a, Container) and a.site.end_col < 0 for a in holds):
        return True  # an optimizer's groups
    return is_uniform(facts, module, items)
