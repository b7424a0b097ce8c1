"""Process groups and device meshes: NCCL means gloo."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist
from torch.distributed import device_mesh
from torch.distributed import distributed_c10d as c10d

from fsdp_migrate.runtime.rehearse.devices import is_gpu
from fsdp_migrate.runtime.rehearse.patching import Rebinding, called_by_torch, put
from fsdp_migrate.runtime.rehearse.streams import Anything


def gloo_for(backend: Any) -> Any:
    """The backend to use where the script names this one."""
    text = str(backend).lower() if backend is not None else "nccl"
    return "gloo" if "nccl" in text else backend


def install() -> None:
    """Create gloo groups where the script asks for NCCL, and CPU meshes for CUDA meshes."""
    rebinding = Rebinding()
    rebinding.replace(c10d, "init_process_group", _init_process_group)
    rebinding.replace(c10d, "new_group", _new_group)
    rebinding.replace(c10d, "get_backend", _get_backend)
    rebinding.replace(c10d, "_coalescing_manager", lambda original: _one_by_one)
    rebinding.replace(device_mesh, "init_device_mesh", _on_cpu)
    rebinding.apply()
    mesh = device_mesh.DeviceMesh
    mesh_init, from_group = mesh.__init__, mesh.from_group

    def init(self: Any, device_type: Any, *args: Any, **kwargs: Any) -> None:
        mesh_init(self, "cpu" if is_gpu(device_type) else device_type, *args, **kwargs)

    def of_group(group: Any, device_type: Any, *args: Any, **kwargs: Any) -> Any:
        return from_group(group, "cpu" if is_gpu(device_type) else device_type, *args, **kwargs)

    put(mesh, __init__=init, from_group=staticmethod(of_group))
    for module in (c10d, dist):
        put(module, is_nccl_available=lambda: True)
        if not hasattr(module, "ProcessGroupNCCL"):
            put(module, ProcessGroupNCCL=ProcessGroupNCCL)


class ProcessGroupNCCL(Anything):
    """No group is one; scripts ask for its options."""

    Options = Anything


def _get_backend(original: Callable[..., Any]) -> Callable[..., Any]:
    """NCCL for the script, whose branches depend on it; torch itself gets the truth."""

    @functools.wraps(original)
    def get_backend(group: Any = None) -> Any:
        backend = original(group)
        return backend if backend != "gloo" or called_by_torch() else _asked_for(group)

    return get_backend


def _asked_for(group: Any) -> str:
    default = c10d._get_default_group()
    group = default if group is None else group
    return str(_asked.get(group.group_name, _asked.get(default.group_name, "gloo")))


_asked: dict[str, str] = {}  # the backend that the script named, by group


def _note(group: Any, backend: Any) -> None:
    if hasattr(group, "group_name"):  # this rank is a member
        _asked[group.group_name] = str(backend)


def _init_process_group(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init_process_group(backend: Any = None, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("pg_options", None)
        kwargs.pop("device_id", None)
        original(gloo_for(backend), *args[:6], **kwargs)
        _note(c10d._get_default_group(), "nccl" if backend is None else backend)

    return init_process_group


def _new_group(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def new_group(
        ranks: Any = None, timeout: Any = None, backend: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        kwargs.pop("pg_options", None)
        kwargs.pop("device_id", None)
        group = original(ranks, timeout, gloo_for(backend), None, *args[1:], **kwargs)
        if backend is not None:
            _note(group, backend)
        return group

    return new_group


@contextlib.contextmanager
def _one_by_one(
    group: Any = None, device: Any = None, async_ops: bool | None = False
) -> Iterator[Any]:
    """Collectives that NCCL would send together; gloo sends each as it is called."""
    manager = c10d._CoalescingManager()
    manager.wait = lambda: None  # type: ignore[method-assign]
    yield manager


def _on_cpu(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init_device_mesh(device_type: Any, *args: Any, **kwargs: Any) -> Any:
        return original("cpu" if is_gpu(device_type) else device_type, *args, **kwargs)

    return init_device_mesh
