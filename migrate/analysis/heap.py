"""What outlives a call: one heap of joined values, and who has to look at it again.

A place is named by what it is ("param", "return", "name", "field", "class", "bases", "item",
"result"), by its owner (a task, a scope, a class or the call that made the object), and by the
name or index in it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, ItemsView, KeysView, Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.interned import Interned
from fsdp_migrate.analysis.values import (
    NOTHING,
    TOO_MANY,
    Container,
    Value,
    join,
)
from fsdp_migrate.syntax.span import Site

ANY = "*"  # the key of what is stored under a name or index that isn't known
MAX_GROWTH = 25  # a place that changes more often holds too many values to follow

Place = tuple[Hashable, ...]


@dataclass(frozen=True)
class Task(Interned):
    """A function (or module body, `site` None) and the class of the object it runs on."""

    module: str
    site: Site | None = None
    receiver: Site | None = None

    __hash__ = Interned.__hash__


class Heap:
    """The places and their values, to be read."""

    def __init__(self, cells: dict[Place, Value], keys: dict[Site, dict[Hashable, None]]) -> None:
        self._cells = cells
        self._keys = keys

    def read(self, *place: Hashable) -> Value:
        """The value at `place`."""
        return self._cells.get(place, NOTHING)

    def holds(self, *place: Hashable) -> bool:
        """Whether something was ever stored at `place`."""
        return place in self._cells

    def items(self) -> ItemsView[Place, Value]:
        """All places that hold something, and what."""
        return self._cells.items()

    @cached_property
    def fields(self) -> Mapping[Site, list[tuple[int, Value]]]:
        """What objects of each class hold, with a number for each place; for a heap at rest."""
        found: dict[Site, list[tuple[int, Value]]] = defaultdict(list)
        for number, (place, value) in enumerate(self._cells.items()):
            if place[0] == "field" and isinstance(place[1], Site):
                found[place[1]].append((number, value))
        return found

    def item_keys(self, site: Site) -> KeysView[Hashable]:
        """The keys under which the container made at `site` holds something."""
        self.read("keys", site)
        return dict(self._keys.get(site, {})).keys()

    def has_always(self, site: Site, key: Hashable) -> bool:
        """Whether the dict made at `site` has a key from the start, and nothing takes it out."""
        gone = self.read("popped", site, key) or self.read("popped", site, ANY)
        return bool(self.read("always", site, key)) and not gone

    def dict_values(self, container: Container) -> Value:
        """Everything that a container holds."""
        site = container.site
        return join(*(self.read("item", site, key) for key in self.item_keys(site)))


class GrowingHeap(Heap):
    """The heap while the analysis runs: tasks that have read a place are woken when it grows."""

    def __init__(self, enqueue: Callable[[Task], None]) -> None:
        super().__init__({}, defaultdict(dict))
        self.reader: Task | None = None  # the task that is running
        self._enqueue = enqueue
        self._readers: dict[Place, dict[Task, None]] = defaultdict(dict)
        self._growth: Counter[Place] = Counter()

    def read(self, *place: Hashable) -> Value:
        """The value at `place`; the task that runs now will run again when it grows."""
        if self.reader is not None:
            self._readers[place][self.reader] = None
        return self._cells.get(place, NOTHING)

    def write(self, value: Value, *place: Hashable) -> bool:
        """Join `value` to what is at `place`; whether that has changed anything."""
        self._note_key(place)
        old = self._cells.get(place, NOTHING)
        new = join(old, value)
        if new == old:
            return False
        self._growth[place] += 1
        if self._growth[place] > MAX_GROWTH:
            new = join(new, frozenset({TOO_MANY}))
            if new == old:
                return False
        self._cells[place] = new
        self.wake(*place)
        return True

    def at_rest(self) -> Heap:
        """The heap to be read by what comes after the analysis."""
        return Heap(self._cells, self._keys)

    def wake(self, *place: Hashable) -> None:
        """Have all run again that have read `place`."""
        for task in self._readers[place]:
            self._enqueue(task)

    def _note_key(self, place: Place) -> None:
        """Note a new key of a container, for those that have asked for its keys."""
        if place[0] == "item" and isinstance(place[1], Site):
            keys = self._keys[place[1]]
            if place[2] not in keys:
                keys[place[2]] = None
                self.wake("keys", place[1])
