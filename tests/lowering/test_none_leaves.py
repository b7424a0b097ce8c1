"""`None` that stands for no policy, found where constructors alone are given it."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.none_leaves import none_leaves
from fsdp_migrate.lowering.value_flow import ValueFlow
from support.wraps import HEAD, solved

ON = "CPUOffload(True)"
WRAP = "model = FSDP(Block(), cpu_offload=x)\n"


def _lines(text: str) -> list[int] | None:
    """The lines of the `None`s below the imports."""
    flow = ValueFlow(solved(text).solver)
    (group,) = flow.groups("offload")
    first = HEAD.count("\n")
    found = none_leaves(flow, flow.reads(group))
    return sorted(p.node.lineno - first for p in found) if found is not None else None


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"x = {ON} if os.sep else None\n{WRAP}", [1]),
        (f"x = None\nif os.sep:\n    x = {ON}\n{WRAP}", [1]),
        (f"def f(a):\n    if a:\n        return None\n    return {ON}\n\n\nx = f(1)\n{WRAP}", [3]),
        (f"x = {ON}\n{WRAP}", []),
    ],
)
def test_every_none_is_found(text: str, lines: list[int]) -> None:
    assert _lines(text) == lines


@pytest.mark.parametrize(
    "text",
    [
        f"x = {ON} if os.sep else None\n{WRAP}print(x is None)\n",
        f"n = None\nx = {ON} if os.sep else n\n{WRAP}print(n)\n",
        f"x = dict(a={ON} if os.sep else None)['a']\n{WRAP}",
    ],
)
def test_a_none_with_other_readers_stays(text: str) -> None:
    assert _lines(text) is None
