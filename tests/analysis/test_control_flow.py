"""Which paths run, and what holds where they meet."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.values import (
    Const,
)
from support.values import analyse, check_model, probed, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "loop": "for probe in [FSDP(Net()) for _ in range(2)]:\n    probe",
    "try": """
        try:
            probe = FSDP(Net())
        except RuntimeError:
            raise
        probe
        """,
    "match": """
        def build(kind):
            match kind:
                case "a":
                    return FSDP(Net())
                case _:
                    raise ValueError
        probe = build("a")
        probe
        """,
    "while": """
        probe = None
        while probe is None:
            probe = FSDP(Net())
        probe
        """,
    "with": """
        @contextlib.contextmanager
        def opened(m):
            yield m
        with contextlib.ExitStack() as stack:
            probe = stack.enter_context(FSDP(Net()))
            probe
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_what_an_exit_stack_enters() -> None:
    analysis = analyse(
        """
        with contextlib.ExitStack() as stack:
            probe = stack.enter_context(FSDP(Net()))
            probe
        """
    )
    assert wraps(analysis)


def test_both_branches_meet() -> None:
    text = "if input():\n    probe = 1\nelse:\n    probe = 2\nprobe"
    assert probed(text) == {Const.of(1), Const.of(2)}


def test_a_branch_that_leaves_does_not_come_back() -> None:
    text = """
        def f(x):
            probe = 1
            if x:
                probe = 2
                return
            probe
        f(input())
        """
    assert probed(text) == {Const.of(1)}


def test_a_loop_that_breaks_with_a_value() -> None:
    text = "probe = 1\nfor x in input():\n    if x:\n        probe = 2\n        break\nprobe"
    assert probed(text) == {Const.of(1), Const.of(2)}


def test_handlers_start_from_anywhere_in_the_body() -> None:
    text = """
        probe = 1
        try:
            probe = 2
            input()
        except ValueError:
            probe
        """
    assert probed(text) == {Const.of(1), Const.of(2)}


def test_a_match_without_a_default_may_pass_by() -> None:
    text = "probe = 1\nmatch input():\n    case 'a':\n        probe = 2\nprobe"
    assert probed(text) == {Const.of(1), Const.of(2)}
    text = "probe = 1\nmatch input():\n    case _:\n        probe = 2\nprobe"
    assert probed(text) == {Const.of(2)}


def test_a_state_dict_context_is_open_inside_its_with_only() -> None:
    analysis = analyse(
        """
        from torch.distributed.fsdp import StateDictType
        model = FSDP(Net())
        with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT):
            model.state_dict()
        model.load_state_dict({})
        """
    )
    by_name = {ast.unparse(c.func): c for c in analysis.solver.call_nodes.values()}
    inside = analysis.solver.modes_at(by_name["model.state_dict"])
    (mode,) = inside
    assert mode is not None
    assert (
        mode.line
        == analysis.solver.call_graph.module_of(by_name["model.state_dict"])
        .site(by_name["model.state_dict"])
        .line
        - 1
    )
    assert analysis.solver.modes_at(by_name["model.load_state_dict"]) == {None}
