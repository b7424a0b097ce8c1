"""The parts of torch above tensors that take a device: modules, loaders, autocast, scalers."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd import graph, profiler
from torch.optim import optimizer

from fsdp_migrate.runtime.rehearse import synchronised
from fsdp_migrate.runtime.rehearse.devices import CPU, is_cpu, is_gpu, on_cpu
from fsdp_migrate.runtime.rehearse.errors import CannotRehearse
from fsdp_migrate.runtime.rehearse.notes import NOTES
from fsdp_migrate.runtime.rehearse.patching import Rebinding, put


def install() -> None:
    """Make them work on the CPU, and let the rest refuse."""
    _modules()
    _generators()
    _loading()
    _precision()
    _autocast_state()
    _profiler()
    _optimizers()
    _compiler()
    synchronised.install()


def _modules() -> None:
    module_to = nn.Module.to
    ddp = nn.parallel.DistributedDataParallel
    ddp_init, signature = ddp.__init__, inspect.signature(ddp.__init__)

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        """A move to the GPU, where everything is already; meta tensors refuse as they should."""
        if any(p.is_meta for p in self.parameters()):
            args = (on_cpu(args[0]), *args[1:]) if args else ()
            kwargs = {k: on_cpu(v) if k == "device" else v for k, v in kwargs.items()}
            return module_to(self, *args, **kwargs)
        if args and is_gpu(args[0]):
            args = args[1:]
        if is_gpu(kwargs.get("device")):
            del kwargs["device"]
        args = tuple(a for a in args if not isinstance(a, bool))
        moves = bool(args) or bool(set(kwargs) - {"non_blocking"})
        return module_to(self, *args, **kwargs) if moves else self

    def distributed(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        call.arguments.update(device_ids=None, output_device=None)
        ddp_init(*call.args, **call.kwargs)

    def data_parallel(self: Any, *args: Any, **kwargs: Any) -> None:
        raise CannotRehearse("torch.nn.DataParallel")

    put(nn.Module, to=to, cuda=lambda self, device=None: to(self, "cuda"))
    put(ddp, __init__=distributed)
    put(nn.DataParallel, __init__=data_parallel)


def _generators() -> None:
    real = torch.Generator

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __call__(cls, device: Any = "cpu") -> torch.Generator:
            return real(device=on_cpu(device))

    put(torch, Generator=Meta("Generator", (), {"__doc__": real.__doc__}))


def _loading() -> None:
    loader = torch.utils.data.DataLoader
    loader_init, load = loader.__init__, torch.load
    save_init = graph.save_on_cpu.__init__

    def data_loader(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("pin_memory_device", None)
        if "pin_memory" in kwargs:
            kwargs["pin_memory"] = False
        loader_init(self, *args, **kwargs)
        object.__setattr__(self, "pin_memory", False)

    def torch_load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        kept = is_cpu(map_location) or map_location == "meta"
        return load(f, map_location if kept else CPU, *args, **kwargs)

    def save_on_cpu(self: Any, pin_memory: bool = False, *args: Any, **kwargs: Any) -> None:
        save_init(self, False, *args, **kwargs)

    put(loader, __init__=data_loader)
    put(graph.save_on_cpu, __init__=save_on_cpu)
    put(torch, load=torch_load)
    put(torch.UntypedStorage, cuda=lambda self, *args, **kwargs: self)


def _precision() -> None:
    autocast = torch.amp.autocast_mode.autocast
    scaler = torch.amp.grad_scaler.GradScaler
    autocast_init, scaler_init = autocast.__init__, scaler.__init__

    def cpu_autocast(
        self: Any,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if is_gpu(device_type):
            device_type, dtype = "cpu", dtype or torch.get_autocast_dtype("cuda")
        autocast_init(self, device_type, dtype, enabled, cache_enabled)

    def cpu_scaler(self: Any, device: Any = "cuda", *args: Any, **kwargs: Any) -> None:
        scaler_init(self, "cpu" if is_gpu(device) else device, *args, **kwargs)

    put(autocast, __init__=cpu_autocast)
    put(scaler, __init__=cpu_scaler)


def _autocast_state() -> None:
    """What models ask that cast by hand: attention that takes 16 bits only, for instance."""
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype

    def is_autocast_enabled(device_type: str = "cuda") -> bool:
        return enabled("cpu" if is_gpu(device_type) else device_type)

    def get_autocast_dtype(device_type: str = "cuda") -> torch.dtype:
        return dtype("cpu" if is_gpu(device_type) and enabled("cpu") else device_type)

    put(
        torch,
        is_autocast_enabled=is_autocast_enabled,
        get_autocast_dtype=get_autocast_dtype,
        get_autocast_gpu_dtype=get_autocast_dtype,
    )


def _profiler() -> None:
    """Profiles of the CPU alone: without CUDA, every operation would complain."""
    init = profiler.profile.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def profile(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        gpu = call.arguments.pop("use_cuda", False) or is_gpu(call.arguments.get("use_device"))
        if gpu:
            call.arguments["use_device"] = None
            if "use_cpu" in call.arguments:
                call.arguments["use_cpu"] = True
        init(*call.args, **call.kwargs)

    put(profiler.profile, __init__=profile)


def _optimizers() -> None:
    """Steps of whole lists, as GPUs take them, and `capturable=True`, which is for GPUs."""

    def with_cpu(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
        return lambda *args, **kwargs: [*original(*args, **kwargs), "cpu"]

    rebinding = Rebinding()
    rebinding.replace(optimizer, "_get_capturable_supported_devices", with_cpu)
    rebinding.replace(optimizer, "_get_foreach_kernels_supported_devices", with_cpu)
    rebinding.apply()


def _compiler() -> None:
    """`torch.compile` runs eagerly and needs no compiler."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    original = torch.compile

    @functools.wraps(original)
    def eager(*args: Any, **kwargs: Any) -> Any:
        NOTES.add("torch.compile ran eagerly")
        return original(*args, **kwargs)

    put(torch, compile=eager)
