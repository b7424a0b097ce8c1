"""Run a program both ways on this rank and tell the differences."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist

Program = Callable[[Any], Any]


def both_ways(module: str, name: str) -> None:
    """Run the program `name` of `two_ways.<module>` with FSDP1 and with the runtime.

    Raises:
        AssertionError: the results are not equal, bit by bit (or within the program's `tolerance`).
    """
    import fsdp_migrate.runtime as new
    from two_ways.old import OLD, make_fsdp1_run_on_cpu

    _once(make_fsdp1_run_on_cpu)
    program: Program = getattr(importlib.import_module(f"two_ways.{module}"), name)
    old_result, new_result = _run(program, OLD), _run(program, new)
    problems = list(differences(old_result, new_result, getattr(program, "tolerance", 0.0)))
    assert not problems, "\n".join(problems[:12])


def taken_apart(module: str, name: str) -> None:
    """Run a program with FSDP1, and with its constructor taken apart.

    Raises:
        AssertionError: the results are not equal, bit by bit (or within the program's `tolerance`).
    """
    from two_ways.apart import APART
    from two_ways.old import OLD, make_fsdp1_run_on_cpu

    _once(make_fsdp1_run_on_cpu)
    program: Program = getattr(importlib.import_module(f"two_ways.{module}"), name)
    old_result, new_result = _run(program, OLD), _run(program, APART)
    problems = list(differences(old_result, new_result, getattr(program, "tolerance", 0.0)))
    assert not problems, "\n".join(problems[:12])


def new_way(module: str, name: str) -> Any:
    """Run a check that concerns the runtime alone."""
    import fsdp_migrate.runtime as new
    from two_ways.old import make_fsdp1_run_on_cpu

    _once(make_fsdp1_run_on_cpu)
    return _run(getattr(importlib.import_module(f"two_ways.{module}"), name), new)


@functools.cache
def _once(function: Callable[[], None]) -> None:
    function()


def _run(program: Program, ns: Any) -> Any:
    torch.manual_seed(0)
    dist.barrier()
    return program(ns)


def close(tolerance: float) -> Callable[[Program], Program]:
    """Mark a program whose results may differ by `tolerance`, relative and absolute."""

    def mark(program: Program) -> Program:
        program.tolerance = tolerance  # type: ignore[attr-defined]
        return program

    return mark


def refused(kind: type[Exception], action: Callable[[], Any]) -> str:
    """The message of the error of that kind that `action` has to raise."""
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError("accepted")


def programs(module: str) -> list[str]:
    """The public functions that `two_ways.<module>` defines and that take a vocabulary."""
    found = vars(importlib.import_module(f"two_ways.{module}"))
    return [
        name
        for name, value in found.items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "") == f"two_ways.{module}"
    ]


def differences(old: Any, new: Any, tolerance: float = 0.0, at: str = "") -> Iterator[str]:
    """Where two results differ, in words."""
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        yield from _tensor_differences(old, new, tolerance, at)
    elif isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new) and set(old) == set(new) and "state" not in at:
            yield f"{at}: order {list(old)} became {list(new)}"
        for key in [*old, *(k for k in new if k not in old)]:
            if key not in old or key not in new:
                yield f"{at}.{key}: only {'old' if key in old else 'new'}"
            else:
                yield from differences(old[key], new[key], tolerance, f"{at}.{key}")
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        if len(old) != len(new):
            yield f"{at}: {len(old)} items became {len(new)}"
        for i, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from differences(one, other, tolerance, f"{at}[{i}]")
    elif old != new:
        yield f"{at}: {old!r} became {new!r}"


def _tensor_differences(
    old: torch.Tensor, new: torch.Tensor, tolerance: float, at: str
) -> Iterator[str]:
    old, new = _plain(old), _plain(new)
    if old.shape != new.shape or old.dtype != new.dtype:
        yield f"{at}: {old.dtype} {tuple(old.shape)} became {new.dtype} {tuple(new.shape)}"
    elif not torch.equal(old, new):
        error = (old.double() - new.double()).abs().max().item()
        if not torch.allclose(old, new, tolerance, tolerance):
            yield f"{at}: differs by {error:.1e}"


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    assert type(tensor) in (torch.Tensor, torch.nn.Parameter), f"a {type(tensor)} got out"
    return tensor.detach()


KINDS = {
    "all_gather_into_tensor": "gather",
    "all_gather_single": "gather",
    "all_gather": "gather",
    "reduce_scatter_tensor": "reduce-scatter",
    "reduce_scatter_single": "reduce-scatter",
    "reduce_scatter": "reduce-scatter",
    "all_reduce": "all-reduce",
    "broadcast": "broadcast",
}


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count this rank's collectives by kind."""
    counts: Counter[str] = Counter()
    originals = {name: getattr(dist, name) for name in KINDS if hasattr(dist, name)}
    inside = False  # a collective may be built on another one

    def counting(name: str) -> Callable[..., Any]:
        @functools.wraps(originals[name])
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            outermost, inside = not inside, True
            counts[KINDS[name]] += outermost
            try:
                return originals[name](*args, **kwargs)
            finally:
                inside = not outermost

        return call

    for name in originals:
        setattr(dist, name, counting(name))
    try:
        yield counts
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)
