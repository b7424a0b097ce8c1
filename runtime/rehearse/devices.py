"""Every device argument that means a GPU means the CPU.

A `TorchFunctionMode` sees the factories, the moves and the device constructor.  Two things keep
the meaning that they have on a GPU: `.cpu()` gives a copy (FSDP1 relies on it, and so does every
script that keeps a snapshot), and `is_cuda` is true for code outside torch.

Torch leaves a mode for the time of the call that it sees.  Python that is called from inside one
(hooks, recomputation and custom functions in `backward`, packed tensors) has to enter it again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.autograd import graph
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

from fsdp_migrate.runtime.rehearse.patching import Rebinding, called_by_torch, put

CPU = torch.device("cpu")


def is_gpu(device: object) -> bool:
    """Whether a script that passes this as a device means a GPU."""
    if isinstance(device, str):
        return device.partition(":")[0] == "cuda"
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, int) and not isinstance(device, bool)


def is_cpu(device: object) -> bool:
    """Whether this names the CPU."""
    return device == "cpu" or (isinstance(device, torch.device) and device.type == "cpu")


def on_cpu(device: Any) -> Any:
    """The device to use in the place of `device`."""
    return CPU if is_gpu(device) else device


class GpuIsCpu(TorchFunctionMode):
    """Rewrites the device arguments of every torch call."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        special = _SPECIAL.get(func)
        if special is not None:
            return special(func, args, kwargs)
        if is_gpu(kwargs.get("device")):
            kwargs["device"] = CPU
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        return func(*args, **kwargs)


def _device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.device(0)`, which a build without CUDA refuses."""
    first = args[0] if args else None
    if isinstance(first, int) and not kwargs:
        return func("cuda", first)
    return func(*args, **kwargs)


def _to(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, rest = args[0], list(args[1:])
    wanted = rest[0] if rest else kwargs.get("device")
    if is_gpu(wanted):
        if rest:
            rest[0] = CPU
        else:
            kwargs["device"] = CPU
    elif is_cpu(wanted) and tensor.device.type == "cpu" and len(rest) < 4:
        kwargs["copy"] = True
    return func(tensor, *rest, **kwargs)


def _cpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0].clone() if args[0].device.type == "cpu" else func(*args, **kwargs)


def _cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args[0].device.type == "cpu" else args[0].to(CPU)


def _is_cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """True for tensors of the script; torch itself gets the truth, which chooses its kernels."""
    return func(*args, **kwargs) if called_by_torch() else args[0].device.type == "cpu"


def _type(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.type("torch.cuda.HalfTensor")`"""
    tensor, *rest = args
    if rest and isinstance(rest[0], str):
        rest[0] = rest[0].replace("torch.cuda.", "torch.")
    return func(tensor, *rest, **kwargs)


_Special = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
_SPECIAL: dict[Any, _Special] = {
    torch.device: _device,
    torch.Tensor.to: _to,
    torch.Tensor.cpu: _cpu,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.is_cuda.__get__: _is_cuda,  # type: ignore[attr-defined]
    torch.Tensor.type: _type,
    torch.Tensor.pin_memory: lambda func, args, kwargs: args[0],
    # What is on the CPU counts as pinned: `fully_shard` would train on a copy of it otherwise.
    torch.Tensor.is_pinned: lambda func, args, kwargs: True,
}


def install() -> None:
    """Rewrite devices from now on, in this thread and in the ones that are started later."""
    context_init, thread_run = DeviceContext.__init__, threading.Thread.run
    hooks_init = graph.saved_tensors_hooks.__init__

    def device_context(self: Any, device: Any) -> None:  # `with torch.device("cuda"):`
        context_init(self, on_cpu(device))

    def saved_tensors_hooks(self: Any, pack_hook: Any, unpack_hook: Any) -> None:
        hooks_init(self, _inside(pack_hook), _inside(unpack_hook))

    set_default_device = torch.set_default_device

    put(DeviceContext, __init__=device_context)
    put(threading.Thread, run=_inside(thread_run))
    # looks at the type of the stream before it asks a mode
    put(torch.Tensor, record_stream=lambda self, stream: None)
    put(graph.saved_tensors_hooks, __init__=saved_tensors_hooks)
    put(torch, set_default_device=lambda device: set_default_device(on_cpu(device)))
    rebinding = Rebinding()
    rebinding.replace(graph, "_engine_run_backward", _inside)
    rebinding.apply()
    GpuIsCpu().__enter__()  # type: ignore[no-untyped-call]


def _inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the mode, where it is called from inside a torch call."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with GpuIsCpu():
            return function(*args, **kwargs)

    return call
