"""Hooks that compress become a dtype of the reduction."""

from __future__ import annotations

import pytest

from support.wraps import plan, shown

HOOKS = "from torch.distributed.algorithms._comm_hooks import default_hooks\n"
BUILD = """\
def build(net, state, flag):
    model = FSDP(net{arguments})
    model.register_comm_hook(state, {hook})
    return model
"""


@pytest.mark.parametrize(
    ("hook", "dtype"),
    [("bf16_compress_hook", "bfloat16"), ("fp16_compress_hook", "float16")],
)
def test_compression(hook: str, dtype: str) -> None:
    found = plan(HOOKS + BUILD.format(arguments="", hook=f"default_hooks.{hook}"))
    assert found.parts.comm_hook is not None
    assert found.parts.precision is not None
    made = shown(found.fact.module, found.parts.precision.policy)
    assert made == f"MixedPrecisionPolicy(reduce_dtype={dtype})"


@pytest.mark.parametrize(
    ("arguments", "hook"),
    [
        ("", "default_hooks.allreduce_hook"),
        ("", "bf16_compress_hook"),
        ("", "default_hooks.bf16_compress_hook if flag else default_hooks.fp16_compress_hook"),
        (
            ", mixed_precision=MixedPrecision(torch.bfloat16)",
            "default_hooks.bf16_compress_hook",
        ),
    ],
)
def test_other_hooks_are_left_to_the_rule(arguments: str, hook: str) -> None:
    own = "def bf16_compress_hook(state, gradient):\n    return gradient\n\n\n"
    found = plan(HOOKS + own + BUILD.format(arguments=arguments, hook=hook))
    assert found.native
    assert found.parts.comm_hook is None


def test_a_hook_that_only_some_runs_register_is_left() -> None:
    text = BUILD.replace("    model.reg", "    if flag:\n        model.reg")
    found = plan(HOOKS + text.format(arguments="", hook="default_hooks.bf16_compress_hook"))
    assert found.parts.comm_hook is None
