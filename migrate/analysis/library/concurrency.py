"""Functions that run others: threads, processes, pools and event loops."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.library.containers import item, store_item
from fsdp_migrate.analysis.library.fsdp1 import call_back
from fsdp_migrate.analysis.library.models import Models
from fsdp_migrate.analysis.machine import Machine, Passed
from fsdp_migrate.analysis.values import (
    NOTHING,
    Container,
    Result,
    Value,
    join,
    ordered,
    unknown,
)

models = Models()
# Methods of pools and loops that run the function that they are given, and which one that is.
RUNNING = {"submit": 0, "apply_async": 0, "apply": 0, "run_in_executor": 1, "map": 0, "imap": 0}
QUEUES = frozenset(
    f"{module}.{kind}"
    for module in ("asyncio", "multiprocessing", "queue", "torch.multiprocessing")
    for kind in ("JoinableQueue", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue")
)
POOLS = ("concurrent.futures.", "multiprocessing.", "torch.multiprocessing.", "asyncio.")


@models("torch.multiprocessing.spawn", "torch.multiprocessing.start_processes")
def spawn(machine: Machine, node: ast.Call, passed: Passed) -> None:
    """Calls the function with a rank and the arguments."""
    rank = unknown("the rank that spawn passes")
    arguments = [rank, *_unpacked(machine, passed.argument(1, "args"))]
    _run(machine, passed.argument(0, "fn"), Passed(arguments, node=node))


@models(
    "threading.Thread",
    "multiprocessing.Process",
    "multiprocessing.context.Process",
    "torch.multiprocessing.Process",
)
def start(machine: Machine, node: ast.Call, passed: Passed) -> None:
    """Will call its target with the arguments."""
    arguments = _unpacked(machine, passed.argument(3, "args"))
    named = passed.kwargs.get("kwargs", NOTHING)
    words = {
        str(key): item(machine, atom, key)
        for atom in ordered(named)
        if isinstance(atom, Container)
        for key in machine.heap.item_keys(atom.site)
    }
    _run(machine, passed.argument(1, "target"), Passed(arguments, words, node))


@models("threading.Timer")
def start_later(machine: Machine, node: ast.Call, passed: Passed) -> None:
    """Will call its function with the arguments."""
    arguments = _unpacked(machine, passed.argument(2, "args"))
    _run(machine, passed.argument(1, "function"), Passed(arguments, node=node))


@models("asyncio.to_thread", "anyio.run", "trio.run", "anyio.to_thread.run_sync")
def run_with_arguments(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """What the function that comes first gives for the other arguments."""
    return _run(machine, join(*passed.args[:1]), Passed(passed.args[1:], passed.kwargs, node))


@models(
    "asyncio.run",
    "asyncio.shield",
    "asyncio.create_task",
    "asyncio.ensure_future",
    "asyncio.wait_for",
    "asyncio.as_completed",
    "concurrent.futures.as_completed",
)
def awaited(machine: Machine, node: ast.Call, passed: Passed) -> Value | None:
    """What is waited for: here, calling a coroutine gives its result at once."""
    return passed.args[0] or None if passed.args else None


@models("asyncio.gather")
def gathered(machine: Machine, node: ast.Call, passed: Passed) -> Value:
    """The results in the order of the arguments."""
    made = machine.container(node, "tuple")
    for index, value in enumerate(passed.args):
        store_item(machine, made, index, value)
    return frozenset({made})


def passed_through_queue(
    machine: Machine, queue: Result, name: str, passed: Passed
) -> Value | None:
    """What `queue.put` and `queue.get` do; None if it is no queue, or another method."""
    if queue.symbol not in QUEUES:
        return None
    if name in {"put", "put_nowait"}:
        machine.heap.write(join(*passed.args[:1]), "item", queue.site, ANY)
        return NOTHING
    if name in {"get", "get_nowait"}:
        return machine.heap.read("item", queue.site, ANY) or None
    return None


def run_on_pool(machine: Machine, symbol: str, name: str, passed: Passed) -> Value | None:
    """What comes out of `pool.submit(f, x)`, which holds the result; None if it is none such."""
    index, node = RUNNING.get(name), passed.node
    if index is None or node is None or not symbol.startswith(POOLS):
        return None
    functions = join(*passed.args[index : index + 1])
    arguments = passed.args[index + 1 :]
    if name in {"apply", "apply_async"}:
        arguments = [value for each in arguments for value in _unpacked(machine, each)]
    elif name in {"map", "imap"}:
        arguments = [_items_of(machine, each) for each in arguments]
    result = _run(machine, functions, Passed(arguments, passed.kwargs, node))
    if name in {"apply", "run_in_executor"}:
        return result
    made = machine.container(node, "list")
    store_item(machine, made, ANY, result)
    return frozenset({made})


def _items_of(machine: Machine, value: Value) -> Value:
    """The items of a list."""
    return join(*(item(machine, atom, ANY) for atom in ordered(value)))


def _unpacked(machine: Machine, value: Value) -> list[Value]:
    """The arguments in a tuple of them."""
    found: list[Value] = []
    for atom in ordered(value):
        if isinstance(atom, Container):
            count = len(machine.heap.item_keys(atom.site) - {ANY})
            indices: list[object] = [*range(count)] if count else [ANY]
            found += [item(machine, atom, index) for index in indices]
    return found


def _run(machine: Machine, functions: Value, passed: Passed) -> Value:
    return join(*(call_back(machine, function, passed) for function in ordered(functions)))
