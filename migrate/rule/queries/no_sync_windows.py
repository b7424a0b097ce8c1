"""Windows without gradient synchronisation: where `no_sync` is entered, and what is read in it.

FSDP2 has a flag in the place of the context manager, and reads it in the backward pass alone.
Two things that the context manager did for any program need not be written down for most:
the flag need not be set again where no backward pass runs outside of such windows, and an
exception may leave it as it is where nothing catches exceptions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.values import Result, Symbol, Wrapped
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.last_rounds import holds_at_last
from fsdp_migrate.rule.queries.no_sync_contexts import Window, find_window, is_repeatable
from fsdp_migrate.rule.queries.no_sync_returns import Provider, find_provider
from fsdp_migrate.rule.queries.running import (
    enclosing_contexts,
    ends_early,
    is_caught,
    runs_inside,
    runs_once,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

BACKWARD = frozenset({"backward", "manual_backward"})  # methods, and functions of libraries
GRADIENTS = "torch.autograd.grad"
# Libraries that train no model which they are given.
HARMLESS = ("torch.", "builtins.", "contextlib.", "copy.", "functools.", "itertools.")


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a program that are simple enough to do without a context manager."""

    by_use: Mapping[Use, Window]
    providers: Mapping[Use, Provider]  # functions that can set the flag where they are called
    staying: frozenset[Use]
    guarded: frozenset[ast.With]  # what follows them could be skipped, and the program go on

    def stays(self, window: Window | Provider) -> bool:
        """Whether every backward pass of the program sets the flag of the window's model first."""
        return window.use in self.staying


def find_windows(facts: Facts) -> Windows:
    """The windows of the program."""
    entered = list(_entered(facts))
    marked = [replace(window, idle=_is_idle(window, entered)) for window in entered]
    # A window inside of another one would put back what that one has set.
    apart = [w for w in marked if w.idle or not may_be_nested(w.use, facts)]
    guarded = frozenset(_guarded(facts, apart))
    providers = [p for p in _providers(facts) if p.entries and p.can_set_flags]
    while True:
        setting: list[Window | Provider] = [*(w for w in apart if not w.idle), *providers]
        windows = Windows(
            {window.use: window for window in apart},
            {provider.use: provider for provider in providers},
            frozenset(_staying(facts, setting)),
            guarded,
        )
        simple = [window for window in apart if _is_simple(facts, windows, window)]
        sets = [provider for provider in providers if windows.stays(provider)]
        if len(simple) == len(apart) and len(sets) == len(providers):
            return windows
        apart, providers = simple, sets


def _providers(facts: Facts) -> Iterator[Provider]:
    for use in facts.uses:
        provider = find_provider(use, facts) if use.name == "no_sync" else None
        if provider is not None and not may_be_nested(use, facts):
            yield provider


def _entered(facts: Facts) -> Iterator[Window]:
    for use in facts.uses:
        window = find_window(use, facts) if use.name == "no_sync" else None
        if window is not None:
            yield window


def _guarded(facts: Facts, windows: Iterable[Window]) -> Iterator[ast.With]:
    for window in windows:
        for statement in window.statements:
            if ends_early(statement) or is_caught(facts, window.use.module, statement):
                yield statement


def may_be_nested(use: Use, facts: Facts) -> bool:
    """Whether another `no_sync` may be open around this one, which must outlast it."""
    return any(
        isinstance(atom, Result) and atom.symbol == f"{FSDP1}.no_sync"
        for context in enclosing_contexts(facts, use.module, use.node)
        for atom in facts.value(context)
    )


def _is_idle(window: Window, every: Iterable[Window]) -> bool:
    """Whether another window for the same model, which never synchronises, is around this one."""
    ancestors = set(window.use.module.ancestors(window.statements[0]))
    around = next(
        (
            other
            for other in every
            if other.use.module is window.use.module
            and ast.dump(other.receiver) == ast.dump(window.receiver)
            and ancestors & set(other.statements)
        ),
        None,
    )
    return around is not None and around.test is None


