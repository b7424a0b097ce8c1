"""The fixpoint: which tasks run, and which run again, until nothing grows any more.

The analysis is an abstract interpreter over the syntax trees of a whole project.  Locals are
followed statement by statement; everything that outlives a call lives on the heap.  A task is a
module body or a function, methods apart for each class they run on; a task runs again when
something grew that it has read.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from fsdp_migrate.analysis.classes import Classes
from fsdp_migrate.analysis.heap import ANY, GrowingHeap, Task
from fsdp_migrate.analysis.inherited import inherited_methods
from fsdp_migrate.analysis.program import FunctionInfo, Program
from fsdp_migrate.analysis.proofs import Proofs
from fsdp_migrate.analysis.record import NO_MODE, Modes, Record
from fsdp_migrate.analysis.unreached import Unreached
from fsdp_migrate.analysis.values import NOTHING, Cls, Container, Instance, Value, unknown
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site

MAX_RUNS = 200_000
MAX_DEPTH = 40  # of calls that are followed at once
ON_CLASSES = frozenset({"__class_getitem__", "__init_subclass__", "__new__"})
OUTSIDE = unknown("passed from outside, which nothing here does")


class Solver:
    """The state that all runs share; `run` runs one task."""

    def __init__(
        self,
        project: Project,
        run: Callable[[Solver, Task], None],
        proofs: Proofs | None = None,
    ) -> None:
        self.project = project
        self.proofs = proofs or Proofs()
        self.program = Program.of(project)
        self.heap = GrowingHeap(self.enqueue)
        self.classes = Classes(self.program, self.heap)
        self.record = Record()
        self._run_task = run
        self._modes: dict[Task, Modes] = {}
        self._lacking: dict[tuple[Site, str], None] = {}
        self._queue: list[tuple[int, int, Task]] = []
        self._queued: set[Task] = set()
        self._started: set[str] = set()
        self._reached: set[Site] = set()
        self._unreached = Unreached({})
        self._depth = 0
        self._runs = 0
        self._asked = 0

    def solve(self) -> None:
        """Run all tasks to the fixpoint: modules first, then what nothing was seen to call."""
        for name in self.project.modules:
            self.require(name)
        self._drain()
        self._unreached = Unreached(
            {s: info for s, info in self.program.functions.items() if s not in self._reached}
        )
        while entries := self._unreached.next():
            for site in entries:
                self._enter_unknown(site, self.program.functions[site].cls)
            self._drain()
        while inherited := self._next_inherited():
            for site, owner in inherited:
                self._enter_unknown(site, owner)
            self._drain()
        for cls, attr in self._lacking:
            self.heap.write(unknown(f"`{attr}`, which nothing here sets"), "lacking", cls, attr)
        self._drain()

    # ------------------------------------------------------------------ what runs ask for
    def modes_of(self, task: Task) -> Modes:
        """The state-dict contexts that can be open when `task` starts."""
        return self._modes.get(task, NO_MODE)

    def require(self, module: str) -> None:
        """Have the body of a module run before something is read from it."""
        if module not in self._started and module in self.project.modules:
            self._started.add(module)
            self._run(Task(module))

    def enter(self, task: Task, modes: Modes) -> None:
        """Note that `task` is called, with the state-dict contexts `modes` open around it."""
        assert task.site is not None
        old = self._modes.get(task)
        new = (old or frozenset()) | modes
        self._reached.add(task.site)
        self._unreached.reach(task.site)
        if new != old:
            self._modes[task] = new
            if old is None and self._depth < MAX_DEPTH:
                self._run(task)  # so that the caller sees what it returns
            else:
                self.enqueue(task)

    def lacking(self, cls: Site, attr: str) -> Value:
        """What an attribute is that no object of `cls` has: nothing yet, in the end anything."""
        self._lacking[cls, attr] = None
        return self.heap.read("lacking", cls, attr)

    def derive(self, cls: Site, bases: Value) -> None:
        """Note base classes of `cls`."""
        if self.heap.write(bases, "bases", cls):
            reader, self.heap.reader = self.heap.reader, None  # it asks nothing itself
            for site in sorted(self.classes.with_new_base(cls)):
                self.heap.wake("classes", site)
            self.heap.reader = reader

    # ------------------------------------------------------------------ the queue
    def enqueue(self, task: Task) -> None:
        """Have `task` run (again)."""
        if task not in self._queued:
            self._queued.add(task)
            self._asked += 1
            heappush(self._queue, (self._size(task), self._asked, task))

    def _drain(self) -> None:
        while self._queue:
            task = heappop(self._queue)[2]
            if task in self._queued:
                self._run(task)

    def _size(self, task: Task) -> int:
        """How much there is to run: what is long waits until all that it reads has settled."""
        if task.site is None:
            return len(nodes_in(self.project.modules[task.module].tree))
        return len(nodes_in(self.program.functions[task.site].node))

    def _run(self, task: Task) -> None:
        saved, self.heap.reader = self.heap.reader, task
        self._depth += 1
        self._queued.discard(task)
        self._runs += 1
        if self._runs > MAX_RUNS:
            raise RuntimeError("the analysis does not settle")
        self._run_task(self, task)
        self._depth -= 1
        self.heap.reader = saved

    # ------------------------------------------------------------------ what nothing calls
    def _next_inherited(self) -> list[tuple[Site, Site]]:
        """Methods with classes that they were not run on, and mean something else on."""
        return [
            (site, cls)
            for site, cls in inherited_methods(self.program, self.classes)
            if Task(self.program.functions[site].module.name, site, cls) not in self._modes
        ]

    def _enter_unknown(self, site: Site, owner: Site | None) -> None:
        """Run a function that nothing calls: its parameters are what their annotations say."""
        info = self.program.functions[site]
        task = Task(info.module.name, site, owner)
        receiver = None if info.is_static else _receiver(info, owner)
        for index, arg in enumerate([*info.positional, *info.node.args.kwonlyargs]):
            if index == 0 and receiver is not None:
                self.heap.write(frozenset({receiver}), "param", task, arg.arg)
                continue
            reason = unknown(f"parameter `{arg.arg}`, which nothing here passes")
            self.heap.write(NOTHING, "param", task, arg.arg)
            self.heap.write(reason, "unpassed", task, arg.arg)
        for star, kind in ((info.node.args.vararg, "tuple"), (info.node.args.kwarg, "dict")):
            if star is not None:
                made = Container(info.module.site(star), kind)
                self.heap.write(OUTSIDE, "item", made.site, ANY)
        self.enter(task, NO_MODE)


def _receiver(info: FunctionInfo, owner: Site | None) -> Cls | Instance | None:
    """The object or class that a method gets as its first argument."""
    if owner is None:
        return None
    takes_class = "classmethod" in info.decorators or info.name in ON_CLASSES
    return Cls(owner) if takes_class else Instance(owner)
