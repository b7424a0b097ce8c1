"""What forward passes have left gathered, at one place of a program."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

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

    @property
    def place(self) -> tuple[int, int, int, int, bool, bool]:
        """By this one of several is picked in the same way in every run."""
        first, inner = self.forward, self.inner
        where = (first.lineno, first.col_offset, inner.lineno, inner.col_offset)
        return *where, self.is_earlier, self.untrained


Change: TypeAlias = Callable[[Gathered], Gathered]


def _graded(item: Gathered) -> Gathered:
    return replace(item, graded=True)


def _earlier(item: Gathered) -> Gathered:
    return replace(item, is_earlier=True)


def _untrained(item: Gathered) -> Gathered:
    return replace(item, untrained=True)


class State:
    """The forward passes that are not over at some place: a set of `Passes`, a bit for each."""

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits

    def __or__(self, other: State) -> State:
        """What is in one of the two."""
        return State(self.bits | other.bits)

    def __and__(self, other: State) -> State:
        """What is in both."""
        return State(self.bits & other.bits)

    def __sub__(self, other: State) -> State:
        """What is not in `other`."""
        return State(self.bits & ~other.bits)

    def __le__(self, other: State) -> bool:
        """Whether all of it is in `other`."""
        return not self.bits & ~other.bits

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.bits != 0

    def __len__(self) -> int:
        """How many there are."""
        return self.bits.bit_count()

    def __eq__(self, other: object) -> bool:
        """Whether both are of the same forward passes."""
        return isinstance(other, State) and self.bits == other.bits

    def __hash__(self) -> int:
        """That of the bits."""
        return hash(self.bits)

    def union(self, *others: State) -> State:
        """What is in any of them."""
        bits = self.bits
        for other in others:
            bits |= other.bits
        return State(bits)


CLEAN = State()


class Passes:
    """All forward passes of a program that are met, numbered, and what they have in common."""

    def __init__(self) -> None:
        self._items: list[Gathered] = []
        self._bits: dict[Gathered, int] = {}
        self._of_model: dict[Wrapped, int] = defaultdict(int)
        self._of_forward: dict[ast.expr, int] = defaultdict(int)
        self._changed: dict[tuple[Gathered, Change], int] = {}  # the same, but for one flag
        self.graded = CLEAN  # a backward pass will put these away
        self.earlier = CLEAN
        self.untrained = CLEAN
        self.ended = CLEAN  # a backward pass has put these away

    def of(self, items: Iterable[Gathered]) -> State:
        """The state with `items` in it."""
        bits = 0
        for item in items:
            bits |= self._bits.get(item) or self._add(item)
        return State(bits)

    def _add(self, item: Gathered) -> int:
        bit = self._bits[item] = 1 << len(self._items)
        self._items.append(item)
        self._of_model[item.model] |= bit
        self._of_forward[item.forward] |= bit
        self.graded |= State(bit if item.graded else 0)
        self.earlier |= State(bit if item.is_earlier else 0)
        self.untrained |= State(bit if item.untrained else 0)
        return bit

    def within(self, state: State) -> Iterator[Gathered]:
        """The forward passes in `state`, in the order in which they were first met."""
        bits = state.bits
        while bits:
            lowest = bits & -bits
            yield self._items[lowest.bit_length() - 1]
            bits ^= lowest

    def of_models(self, models: Iterable[Wrapped]) -> State:
        """All those of `models`."""
        bits = 0
        for model in models:
            bits |= self._of_model.get(model, 0)
        return State(bits)

    def of_forward(self, forward: ast.expr) -> State:
        """All those that `forward` runs."""
        return State(self._of_forward.get(forward, 0))

    def with_gradients(self, state: State) -> State:
        """The same forward passes, put away by a backward pass."""
        return self._marked(state, self.graded, _graded)

    def as_earlier(self, state: State) -> State:
        """The same forward passes, run before the entry that is followed now."""
        return self._marked(state, self.earlier, _earlier)

    def as_untrained(self, state: State) -> State:
        """The same forward passes, left over only by a loop that runs zero times."""
        return self._marked(state, self.untrained, _untrained)

    def _marked(self, state: State, marked: State, change: Change) -> State:
        """The forward passes in `state`, those that aren't `marked` yet with a `change`."""
        bits = state.bits & marked.bits
        for item in self.within(state - marked):
            bit = self._changed.get((item, change))
            if bit is None:
                bit = self._changed[item, change] = self.of([change(item)]).bits
            bits |= bit
        return State(bits)

    def last_of_each_model(self, state: State) -> dict[Wrapped, Gathered]:
        """One forward pass of each model in `state`."""
        found: dict[Wrapped, Gathered] = {}
        for item in self.within(state):
            known = found.get(item.model)
            if known is None or item.place > known.place:
                found[item.model] = item
        return found


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
    graded: State = CLEAN  # one forward pass of each model, of those that are put away


Body = Callable[[State, bool], State]
"""What runs where a generator that makes a context yields: the state after it.

It is given the state there, and whether gradients are on.
"""
