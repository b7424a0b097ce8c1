"""Stand-ins for `torch.cuda` and `torch.accelerator` on a machine that has no GPU."""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch

from fsdp_migrate.runtime.rehearse.devices import is_gpu
from fsdp_migrate.runtime.rehearse.errors import CannotRehearse
from fsdp_migrate.runtime.rehearse.patching import Rebinding, put
from fsdp_migrate.runtime.rehearse.streams import Anything, Stream

MEMORY = 80 << 30
_MEASURES = (
    "device_memory_used",
    "utilization",
    "memory_usage",
    "temperature",
    "power_draw",
    "clock_rate",
    "get_sync_debug_mode",
)
_NO_OPERATIONS = (
    "init",
    "_lazy_init",
    "synchronize",
    "empty_cache",
    "empty_host_cache",
    "ipc_collect",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_per_process_memory_fraction",
    "reset_peak_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_accumulated_memory_stats",
    "reset_peak_host_memory_stats",
    "reset_accumulated_host_memory_stats",
    "set_sync_debug_mode",
)
# What scripts may name, inherit from and ask for with `isinstance`, but not make.
_CLASSES = {
    "CUDAGraph": "CUDA graphs",
    "graph": "CUDA graphs",
    "MemPool": "torch.cuda.MemPool",
    "CUDAPluggableAllocator": "torch.cuda.CUDAPluggableAllocator",
    "GreenContext": "torch.cuda.GreenContext",
}
_ALLOCATED = 1 << 30
_AMOUNTS = tuple(
    f"{most}memory_{what}" for most in ("", "max_") for what in ("allocated", "reserved", "cached")
)
_TYPES = ("Half", "BFloat16", "Float", "Double", "Byte", "Char", "Short", "Int", "Long", "Bool")


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
        if index >= 0:
            self.current = index

    def guard(self) -> type:
        """A class for `with torch.cuda.device(index)`."""
        gpu = self

        class Device(contextlib.ContextDecorator):
            def __init__(self, device: Any) -> None:
                self.device = device

            def __enter__(self) -> None:
                self.before = gpu.current
                if not isinstance(self.device, torch.Tensor) and self.device is not None:
                    gpu.set(self.device)

            def __exit__(self, *exc: object) -> None:
                gpu.current = self.before

        return Device

    def properties(self, *args: Any, **kwargs: Any) -> SimpleNamespace:
        return SimpleNamespace(
            name="rehearsal",
            major=8,
            minor=0,
            total_memory=MEMORY,
            multi_processor_count=108,
            max_threads_per_multi_processor=2048,
            regs_per_multiprocessor=65536,
            shared_memory_per_block=49152,
            shared_memory_per_block_optin=166912,
            shared_memory_per_multiprocessor=167936,
            warp_size=32,
            L2_cache_size=40 << 20,
            is_integrated=0,
            is_multi_gpu_board=0,
            uuid="00000000-0000-0000-0000-000000000000",
            pci_bus_id=0,
            pci_device_id=0,
            pci_domain_id=0,
            gcnArchName="sm_80",
        )


