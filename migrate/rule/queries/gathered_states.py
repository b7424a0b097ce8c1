"""What forward passes have left gathered, at one place of a program."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from fsdp_migrate.analysis.interned import Interned
from fsdp_migrate.analysis.values import Wrapped


@dataclass(frozen=True)
class Gathered(Interned):
    """A forward pass that may have left a model gathered."""

    model: Wrapped
    forward: ast.expr  # or the call around it that was made without gradients
    inner: ast.expr
    graded: bool  # a backward pass will put it away
    is_earlier: bool = False  # it was run before the entry that is followed now
    untrained: bool = False  # it is over unless a loop that trains runs zero times

    __hash__ = Interned.__hash__

    def __lt__(self, other: Gathered) -> bool:
        """By place, so that one of several is picked in the same way in every run."""
        return self._place < other._place

    @property
    def _place(self) -> tuple[int, int, int, int]:
        first, inner = self.forward, self.inner
        return first.lineno, first.col_offset, inner.lineno, inner.col_offset

    def with_gradients(self) -> Gathered:
        """The same, put away by a backward pass; `replace` would take several times as long."""
        return Gathered(self.model, self.forward, self.inner, True, self.is_earlier, self.untrained)


State = frozenset[Gathered]
"""The forward passes that are not over at some place."""
CLEAN: State = frozenset()


@dataclass
class Leaving:
    """The states in which a function or a loop is left before its end."""

    returns: State = CLEAN
    breaks: State = CLEAN
    nexts: State = CLEAN

    def add(self, other: Leaving) -> None:
        """Note the states of `other` as well."""
        self.returns |= other.returns
        self.breaks |= other.breaks
        self.nexts |= other.nexts

    def through(self, last: Callable[[State], State]) -> Leaving:
        """The states after `last`, which runs on each of these ways."""
        ways = (self.returns, self.breaks, self.nexts)
        return Leaving(*(last(way) if way else CLEAN for way in ways))


@dataclass
class Together:
    """What is known of a function that was called in too many states to tell them apart."""

    states: State = CLEAN  # that it was followed in
    after: State = CLEAN


Body = Callable[[State, bool], State]
"""What runs where a generator that makes a context yields: the state after it.

It is given the state there, and whether gradients are on.
"""
