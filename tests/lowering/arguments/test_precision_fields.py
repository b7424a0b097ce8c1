"""The fields of a mixed precision."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.arguments.precision_fields import as_policy, casts_inputs, fields_of
from fsdp_migrate.lowering.wrap_site import NotNative
from support.wraps import shown, solved


def made(arguments: str) -> ast.Call:
    """A call with these arguments."""
    call = ast.parse(f"MixedPrecision({arguments})", mode="eval").body
    assert isinstance(call, ast.Call)
    return call


def test_fields_by_position_and_by_name() -> None:
    found = fields_of(made("a, reduce_dtype=b, buffer_dtype=c"))
    assert {name: ast.unparse(node) for name, node in found.items()} == {
        "param_dtype": "a",
        "reduce_dtype": "b",
        "buffer_dtype": "c",
    }


@pytest.mark.parametrize("arguments", ["*a", "**a", "a, b, c, d()"])
def test_fields_that_have_no_native_form(arguments: str) -> None:
    with pytest.raises(NotNative):
        fields_of(made(arguments))


@pytest.mark.parametrize(
    ("arguments", "casts"),
    [
        ("", (False, True)),
        ("cast_forward_inputs=True", (True, True)),
        ("cast_root_forward_inputs=False", (False, False)),
    ],
)
def test_who_casts_inputs(arguments: str, casts: tuple[bool, bool]) -> None:
    assert casts_inputs(fields_of(made(arguments))) == casts


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        ("torch.half", "MixedPrecisionPolicy(param_dtype=torch.half)"),
        ("", "MixedPrecisionPolicy()"),
        ("cast_root_forward_inputs=False", "MixedPrecisionPolicy(cast_forward_inputs=False)"),
    ],
)
def test_the_policy_of_a_root(arguments: str, policy: str) -> None:
    program = solved(f"half = MixedPrecision({arguments})\n")
    (call,) = program.nodes(f"MixedPrecision({arguments})")
    assert isinstance(call, ast.Call)
    assert shown(program.module(), as_policy(program.module(), call)) == policy
