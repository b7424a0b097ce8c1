"""Stand-ins for streams, events and other things of CUDA that only have to exist."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import torch

from fsdp_migrate.runtime.rehearse.devices import is_gpu
from fsdp_migrate.runtime.rehearse.patching import put


class Anything(contextlib.ContextDecorator):
    """An object that can be called, entered, used as a decorator, and asked for any attribute.

    Like the `None` that most of what it stands for returns, it is false.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __bool__(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and callable(args[0]) and not kwargs:
            return super().__call__(args[0])
        return Anything()


class Stream(Anything):
    """A stream: the CPU has one, and does everything in order."""

    cuda_stream = stream_id = priority = 0

    def __bool__(self) -> bool:
        return True

    @staticmethod
    def priority_range() -> tuple[int, int]:
        return 0, -1

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", torch.cuda.current_device())

    def query(self) -> bool:
        return True

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record()
        return event


class Event(Anything):
    """An event that reads the clock of the host."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = time.perf_counter()

    def __bool__(self) -> bool:
        return True

    def record(self, *args: Any) -> None:
        self.seconds = time.perf_counter()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: Event) -> float:
        return (end.seconds - self.seconds) * 1e3


class Streams:
    """Which stream is the current one."""

    def __init__(self) -> None:
        self.default = self.current = Stream()

    def set(self, stream: Any) -> None:
        self.current = stream or self.default

    def context(self) -> type:
        """A class for `with torch.cuda.stream(stream)`."""
        streams = self

        class StreamContext(contextlib.ContextDecorator):
            def __init__(self, stream: Any = None) -> None:
                self.stream = stream

            def __enter__(self) -> None:
                self.before = streams.current
                streams.set(self.stream or streams.current)

            def __exit__(self, *exc: object) -> None:
                streams.set(self.before)

        return StreamContext


def install() -> None:
    """Put the stand-ins where streams and events are looked up."""
    streams = Streams()
    context = streams.context()
    for module in (torch.cuda, torch.cuda.streams):
        put(module, Stream=Stream, ExternalStream=Stream, Event=Event)
    put(
        torch.cuda,
        current_stream=lambda *args, **kwargs: streams.current,
        default_stream=lambda *args, **kwargs: streams.default,
        get_stream_from_external=lambda *args, **kwargs: Stream(),
        set_stream=streams.set,
        stream=context,
        StreamContext=context,
    )
    put(torch, Stream=_either(torch.Stream, Stream), Event=_either(torch.Event, Event))
    if hasattr(torch, "accelerator"):  # torch >= 2.6
        put(
            torch.accelerator,
            current_stream=lambda *args, **kwargs: streams.current,
            set_stream=streams.set,
        )


def _either(real: Any, stand_in: type) -> Any:
    """A class that makes stand-ins for GPUs and real objects for other devices."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, (real, stand_in))

        def __call__(cls, device: Any = "cuda", *args: Any, **kwargs: Any) -> Any:
            gpu = is_gpu(device) or isinstance(device, stand_in)
            return stand_in() if gpu else real(device, *args, **kwargs)

    return Meta(real.__name__, (), {"__doc__": real.__doc__})
