"""Buffers that are cast once the model is sharded."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import Precision, WrapPlan
from support.wraps import plan, shown, wrapped

BF16 = "torch.bfloat16"
BUFFERED = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))


"""


def precision(found: WrapPlan) -> Precision:
    """The precision of a native plan."""
    assert found.native, found.reason
    assert found.parts.precision is not None
    return found.parts.precision


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(BF16, BF16), (f"{BF16} if flag else torch.half", f"{BF16} if flag else torch.half")],
)
def test_buffers_are_cast_where_there_may_be_some(dtype: str, said: str) -> None:
    argument = f"mixed_precision=MixedPrecision({BF16}, buffer_dtype={dtype})"
    found = wrapped(argument)
    made = precision(found)
    assert made.buffer_dtype is not None
    assert shown(found.fact.module, made.buffer_dtype) == said
    own = precision(plan(f"flag = 1\nmodel = FSDP(Block(), {argument})\n"))
    assert not own.casts_buffers


def test_a_dtype_that_may_be_none_is_left_to_the_run() -> None:
    found = wrapped(f"mixed_precision=MixedPrecision(buffer_dtype={BF16} if flag else None)")
    assert found.reason == "the dtype of the buffers is known only at run time"


def test_a_dtype_that_may_be_none_is_asked_of_the_policy_where_parameters_have_it() -> None:
    lines = (f"half = {BF16} if flag else None",)
    for written in ("half, buffer_dtype=half", "buffer_dtype=half, param_dtype=half"):
        made = precision(wrapped(f"mixed_precision=MixedPrecision({written})", *lines))
        assert made.buffers_as == "param_dtype"
        assert made.given_by_dtype
    found = wrapped("mixed_precision=MixedPrecision(torch.half, buffer_dtype=half)", *lines)
    assert found.reason == "the dtype of the buffers is known only at run time"


def test_buffers_that_are_like_the_parameters_follow_the_policy() -> None:
    lines = (
        f"half = MixedPrecision({BF16}, buffer_dtype={BF16})",
        "if flag:",
        "    half = MixedPrecision(torch.half, buffer_dtype=torch.half)",
    )
    assert precision(wrapped("mixed_precision=half", *lines)).buffers_as == "param_dtype"


def test_buffers_are_saved_in_the_dtype_that_they_had() -> None:
    text = f"""\
{BUFFERED}model = FSDP(Net(), mixed_precision=MixedPrecision(buffer_dtype={BF16}))
torch.save(model.state_dict(), "model.pt")
"""
    found = plan(text)
    assert found.reason == "buffers are cast, and saved in the dtype that they had"
    assert found.casts_buffers
