"""Statements with blocks: which of them run, and what holds where their paths meet again."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping

from fsdp_migrate.analysis.assignment import assign
from fsdp_migrate.analysis.library.containers import elements
from fsdp_migrate.analysis.library.contexts import enter, inside, leave
from fsdp_migrate.analysis.machine import COMPUTED, Env, Execute, Machine
from fsdp_migrate.analysis.narrowing import narrow, narrow_class
from fsdp_migrate.analysis.patterns import bind_pattern
from fsdp_migrate.analysis.scopes import join_env, merge

LOOPS = 3  # runs of a loop body; its values only have to be seen once more than they change


def _if(machine: Machine, node: ast.If) -> None:
    machine.evaluate(node.test)
    before, modes = dict(machine.env), machine.open_modes
    narrow(machine, node.test, True)
    machine.block(node.body)
    after, live, opened = machine.env, machine.live, machine.open_modes
    machine.env, machine.live, machine.open_modes = before, True, modes
    narrow(machine, node.test, False)
    machine.block(node.orelse)
    if live:
        machine.open_modes = machine.open_modes | opened if machine.live else opened
    merge(machine, after, live)


def _for(machine: Machine, node: ast.For | ast.AsyncFor) -> None:
    items = elements(machine, machine.evaluate(node.iter))
    machine.leaving.append([])
    before = dict(machine.env)
    _go_on(machine, node)
    for _ in range(LOOPS):
        start = dict(machine.env)
        assign(machine, node.target, items, None)
        if not _changes(machine, node.body, start):
            break
    machine.settled[node] = machine.env
    machine.env = join_env(before, machine.env)
    _end_loop(machine, node.orelse)


def _while(machine: Machine, node: ast.While) -> None:
    machine.leaving.append([])
    _go_on(machine, node)
    for _ in range(LOOPS):
        start = dict(machine.env)
        machine.evaluate(node.test)
        narrow(machine, node.test, True)
        if not _changes(machine, node.body, start):
            break
    machine.settled[node] = dict(machine.env)
    narrow(machine, node.test, False)
    _end_loop(machine, node.orelse)


def _go_on(machine: Machine, node: ast.stmt) -> None:
    """Start a loop where it was before: the loop around it runs again, and has lost nothing.

    From scratch, loops in loops would run as often as two to the power of their depth.
    """
    known = machine.settled.get(node)
    if known is not None:
        machine.env = join_env(machine.env, known)


def _changes(machine: Machine, body: list[ast.stmt], start: Env) -> bool:
    """Run the body of a loop once more; whether that has changed the state at its `start`."""
    machine.block(body)
    machine.live = True
    machine.env = join_env(start, machine.env)
    return machine.env != start


def _end_loop(machine: Machine, orelse: list[ast.stmt]) -> None:
    machine.block(orelse)
    for env in machine.leaving.pop():
        machine.env = join_env(machine.env, env)
    machine.live = True


def _try(machine: Machine, node: ast.Try) -> None:
    before = dict(machine.env)
    machine.block(node.body)
    machine.block(node.orelse)
    after, live = machine.env, machine.live
    for handler in node.handlers:
        machine.env, machine.live = join_env(before, after), True
        if handler.type is not None:
            machine.evaluate(handler.type)
        if handler.name:
            machine.env[handler.name] = COMPUTED
        machine.block(handler.body)
        if machine.live:
            after, live = (join_env(after, machine.env) if live else machine.env), True
    machine.env, machine.live = after, True
    machine.block(node.finalbody)
    machine.live = machine.live and live


def _with(machine: Machine, node: ast.With | ast.AsyncWith) -> None:
    saved = machine.open_modes
    for item in node.items:
        value = machine.evaluate(item.context_expr)
        enter(machine, value)
        given = inside(machine, value)
        if item.optional_vars is not None:
            assign(machine, item.optional_vars, given, item.context_expr)
    machine.block(node.body)
    machine.statement = node
    for item in reversed(node.items):
        leave(machine, machine.record.value(item.context_expr))
    machine.open_modes = saved


def _match(machine: Machine, node: ast.Match) -> None:
    subject = machine.evaluate(node.subject)
    before = dict(machine.env)
    ends: list[Env] = []
    for case in node.cases:
        machine.env, machine.live = dict(before), True
        bind_pattern(machine, case.pattern, subject)
        if isinstance(case.pattern, ast.MatchClass):
            narrow_class(machine, node.subject, case.pattern.cls, True)
        if case.guard is not None:
            machine.evaluate(case.guard)
        machine.block(case.body)
        if machine.live:
            ends.append(machine.env)
        if isinstance(case.pattern, ast.MatchClass) and _takes_class(case):
            machine.env = before
            narrow_class(machine, node.subject, case.pattern.cls, False)
            before = dict(machine.env)
    if not any(map(_takes_all, node.cases)):
        ends.append(before)
    machine.env, machine.live = (ends[0], True) if ends else (before, False)
    for env in ends[1:]:
        machine.env = join_env(machine.env, env)


def _takes_class(case: ast.match_case) -> bool:
    """Whether a case takes every object of its class: nothing else is asked for."""
    pattern = case.pattern
    return (
        case.guard is None
        and isinstance(pattern, ast.MatchClass)
        and not pattern.patterns
        and not pattern.kwd_patterns
    )


def _takes_all(case: ast.match_case) -> bool:
    """Whether a case takes everything: `case _` or `case name`."""
    pattern = case.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs) and pattern.pattern is None


COMPOUND: Mapping[type[ast.stmt], Execute] = {
    ast.AsyncFor: _for,
    ast.AsyncWith: _with,
    ast.For: _for,
    ast.If: _if,
    ast.Match: _match,
    ast.Try: _try,
    ast.While: _while,
    ast.With: _with,
}
if sys.version_info >= (3, 11):
    COMPOUND = {**COMPOUND, ast.TryStar: _try}
