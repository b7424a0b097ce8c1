"""Mixed precision: policies, casts of inputs, and the dtype of buffers."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import Precision, WrapPlan
from support.wraps import migrated, plan, plans, shown, wrapped

BF16 = "torch.bfloat16"


def precision(found: WrapPlan) -> Precision:
    """The precision of a native plan."""
    assert found.native, found.reason
    assert found.parts.precision is not None
    return found.parts.precision


@pytest.mark.parametrize(
    ("argument", "policy", "given"),
    [
        (f"MixedPrecision({BF16})", f"MixedPrecisionPolicy(param_dtype={BF16})", ""),
        (
            f"MixedPrecision(reduce_dtype={BF16}, cast_root_forward_inputs=False)",
            f"MixedPrecisionPolicy(reduce_dtype={BF16}, cast_forward_inputs=False)",
            "",
        ),
        (
            f"MixedPrecision({BF16}) if flag else None",
            f"MixedPrecisionPolicy(param_dtype={BF16}) if flag else MixedPrecisionPolicy()",
            "flag",
        ),
        (
            f"None if flag else MixedPrecision({BF16})",
            f"MixedPrecisionPolicy() if flag else MixedPrecisionPolicy(param_dtype={BF16})",
            "not flag",
        ),
    ],
)
def test_what_is_written_out(argument: str, policy: str, given: str) -> None:
    found = wrapped(f"mixed_precision={argument}")
    made = precision(found)
    assert shown(found.fact.module, made.policy) == policy
    assert (shown(found.fact.module, made.given) if made.given else "") == given
    assert made.node is None
    assert not made.optional


def test_an_object_that_others_read_is_passed_on() -> None:
    lines = (f"half = MixedPrecision({BF16})", "print(half)")
    made = precision(wrapped("mixed_precision=half", *lines))
    assert made.is_name


def test_one_that_may_be_none_is_no_policy_yet() -> None:
    lines = ("half = None", "if flag:", f"    half = MixedPrecision({BF16})", "print(half is None)")
    made = precision(wrapped("mixed_precision=half", *lines))
    assert made.optional
    assert not made.is_name


def test_none_becomes_a_policy_where_constructors_alone_read_it() -> None:
    lines = ("half = None", "if flag:", f"    half = MixedPrecision({BF16})")
    made = precision(wrapped("mixed_precision=half", *lines))
    assert made.is_name
    assert not made.optional


def test_a_value_that_changes_in_between_is_not_moved() -> None:
    lines = (f"dtype = {BF16}", "half = MixedPrecision(dtype)", "dtype = torch.float32")
    made = precision(wrapped("mixed_precision=half", *lines))
    assert made.is_name  # the object is made where it was made


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("flag", "the mixed precision is known only at run time"),
        ("MixedPrecision(**flag)", "the mixed precision takes arguments through `**`"),
        (
            "MixedPrecision(keep_low_precision_grads=flag())",
            "whether gradients are kept in low precision is computed at the call",
        ),
        (
            "MixedPrecision(cast_forward_inputs=flag)",
            "`cast_forward_inputs` is known only at run time",
        ),
        (
            "MixedPrecision(_module_classes_to_ignore=[])",
            "module classes are exempt from the mixed precision",
        ),
    ],
)
def test_what_has_no_native_form(argument: str, reason: str) -> None:
    assert wrapped(f"mixed_precision={argument}").reason == reason


# ---------------------------------------------------------------------- BatchNorm
@pytest.mark.parametrize(
    ("layer", "exempt"), [("nn.BatchNorm2d(4)", True), ("nn.LayerNorm(4)  # no BatchNorm", False)]
)
def test_batch_norm_under_a_policy_keeps_full_precision(layer: str, exempt: bool) -> None:
    text = f"""\
class BatchNormless(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = {layer}


policy = ModuleWrapPolicy({{nn.Linear}})
model = FSDP(BatchNormless(), auto_wrap_policy=policy, mixed_precision=MixedPrecision({BF16}))
"""
    found = plan(text)
    assert found.native
    assert found.parts.precision is not None
    assert found.parts.precision.batch_norm == exempt
    assert ("isinstance(module, _BatchNorm)" in migrated(text)) == exempt
    assert plan(text, style="shim").native != exempt


def test_units_below_a_root_that_casts_do_not() -> None:
    text = f"""\
def build(net):
    return FSDP(
        net,
        mixed_precision=MixedPrecision({BF16}),
        auto_wrap_policy=ModuleWrapPolicy({{Block}}),
    )
"""
    after = migrated(text)
    assert "unit_policy = replace(mp_policy, cast_forward_inputs=False)" in after
    assert "fully_shard(module, mp_policy=unit_policy)" in after
    assert "fully_shard(net, mp_policy=mp_policy)" in after


def test_an_object_that_the_shim_reads_too_stays() -> None:
    text = f"""\
half = MixedPrecision({BF16})
one = FSDP(Block(), mixed_precision=half)
two = FSDP(Block(), mixed_precision=half, other=1)
"""
    one, two = plans(text)
    assert not two.native
    assert one.native
    assert "a constructor call takes it that only the run knows" in one.reason
