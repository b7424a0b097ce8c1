"""Weights of the first rank for all, and models that are empty on the others."""

from __future__ import annotations

import pytest

from support.wraps import plan, plans, wrapped

SYNC = "def build():\n    return FSDP(Block(), sync_module_states=True{})\n"


def test_the_first_rank_hands_out_its_state() -> None:
    initial = plan(SYNC.format("")).parts.initial
    assert initial is not None
    assert not initial.share_buffers
    assert not initial.empty_elsewhere


def test_buffers_in_no_state_dict_are_shared_where_there_may_be_some() -> None:
    unknown = wrapped("sync_module_states=True").parts.initial
    assert unknown is not None
    assert unknown.share_buffers


def test_a_module_that_only_makes_room_is_empty_elsewhere() -> None:
    room = ", param_init_fn=lambda m: m.to_empty(device='cuda', recurse=False)"
    initial = plan(SYNC.format(room)).parts.initial
    assert initial is not None
    assert initial.empty_elsewhere


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("param_init_fn=flag", "`param_init_fn` materialises modules"),
        ("param_init_fn=lambda m: other.to_empty()", "`param_init_fn` materialises modules"),
        (
            "sync_module_states=True, ignored_modules=[net.a]",
            "states are synchronised inside a process group",
        ),
    ],
)
def test_what_has_no_native_form(arguments: str, reason: str) -> None:
    assert wrapped(arguments).reason == reason


def test_a_flag_decides_at_run_time() -> None:
    found = wrapped("sync_module_states=flag")
    assert not found.reason
    assert found.parts.initial is not None
    assert found.parts.initial.test is not None
    shim = wrapped("sync_module_states=flag", style="shim")
    assert shim.reason == "`sync_module_states` is known only at run time"


def test_units_are_not_synchronised_one_by_one() -> None:
    text = """\
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = FSDP(Block(), sync_module_states=True)


outer = FSDP(Outer())
"""
    assert plans(text)[0].reason == "states are synchronised unit by unit"