def _always(value: Any) -> Callable[..., Any]:
    """A function that takes anything and gives `value`."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return value

    return function


def _refuse(what: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise CannotRehearse(what)

    return refuse


def _refusing_class(name: str, what: str) -> type:
    """A class as torch has it there, of which there are no objects."""
    return type(name, (), {"__new__": _refuse(what), "__module__": "torch.cuda"})


def install(gpus: int) -> None:
    """Let this process see `gpus` devices that do not exist."""
    gpu = Gpu(gpus)
    _replace(torch.cuda, _functions(gpu))
    put(
        torch.cuda,
        device=gpu.guard(),
        device_of=gpu.guard(),
        default_generators=(torch.default_generator,) * gpus,
        **{name: _refusing_class(name, what) for name, what in _CLASSES.items()},
        **{f"{kind}Tensor": getattr(torch, f"{kind}Tensor") for kind in _TYPES},
    )
    put(torch.version, cuda="12.8")
    _install_tools()
    _install_accelerator(gpu)
    # FSDP1 and FSDP2 ask the module of the compute device, which is torch.cpu here
    put(torch.cpu, device_count=lambda: gpu.count)
    put(torch.cpu.Stream, synchronize=_always(None), record_event=Stream.record_event)


def _functions(gpu: Gpu) -> dict[str, Callable[..., Any]]:
    """The functions of `torch.cuda`; what is not listed refuses."""
    refusing = {
        name: _refuse(f"torch.cuda.{name}")
        for name, value in vars(torch.cuda).items()
        if isinstance(value, FunctionType)
        and value.__module__.startswith("torch.cuda")
        and not name.startswith("_")
    }
    del refusing["get_gencode_flags"]  # made from other functions
    return {
        **refusing,
        **{
            name: _refuse("CUDA graphs") for name in ("make_graphed_callables", "graph_pool_handle")
        },
        **dict.fromkeys(_MEASURES, _always(0)),
        **dict.fromkeys(_AMOUNTS, _always(_ALLOCATED)),
        **dict.fromkeys(_NO_OPERATIONS, _always(None)),
        **_devices(gpu),
        **_memory(),
        **_random_state(gpu),
    }


def _devices(gpu: Gpu) -> dict[str, Callable[..., Any]]:
    """What there is, and what it can do."""
    return {
        "is_available": _always(True),
        "is_initialized": _always(True),
        "device_count": lambda: gpu.count,
        "current_device": lambda: gpu.current,
        "set_device": gpu.set,
        "get_device_name": _always(gpu.properties().name),
        "get_device_properties": gpu.properties,
        "get_device_capability": _always((8, 0)),
        "get_arch_list": lambda: ["sm_80"],
        "is_bf16_supported": _always(True),
        "is_tf32_supported": _always(True),
        "can_device_access_peer": _always(True),
        "is_current_stream_capturing": _always(False),
        "list_gpu_processes": _always(""),
        "cudart": _always(Anything()),
    }


def _memory() -> dict[str, Callable[..., Any]]:
    """A large memory of which a little is always taken."""
    return {
        "get_allocator_backend": _always("native"),
        "get_per_process_memory_fraction": _always(1.0),
        "mem_get_info": _always((MEMORY - _ALLOCATED, MEMORY)),
        "memory_stats": lambda *args, **kwargs: collections.defaultdict(int),
        "memory_stats_as_nested_dict": lambda *args, **kwargs: {},
        "host_memory_stats": lambda *args, **kwargs: collections.defaultdict(int),
        "host_memory_stats_as_nested_dict": lambda *args, **kwargs: {},
        "memory_snapshot": lambda *args, **kwargs: [],
        "memory_summary": _always(""),
    }


def _random_state(gpu: Gpu) -> dict[str, Callable[..., Any]]:
    """The generator of the CPU, for every device."""

    def rng_state(*args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(new_state: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        torch.set_rng_state(new_state)

    return {
        "get_rng_state": rng_state,
        "set_rng_state": set_rng_state,
        "get_rng_state_all": lambda: [torch.get_rng_state()] * gpu.count,
        "set_rng_state_all": lambda new_states: torch.set_rng_state(new_states[0]),
        "initial_seed": torch.initial_seed,
    }


def _install_tools() -> None:
    """What looks at a program from outside: profilers, memory histories, NCCL's version."""
    put(torch.cuda.nccl, version=lambda: (2, 27, 0), is_available=_always(True))
    nvtx = torch.cuda.nvtx
    put(nvtx, **dict.fromkeys(("range_push", "range_pop", "range_start", "mark"), _always(0)))
    put(nvtx, range_end=_always(None), range=Anything)
    put(torch.cuda.profiler, start=_always(None), stop=_always(None), profile=Anything)
    silent = ("_record_memory_history", "_dump_snapshot", "_set_allocator_settings")
    put(torch.cuda.memory, **dict.fromkeys(silent, _always(None)), _snapshot=lambda *args: {})
    blas = ("preferred_linalg_library", "preferred_blas_library")
    put(torch.backends.cuda, **dict.fromkeys(blas, _always(None)))


def _install_accelerator(gpu: Gpu) -> None:
    module_of = getattr(torch, "get_device_module", None)
    if module_of is not None:

        def get_device_module(device: Any = None) -> Any:
            return torch.cuda if device is None or is_gpu(device) else module_of(device)

        put(torch, get_device_module=get_device_module)
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is None:  # torch < 2.6
        return
    names = set(vars(accelerator))
    functions = _functions(gpu) | {
        "current_accelerator": _always(torch.device("cuda")),
        "current_device_index": lambda: gpu.current,
        "current_device_idx": lambda: gpu.current,
        "set_device_index": gpu.set,
        "set_device_idx": gpu.set,
        "get_memory_info": _always((MEMORY - _ALLOCATED, MEMORY)),
        "get_device_capability": lambda *args: {"supported_dtypes": {torch.float32}},
    }
    _replace(accelerator, {name: new for name, new in functions.items() if name in names})
    put(accelerator, device_index=gpu.guard())


def _replace(home: ModuleType, functions: dict[str, Callable[..., Any]]) -> None:
    """Replace functions wherever they are bound; those that this torch lacks are added."""
    rebinding = Rebinding()
    for name, new in functions.items():
        if isinstance(vars(home).get(name), FunctionType):
            rebinding.replace(home, name, _always(new))
        else:
            put(home, **{name: new})
    rebinding.apply()
