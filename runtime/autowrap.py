"""`enable_wrap` and `wrap`: annotate modules where they are built, decide the wrapper later.

Source: torch/distributed/fsdp/wrap.py
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_active: list[tuple[Callable[..., nn.Module], dict[str, Any]]] = []


@contextlib.contextmanager
def enable_wrap(*, wrapper_cls: Callable[..., nn.Module], **wrapper_kwargs: Any) -> Iterator[None]:
    """Inside, `wrap(module)` calls `wrapper_cls(module, **wrapper_kwargs)`.

    Raises:
        NotImplementedError: contexts are nested, which FSDP1 refuses too.
    """
    if _active:
        raise NotImplementedError("enable_wrap contexts cannot be nested")
    _active.append((wrapper_cls, wrapper_kwargs))
    try:
        yield
    finally:
        _active.clear()


def wrap(module: nn.Module, **wrap_overrides: Any) -> nn.Module:
    """`module`, wrapped if an `enable_wrap` context is open; `wrap_overrides` win over its own."""
    if not _active:
        return module
    wrapper, kwargs = _active[-1]
    return wrapper(module, **{**kwargs, **wrap_overrides})
