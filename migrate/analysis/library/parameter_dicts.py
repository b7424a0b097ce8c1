"""Dicts of a module's own parameters: `module._parameters`, `module.state_dict(keep_vars=True)`."""

from __future__ import annotations

from dataclasses import replace

from fsdp_migrate.analysis.machine import Passed
from fsdp_migrate.analysis.values import Atom, Params, Value, constant

DICT = "dict"  # the kind of such parameters
PRIVATE = "_parameters"
VIEWS = {"values": "", "items": "named", "keys": "name", "get": "one", "pop": "one", "copy": DICT}


def kept_in_dict(receiver: Atom, name: str, passed: Passed) -> Value | None:
    """What `module.state_dict(keep_vars=True)` gives; None for other calls."""
    keeps = constant(passed.kwargs["keep_vars"]) if "keep_vars" in passed.kwargs else None
    if name != "state_dict" or keeps is None or not keeps.value:
        return None
    return frozenset({Params(receiver, DICT)})


def of_dict(receiver: Atom, name: str) -> Value | None:
    """What a method of such a dict gives; None for what is none."""
    kind = VIEWS.get(name)
    if kind is None or not isinstance(receiver, Params) or receiver.kind != DICT:
        return None
    return frozenset({replace(receiver, kind=kind)})
