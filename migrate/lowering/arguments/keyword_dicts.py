"""`FSDP(model, **kwargs)`, where the dict is written out and nothing else reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition, removable
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.solver import OUTSIDE
from fsdp_migrate.analysis.values import Container, Symbol
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.lowering.followed import followed, is_same
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.nodes import nodes_in

THROUGH = "arguments come in through `**`"
# What FSDP2 does by itself, whatever it is.
UNSEEN = frozenset(
    {"backward_prefetch", "device_id", "forward_prefetch", "limit_all_gathers", "use_orig_params"}
)


@dataclass(frozen=True)
class Written:
    """The arguments of a call with the nodes that say what they are, and where those were found."""

    arguments: Mapping[str, Argument]
    absorbed: tuple[Definition, ...] = ()


def written_arguments(analysis: Analysis, fact: WrapFact) -> Written:
    """The arguments of a call, with those of a dict that it spreads.

    Raises:
        NotNative: they are not all to be seen.
    """
    if fact.contexts and fact.direct:
        return _of_context(analysis, fact)
    arguments = dict(fact.arguments)
    absorbed: list[Definition] = []
    for keyword in fact.node.keywords:
        if keyword.arg is not None:
            continue
        node = keyword.value
        if isinstance(node, ast.Name):
            found = followed(fact.module, node)
            if found is None or not removable(
                analysis, fact.module, found, _spread(analysis, fact)
            ):
                if _says_nothing(analysis, fact, node):
                    continue
                raise NotNative(THROUGH)
            node = found.value
            absorbed.append(found)
        for name, value in _items(analysis, node):
            if name in arguments:
                arguments[name] = replace(arguments[name], node=value)
    if any(isinstance(argument, ast.Starred) for argument in fact.node.args):
        raise NotNative("arguments come in through `*`")
    return Written(arguments, tuple(absorbed))


def is_from_outside(analysis: Analysis, fact: WrapFact) -> bool:
    """Whether what isn't known of a call is what callers outside of the program pass."""
    if any(isinstance(argument, ast.Starred) for argument in fact.node.args):
        return False
    spread = [a for k in fact.node.keywords if k.arg is None for a in analysis.value(k.value)]
    return bool(spread) and all(
        isinstance(atom, Container) and analysis.heap.read("item", atom.site, ANY) <= OUTSIDE
        for atom in spread
    )


def _says_nothing(analysis: Analysis, fact: WrapFact, spread: ast.Name) -> bool:
    """Whether a dict, all of whose keys are known, has none that means anything to FSDP2."""
    value = analysis.value(spread)
    dicts = [atom for atom in value if isinstance(atom, Container) and atom.kind == "dict"]
    keys = {key for atom in dicts for key in analysis.item_keys(atom.site)}
    return bool(dicts) and len(dicts) == len(value) and not fact.opaque and keys <= UNSEEN


def _of_context(analysis: Analysis, fact: WrapFact) -> Written:
    """The arguments of a call of `wrap`, some of which are those of the context around it.

    Raises:
        NotNative: one that matters isn't written where its words mean the same at the call.
    """
    (context,) = fact.contexts
    arguments = dict(fact.arguments)
    if any(isinstance(argument, ast.Starred) for argument in fact.node.args):
        raise NotNative("arguments come in through `*`")
    absorbed: list[Definition] = []
    assert context is not None
    for keyword in context.keywords if context in fact.module.parents else ():
        spread = keyword.value
        found = followed(fact.module, spread) if isinstance(spread, ast.Name) else None
        written = found.value if found is not None else spread
        if keyword.arg is None and _is_written(analysis, written):
            for name, value in _items(analysis, written):
                if name in arguments and arguments[name].node is None:
                    arguments[name] = replace(arguments[name], node=value)
            absorbed += [found] if found is not None else []
    for name, argument in arguments.items():
        node = argument.node
        if node is not None and not _means_the_same(fact, node):
            arguments[name] = replace(argument, node=None)
        if arguments[name].node is None and name not in UNSEEN:
            raise NotNative(f"`{name}` comes from the context around `wrap`, out of reach")
    return Written(arguments, tuple(absorbed))


def _means_the_same(fact: WrapFact, node: ast.expr) -> bool:
    """Whether an argument of a context is the same at the call inside."""
    names = (n for n in nodes_in(node) if isinstance(n, ast.Name))
    return all(is_same(fact.module, name, fact.node) for name in names)


def _is_written(analysis: Analysis, node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return analysis.value(node.func) == {Symbol("builtins.dict")}
    return isinstance(node, ast.Dict)


def _spread(analysis: Analysis, fact: WrapFact) -> set[ast.AST]:
    """The names that wrap calls of the same file, and partials of them, spread with `**`."""
    facts = [other for other in analysis.wraps.values() if other.module is fact.module]
    calls = [fact.node, *(other.node for other in facts if other.direct)]
    calls += [analysis.call_nodes[site] for other in facts for site in other.partials]
    return {k.value for call in calls for k in call.keywords if k.arg is None}


def _items(analysis: Analysis, node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The items of a dict display or a `dict(...)` call."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise NotNative(THROUGH)
            yield key.value, value
    elif isinstance(node, ast.Call) and analysis.value(node.func) == {Symbol("builtins.dict")}:
        if node.args or any(k.arg is None for k in node.keywords):
            raise NotNative(THROUGH)
        yield from ((str(k.arg), k.value) for k in node.keywords)
    else:
        raise NotNative(THROUGH)
