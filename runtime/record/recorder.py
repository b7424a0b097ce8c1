"""Watches training through global hooks and writes down what it sees."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, TextIO

import torch
import torch._dynamo  # looks at the functions of torch when it is loaded
import torch.distributed as dist
import torch.distributed.checkpoint.state_dict as dsd
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from fsdp_migrate.runtime.record import snapshot
from fsdp_migrate.runtime.record.failing import own_errors
from fsdp_migrate.runtime.record.fingerprint import fingerprint
from fsdp_migrate.runtime.record.gpu import Gpu
from fsdp_migrate.runtime.record.inventory import Inventories
from fsdp_migrate.runtime.record.lines import Lines
from fsdp_migrate.runtime.record.meter import Meter
from fsdp_migrate.runtime.record.settings import Settings
from fsdp_migrate.runtime.record.tee import Tee, without_libraries
from fsdp_migrate.runtime.rehearse.patching import Rebinding, put
from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.recording import End, Header, Loss, Prints, Step

TAKEN = "FSDP_MIGRATE_RANK"  # tells the processes that a rank starts that it is recorded


class Recorder:
    """One rank of one run."""

    def __init__(
        self, settings: Settings, arguments: tuple[str, ...], device: str, *, child: bool = False
    ) -> None:
        self.settings = settings
        self.arguments = arguments
        self.gpu = None if device == "rehearsal" else Gpu()
        self.folder = os.getcwd()
        self.meter = Meter()
        self.inventories = Inventories()
        self.notes: set[str] = set()
        self.lines = Lines(settings.watched)
        self.child = child  # started by the program, not by the launcher
        self.printed = Tee(sys.stdout)
        self.complained = Tee(sys.stderr)
        self.process = os.getpid()
        self._events: TextIO | None = None
        self._muted = 0
        self._depth = 0
        self._ended = False
        self._steps = 0
        self._open: dict[int, tuple[Step, dict[str, Tensor]]] = {}
        self._kept = 0
        self._begin = self._idle_since = time.perf_counter()

    def install(self) -> None:
        """Start watching, for the rest of the process."""
        self.meter.install(deterministic=self.settings.deterministic)
        register_optimizer_step_pre_hook(self._before_step)
        register_optimizer_step_post_hook(self._after_step)
        put(torch.autograd, backward=self._watched(torch.autograd.backward))
        rebinding = Rebinding()
        # takes a step with gradients of zero to create the state of a fresh optimizer
        rebinding.replace(dsd, "_init_optim_state", self._unwatched)
        rebinding.apply()
        put(sys, stdout=self.printed, stderr=self.complained)
        without_libraries(self.complained)
        put(os, _exit=self._before_exit(os._exit))
        os.register_at_fork(after_in_child=self._forget)

    def finish(self, error: str | None) -> None:
        """Write down how the program ended."""
        if self._ended or (self._events is None and not self._has_something_to_say(error)):
            return
        self._ended = True
        seconds = time.perf_counter() - self._begin
        sharding = tuple(sorted(self.inventories.sharding))
        reached = tuple(sorted(self.lines.reached))
        self._write(End(error, seconds, tuple(sorted(self.notes)), sharding, reached))
        self.printed.flush()
        self.complained.flush()

    def finish_child(self, error: str | None) -> None:
        """Write down how a process ended that multiprocessing started."""
        if self.child:
            self.finish(error)

    def _has_something_to_say(self, error: str | None) -> bool:
        """Whether a process without events belongs into the recording."""
        if recording.events_path(self.settings.out, self._rank()).exists():
            return False  # the children of this process are the ranks
        return self._joined() or (not self.child and (error is not None or self.printed.used))

    def _forget(self) -> None:
        """A forked child begins a recording of its own, if it ever trains."""
        self.child = True
        self._events = None
        self._steps = 0
        self.meter.read()
        self.printed.forget()
        self.complained.forget()

    def _before_exit(self, leave: Callable[[int], None]) -> Callable[[int], None]:
        """A program may end with `os._exit`, which nothing else sees."""

        @functools.wraps(leave)
        def recorded(status: int) -> None:
            if os.getpid() == self.process:
                self.finish(f"os._exit({status})" if status else None)
            leave(status)

        return recorded

    def _ignores(self) -> bool:
        """Whether a hook sees the recorder's own work, or that of a helper of a rank."""
        if self._muted:
            return True
        taken = os.environ.get(TAKEN)
        if not self.child or self._events is not None or taken is None:
            return False
        if not self._joined():
            return True
        if taken == str(self._rank()):
            raise RuntimeError(
                f"a process that rank {taken} started trains as rank {taken} too: the two cannot "
                "be recorded apart"
            )
        return False

    # what the hooks see

    def _watched(self, backward: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(backward)
        def recorded(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if not self._depth and not self._ignores():
                for tensor in (tensors,) if isinstance(tensors, Tensor) else tuple(tensors):
                    self._loss(tensor)
            outer, self.meter.backward = self.meter.backward, True
            self._depth += 1
            try:
                backward(tensors, *args, **kwargs)
            finally:
                self._depth -= 1
                self.meter.backward = outer

        return recorded

    def _unwatched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._muted += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._muted -= 1

        return call

    def _loss(self, tensor: Tensor) -> None:
        with self._aside():
            local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            value = float(local) if local.numel() == 1 else None
            self._write(Loss(self._steps, value, fingerprint(local)))

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._ignores():
            return
        seconds = self._since_idle()
        with self._aside(), self._on_its_device(optimizer):
            inventory = self.inventories.of(optimizer)
            kept: dict[str, Tensor] = {}
            step = Step(
                number=self._steps,
                optimizer=type(optimizer).__name__,
                groups=snapshot.hyperparameters(optimizer),
                gradients=self._prints("gradient", snapshot.gradients(inventory, optimizer), kept),
                frozen=inventory.frozen,
                random=snapshot.random_states(),
                seconds=seconds,
            )
            self._open[id(optimizer)] = step, kept
        self._idle_since = time.perf_counter()

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._muted or id(optimizer) not in self._open:
            return
        step, kept = self._open.pop(id(optimizer))
        seconds = self._since_idle()
        with self._aside(), self._on_its_device(optimizer):
            inventory = self.inventories.of(optimizer)
            step = replace(
                step,
                parameters=self._prints("parameter", snapshot.parameters(inventory), kept),
                buffers=self._prints("buffer", inventory.live_buffers(), kept),
                state=self._prints("state", snapshot.state(inventory, optimizer), kept),
                collectives=self.meter.read(),
                seconds=step.seconds + seconds,
                peak_memory=self.gpu.peak if self.gpu else None,
            )
            self._write(step)
            self._keep(step.number, kept)
            self._steps += 1
        self._idle_since = time.perf_counter()

    # helpers

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """The recorder's own work: not recorded, not counted."""
        self._muted += 1
        if self.gpu:
            self.gpu.enter()
        try:
            with own_errors(), self.meter.silence(), torch.no_grad():
                yield
        finally:
            if self.gpu:
                self.gpu.leave()
            self._muted -= 1

    def _prints(
        self, kind: str, tensors: Iterable[tuple[str, Tensor | None]], kept: dict[str, Tensor]
    ) -> Prints:
        keeps = self._keeps()
        prints: Prints = {}
        for name, tensor in tensors:
            prints[name] = None if tensor is None else fingerprint(tensor)
            if keeps and tensor is not None:
                kept[f"{kind} {name}"] = tensor.to("cpu", copy=True)
        return prints

    def _keeps(self) -> bool:
        wanted = self.settings.keep
        if wanted is not None:
            return wanted[0] <= self._steps <= wanted[1]
        return self._kept < self.settings.budget

    def _keep(self, step: int, tensors: dict[str, Tensor]) -> None:
        if tensors:
            self._kept += sum(t.numel() * t.element_size() for t in tensors.values())
            path = recording.tensors_path(self.settings.out, self._rank(), step)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(tensors, path)

    def _since_idle(self) -> float:
        """Seconds since the recorder did something itself."""
        if self.gpu:
            self.gpu.settle()
        return time.perf_counter() - self._idle_since

    def _on_its_device(self, optimizer: Optimizer) -> contextlib.AbstractContextManager[object]:
        params = (p for group in optimizer.param_groups for p in group["params"])
        return self.gpu.of(params) if self.gpu else contextlib.nullcontext()

    def _joined(self) -> bool:
        return dist.is_available() and dist.is_initialized()

    def _rank(self) -> int:
        return dist.get_rank() if self._joined() else int(os.environ.get("RANK", 0))

    def _write(self, event: Loss | Step | End) -> None:
        with own_errors():
            if self._events is None:
                self._events = self._start()
            self._events.write(recording.to_line(event))
            self._events.flush()

    def _start(self) -> TextIO:
        """The rank is known with the first event at the latest."""
        rank = self._rank()
        header = Header(
            rank=rank,
            world=dist.get_world_size() if self._joined() else int(os.environ.get("WORLD_SIZE", 1)),
            host=socket.gethostname(),
            torch=torch.__version__,
            python=platform.python_version(),
            device=self.gpu.name if self.gpu else "rehearsal",
            folder=self.folder,
            out=str(self.settings.out),
            arguments=self.arguments,
            deterministic=self.settings.deterministic,
            seed=self.settings.seed,
            cuda=self.gpu.cuda if self.gpu else "",
            nccl=self.gpu.nccl if self.gpu else "",
            recorder=_version(),
            started=datetime.now().astimezone().isoformat(" ", "seconds"),
        )
        os.environ[TAKEN] = str(rank)
        self.settings.out.mkdir(parents=True, exist_ok=True)
        self.printed.into(recording.output_path(self.settings.out, rank))
        self.complained.into(recording.errors_path(self.settings.out, rank))
        events = recording.events_path(self.settings.out, rank).open("w")
        events.write(recording.to_line(header))
        return events


def _version() -> str:
    try:
        return importlib.metadata.version("fsdp-migrate")
    except importlib.metadata.PackageNotFoundError:
        return ""
