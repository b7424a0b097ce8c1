"""Every place of the program that is FSDP1's business, found by value and not by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.classes import has_method
from fsdp_migrate.analysis.library.fsdp1 import OWN_METHODS
from fsdp_migrate.analysis.values import (
    NONE,
    Atom,
    Container,
    Instance,
    Result,
    Symbol,
    Value,
    Wrapped,
    symbols,
)
from fsdp_migrate.rule.facts import Use
from fsdp_migrate.rule.maybe_models import (
    SHARED,
    TELLING,
    handed_models,
    may_be_model,
    possible_models,
)
from fsdp_migrate.rule.parts import Parts
from fsdp_migrate.syntax.fsdp1_members import ATTRIBUTES
from fsdp_migrate.syntax.fsdp1_names import FSDP1, is_fsdp1, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

PLUGIN = "FullyShardedDataParallelPlugin"  # of Accelerate
# Methods of a plain module that reach the FSDP models inside it.
HOLDER_METHODS = frozenset({"load_state_dict", "state_dict"})
# Methods that are sometimes called through the class, with the model as the first argument.
INSTANCE_METHODS = frozenset(
    {
        "apply", "check_is_root", "clip_grad_norm_", "forward", "load_state_dict", "no_sync",
        "register_comm_hook", "state_dict",
    }
)  # fmt: skip


def find_uses(
    analysis: Analysis,
    parts: Parts,
    methods: frozenset[str],
    symbols: frozenset[str] = frozenset(),
) -> Iterator[Use]:
    """The uses in the files that may be rewritten, in the order of the source.

    `symbols` are names of other libraries (and what is below them) that count as well.
    """
    for module in analysis.project.modules.values():
        if module.rewrite:
            yield from sorted(
                _uses_in(analysis, parts, module, methods, symbols),
                key=lambda use: (use.node.lineno, use.node.col_offset),
            )


def _uses_in(
    analysis: Analysis,
    parts: Parts,
    module: Module,
    methods: frozenset[str],
    symbols: frozenset[str],
) -> Iterator[Use]:
    for node in nodes_in(module.tree):
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        name = _name_of(analysis.value(node), symbols)
        if name is not None:
            parent = module.parents.get(node)
            if isinstance(parent, ast.Attribute) and _name_of(analysis.value(parent), symbols):
                continue  # the longer name is the reference
            yield _unbound(analysis, module, node, name) or Use(
                module, node, name, call=_call_of(module, node)
            )
        elif isinstance(node, ast.Attribute) and node.attr in methods:
            use = _method_use(analysis, parts, module, node)
            if use is not None:
                yield use


def _name_of(value: Value, symbols: frozenset[str]) -> str | None:
    """The FSDP1 name, or the name at or below one of `symbols`, that a value is; or None."""
    name = symbol_of(value)
    if name is None:
        names = {a.name for a in value - NONE if isinstance(a, Symbol)}
        if len(names) == 1 and len(value - NONE) == 1 and _is_below(min(names), symbols):
            return names.pop()
    return name


def _is_below(name: str, symbols: frozenset[str]) -> bool:
    while name and name not in symbols:
        name = name.rpartition(".")[0]
    return bool(name)


def symbol_of(value: Value) -> str | None:
    """The FSDP1 name that a value is (where an import is guarded, also None), or None."""
    names = {a.name for a in value if isinstance(a, Symbol) and is_fsdp1(a.name)}
    rest = [a for a in value - NONE if not (isinstance(a, Symbol) and a.name in names)]
    if len(names) == 1 and not rest:
        return names.pop()
    return None


def _unbound(
    analysis: Analysis, module: Module, node: ast.Name | ast.Attribute, name: str
) -> Use | None:
    """`FSDP.no_sync(model)` as the use of a method of `model`, which must be FSDP's then."""
    call = _call_of(module, node)
    owner, _, method = name.rpartition(".")
    if owner != FSDP1 or method not in INSTANCE_METHODS or call is None or not call.args:
        return None
    if isinstance(call.args[0], ast.Starred):
        return None
    receiver = call.args[0]
    wraps, _ = split(analysis, analysis.value(receiver))
    wraps = wraps or frozenset({Wrapped(None)})
    return Use(module, node, method, call, receiver, wraps, unbound=True)


def _call_of(module: Module, node: ast.AST) -> ast.Call | None:
    parent = module.parents.get(node)
    return parent if isinstance(parent, ast.Call) and parent.func is node else None


def _method_use(
    analysis: Analysis, parts: Parts, module: Module, node: ast.Attribute
) -> Use | None:
    base = analysis.value(node.value)
    wraps, others = split(analysis, base)
    possible = possible_models(analysis, base)
    call = _call_of(module, node)
    if not wraps and node.attr in HOLDER_METHODS:
        wraps, others = held(analysis, base), frozenset()
        owners = wraps or parts.owners(module, node.value)
        if not wraps and owners:
            return Use(module, node, node.attr, call, node.value, owners, is_part=True)
    if wraps:
        kept = others_with(analysis, others, node.attr)
        return Use(module, node, node.attr, call, node.value, wraps | possible, kept)
    if node.attr in (TELLING | SHARED if analysis.wraps else _told_by_plugin(analysis, node.attr)):
        if may_be_model(analysis, module, node, call):
            return Use(module, node, node.attr, call, node.value, possible, base)
    if node.attr in ATTRIBUTES and (handed := handed_models(analysis, base)):
        return Use(module, node, node.attr, call, node.value, handed, base)
    return None


def _told_by_plugin(analysis: Analysis, name: str) -> frozenset[str]:
    """The methods that show a model where nothing but Accelerate's plugin of FSDP makes any."""
    if name not in TELLING or not any(
        short(symbol) == PLUGIN
        for call in analysis.call_nodes.values()
        for symbol in symbols(analysis.value(call.func))
    ):
        return frozenset()
    return TELLING


def held(analysis: Analysis, value: Value) -> frozenset[Wrapped]:
    """The FSDP models inside the plain modules that `value` can be."""
    found: set[Wrapped] = set()
    seen: set[Atom] = set()
    todo = [a for a in value if analysis.is_module(a) or isinstance(a, Result)]
    while todo:
        atom = todo.pop()
        if atom in seen:
            continue
        seen.add(atom)
        for part in analysis.parts(atom):
            if isinstance(part, Wrapped):
                found.add(part)
            elif isinstance(part, Instance | Result | Container):
                todo.append(part)
    return frozenset(found)


def split(analysis: Analysis, value: Value) -> tuple[frozenset[Wrapped], Value]:
    """The FSDP models that `value` can be, and what else it can be.

    The module that a wrap is given counts as the model: after the migration they are one
    object.  None doesn't count: whatever is done to the model would fail on it.
    """
    wraps = frozenset(a for a in value if isinstance(a, Wrapped))
    inner: set[Atom] = set()
    for wrapped in wraps:
        if wrapped.site is not None and wrapped.site in analysis.wraps:
            inner |= analysis.wraps[wrapped.site].inner
        elif wrapped.site is None:
            inner |= {a for a in value if analysis.is_module(a)}
    return wraps, frozenset(value - wraps - inner - NONE)


def others_with(analysis: Analysis, others: Value, attr: str) -> Value:
    """Those of `others` that can have the method `attr`."""
    return frozenset(atom for atom in others if _has(analysis, atom, attr))


def _has(analysis: Analysis, atom: Atom, attr: str) -> bool:
    """Whether `atom` can have the method at all; if not, it is not what is called here."""
    return attr not in OWN_METHODS or has_method(analysis, atom, attr) is not False