def _is_simple(facts: Facts, windows: Windows, window: Window) -> bool:
    """Whether what replaces a window can stand where the window is."""
    if any(_loses_names(window, statement, item) for statement, item in window.entries):
        return False
    if window.choice.shared and (window.test is None or not is_repeatable(facts, window.test)):
        return False
    if window.choice.shared and not windows.stays(window):
        return False
    if window.stored is None or window.is_stored_beside:
        return True
    if len(window.entries) > 1:
        return windows.stays(window)
    return windows.stays(window) or window.statements[0] not in windows.guarded


def _loses_names(window: Window, statement: ast.With, own: ast.withitem) -> bool:
    """Whether a name of the model, or of the test, is something else above the statement."""
    items = statement.items
    bound = {name for node in [*items, *statement.body] for name in _bound(node)}
    if bound & _read(window.receiver):
        return True
    before = {name for item in items[: items.index(own)] for name in _bound(item)}
    return window.stored is None and window.test is not None and bool(before & _read(window.test))


def _bound(node: ast.AST) -> Iterator[str]:
    for item in nodes_in(node):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            yield item.id


def _read(node: ast.AST) -> set[str]:
    return {item.id for item in nodes_in(node) if isinstance(item, ast.Name)}


# ---------------------------------------------------------------------- what need not be done
def _staying(facts: Facts, windows: Sequence[Window | Provider]) -> Iterator[Use]:
    """The windows that need not set the flag again."""
    passes = list(_backward_passes(facts))
    for window in windows:
        if isinstance(window, Window) and _is_set_at_last(facts, window):
            yield window.use
            continue
        wraps = window.use.wraps
        statements = {s for w in windows if w.use.wraps == wraps for s in w.statements}
        if passes and _is_one(facts, wraps) and not _is_given_away(facts, wraps):
            if all(runs_inside(facts, module, node, statements) for module, node in passes):
                yield window.use


def _is_set_at_last(facts: Facts, window: Window) -> bool:
    """Whether the last round of the loop around the window sets the flag, and is never left out."""
    module, choice = window.use.module, window.choice
    loop = module.parents[window.statements[0]]
    if len(window.entries) > 1 or window.stored is not None or choice.test is None:
        return False
    if not isinstance(loop, ast.For) or is_caught(facts, module, loop):
        return False
    leaves = (ast.Break, ast.Continue, ast.Return, ast.Raise)
    if any(isinstance(n, leaves) for n in nodes_in(loop)):
        return False
    return holds_at_last(facts, module, loop, choice.test, negated=choice.negated)


def _backward_passes(facts: Facts) -> Iterator[tuple[Module, ast.AST]]:
    """The places that run a backward pass."""
    for module in facts.analysis.project.modules.values():
        for node in nodes_in(module.tree):
            if not isinstance(node, ast.Attribute | ast.Name) or not isinstance(node.ctx, ast.Load):
                continue
            method = isinstance(node, ast.Attribute) and node.attr in BACKWARD
            names = {atom.name for atom in facts.value(node) if isinstance(atom, Symbol)}
            if method or GRADIENTS in names or any(short(name) in BACKWARD for name in names):
                yield module, node


def _is_one(facts: Facts, wraps: frozenset[Wrapped]) -> bool:
    """Whether `wraps` are one model, and not one after the other."""
    sites = [wrapped.site for wrapped in wraps]
    site = sites[0] if len(sites) == 1 else None
    fact = facts.analysis.wraps.get(site) if site is not None else None
    return fact is not None and runs_once(facts, fact.module, fact.node)


def _is_given_away(facts: Facts, wraps: frozenset[Wrapped]) -> bool:
    """Whether some library gets the model, which may train it."""
    for call in facts.analysis.call_nodes.values():
        names = [atom.name for atom in facts.value(call.func) if isinstance(atom, Symbol)]
        if names and not all(name.startswith(HARMLESS) for name in names):
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any(facts.value(argument) & wraps for argument in arguments):
                return True
    return False
