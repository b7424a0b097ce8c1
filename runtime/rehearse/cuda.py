"""Stand-ins for `torch.cuda` and `torch.accelerator` on a machine that has no GPU."""

from __future__ import annotations

import collections
import os
import time
from types import SimpleNamespace
from typing import Any

import torch

from fsdp_migrate.runtime.rehearse.errors import CannotRehearse
from fsdp_migrate.runtime.rehearse.patching import put

MEMORY = 80 << 30
_MEASURES = (
    "memory_allocated",
    "max_memory_allocated",
    "memory_reserved",
    "max_memory_reserved",
    "memory_cached",
    "max_memory_cached",
    "utilization",
    "memory_usage",
    "temperature",
    "power_draw",
)
_NO_OPERATIONS = (
    "init",
    "_lazy_init",
    "synchronize",
    "empty_cache",
    "ipc_collect",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_stream",
    "set_per_process_memory_fraction",
    "reset_peak_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_accumulated_memory_stats",
)


class Anything:
    """A stream, a device guard or another thing that only has to exist and to be usable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


class Stream(Anything):
    """A stream: the CPU has one, and does everything in order."""

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

    def record(self, *args: Any) -> None:
        self.seconds = time.perf_counter()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: Event) -> float:
        return (end.seconds - self.seconds) * 1e3


class Gpu:
    """Which of the imagined devices is the current one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.current = int(os.environ.get("LOCAL_RANK", 0)) % count

    def set(self, device: Any) -> None:
        index = device if isinstance(device, int) else torch.device(device).index
        if index is None:  # torch.device("cuda"): the current one
            return
        if index >= self.count:
            raise RuntimeError(f"CUDA error: invalid device ordinal {index} of {self.count}")
        self.current = max(index, 0)

    def properties(self, device: Any = None) -> SimpleNamespace:
        return SimpleNamespace(
            name="rehearsal", major=8, minor=0, total_memory=MEMORY, multi_processor_count=108
        )


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _zero(*args: Any, **kwargs: Any) -> int:
    return 0


def _refuse(what: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise CannotRehearse(what)

    return refuse


def install(gpus: int) -> None:
    """Let this process see `gpus` devices that do not exist."""
    gpu = Gpu(gpus)
    put(torch.cuda, **dict.fromkeys(_MEASURES, _zero), **dict.fromkeys(_NO_OPERATIONS, _nothing))
    put(
        torch.cuda,
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: gpu.count,
        current_device=lambda: gpu.current,
        set_device=gpu.set,
        get_device_name=lambda *args: gpu.properties().name,
        get_device_properties=gpu.properties,
        get_device_capability=lambda *args: (8, 0),
        get_arch_list=lambda: ["sm_80"],
        is_bf16_supported=lambda *args, **kwargs: True,
        can_device_access_peer=lambda *args: True,
        is_current_stream_capturing=lambda: False,
        mem_get_info=lambda *args: (MEMORY, MEMORY),
        memory_stats=lambda *args, **kwargs: collections.defaultdict(int),
        memory_summary=lambda *args, **kwargs: "",
        get_rng_state=lambda *args: torch.get_rng_state(),
        set_rng_state=lambda state, *args: torch.set_rng_state(state),
        get_rng_state_all=lambda: [torch.get_rng_state()] * gpus,
        set_rng_state_all=lambda states: torch.set_rng_state(states[0]),
        initial_seed=torch.initial_seed,
        current_stream=lambda *args: Stream(),
        default_stream=lambda *args: Stream(),
        Stream=Stream,
        Event=Event,
        stream=Anything,
        StreamContext=Anything,
        device=Anything,
        device_of=Anything,
        CUDAGraph=_refuse("CUDA graphs"),
        graph=_refuse("CUDA graphs"),
        make_graphed_callables=_refuse("CUDA graphs"),
        nvtx=Anything(),
    )
    put(torch.cuda.nccl, version=lambda: (2, 27, 0), is_available=lambda *args: True)
    put(torch.version, cuda="12.8")
    for kind in ("Half", "BFloat16", "Float", "Double", "Byte", "Char", "Short", "Int", "Long"):
        put(torch.cuda, **{f"{kind}Tensor": getattr(torch, f"{kind}Tensor")})
    _install_accelerator(gpu)
    # FSDP1 and FSDP2 ask the module of the compute device, which is torch.cpu here
    put(torch.cpu, device_count=lambda: gpu.count)
    put(torch.cpu.Stream, synchronize=_nothing, record_event=Stream.record_event)


def _install_accelerator(gpu: Gpu) -> None:
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is None:  # torch < 2.6
        return
    idle = ("synchronize", "empty_cache", "set_stream", "reset_peak_memory_stats")
    put(accelerator, **dict.fromkeys(_MEASURES[:4], _zero), **dict.fromkeys(idle, _nothing))
    put(
        accelerator,
        is_available=lambda: True,
        device_count=lambda: gpu.count,
        current_accelerator=lambda *args, **kwargs: torch.device("cuda"),
        current_device_index=lambda: gpu.current,
        current_device_idx=lambda: gpu.current,
        set_device_index=gpu.set,
        set_device_idx=gpu.set,
        current_stream=lambda *args: Stream(),
    )
