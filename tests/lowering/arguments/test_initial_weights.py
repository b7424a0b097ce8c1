"""Weights of the first rank for all, and models that are empty on the others."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.code import Variable
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
        (
            "param_init_fn=print, ignored_modules=[net.a]",
            "`param_init_fn` materialises modules",
        ),
        (
            "sync_module_states=True, ignored_modules=[net.a]",
            "states are synchronised inside a process group",
        ),
    ],
)
def test_what_has_no_native_form(arguments: str, reason: str) -> None:
    assert wrapped(arguments).reason == reason


@pytest.mark.parametrize("ranks", ["process_group=other", "device_mesh=other if flag else None"])
def test_the_first_rank_of_a_mesh_hands_out_what_it_has(ranks: str) -> None:
    found = wrapped(f"sync_module_states=True, {ranks}")
    assert not found.reason
    assert found.parts.initial is not None
    assert found.parts.initial.by_unit is not None
    assert not found.parts.initial.on_world
    shim = wrapped(f"sync_module_states=True, {ranks}", style="shim")
    assert shim.reason


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
    (inner, outer) = plans(text)
    assert not inner.reason
    assert inner.parts.initial is not None
    assert inner.parts.initial.by_unit is not None
    assert outer.parts.initial is None
    assert plans(text, style="shim")[0].reason == "states are synchronised unit by unit"


@pytest.mark.parametrize(
    "init", ["flag", "lambda m: other.to_empty(m)", "flag.reset", "functools.partial"]
)
def test_units_get_their_memory_one_by_one(init: str) -> None:
    found = wrapped(f"param_init_fn={init}, sync_module_states=True")
    assert not found.reason
    assert found.parts.materialized is not None
    assert found.parts.initial is not None
    assert found.parts.initial.by_unit is not None


@pytest.mark.parametrize(
    ("init", "name", "bound"),
    [
        ("print", "materialize", False),
        ("functools.partial(print)", "materialize", True),
        ("lambda module: print(module)", "materialize", False),
        ("flag", "materialize_or_reset", False),
        ("flag.init(other)", "materialize_or_reset", True),
        ("print if flag else None", "materialize_or_reset", True),
    ],
)
def test_without_a_function_modules_initialise_themselves(
    init: str, name: str, bound: bool
) -> None:
    found = wrapped(f"param_init_fn={init}")
    assert not found.reason
    made = found.parts.materialized
    assert made is not None
    assert isinstance(made.made.function, Variable)
    assert made.made.function.names == (name,)
    assert (made.bound is not None) == bound


def test_a_list_that_nothing_is_put_into_leaves_nothing_out() -> None:
    found = wrapped("param_init_fn=print, ignored_modules=[]")
    assert not found.reason
    assert found.parts.materialized is not None


def test_a_model_that_is_nowhere_near_the_meta_device() -> None:
    found = plan("def init(m):\n    m.to_empty()\n\n\nFSDP(Block(), param_init_fn=init)\n")
    assert not found.reason
    assert found.parts.materialized is None


def test_room_is_made_on_the_ranks_that_a_condition_says() -> None:
    room = "lambda m: m.to_empty(device='cuda', recurse=False)"
    for init in (f"({room}) if flag else None", f"{room} if flag else None"):
        initial = wrapped(f"sync_module_states=flag, param_init_fn={init}").parts.initial
        assert initial is not None
        assert initial.empty_elsewhere
        assert initial.test is not None
