"""The fields of `MixedPrecision(...)`, and the policy that they make."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from fsdp_migrate.findings.code import Code, Kept, Keyword, Literal, Name, call
from fsdp_migrate.lowering.wrap_site import NotNative
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

MIXED_PRECISION = f"{ROOT}.MixedPrecision"
POLICY = Name(ROOT, "MixedPrecisionPolicy")
FIELDS = (
    "param_dtype",
    "reduce_dtype",
    "buffer_dtype",
    "keep_low_precision_grads",
    "cast_forward_inputs",
    "cast_root_forward_inputs",
    "_module_classes_to_ignore",
)
KEPT_FIELDS = ("param_dtype", "reduce_dtype")
Fields = dict[str, ast.expr]


def fields_of(made: ast.Call) -> Fields:
    """The fields that a `MixedPrecision(...)` is given."""
    if any(k.arg is None for k in made.keywords) or any(
        isinstance(a, ast.Starred) for a in made.args
    ):
        raise NotNative("the mixed precision takes arguments through `**`")
    fields = dict(zip(FIELDS, made.args, strict=False))
    fields |= {k.arg: k.value for k in made.keywords if k.arg}
    if "_module_classes_to_ignore" in fields:
        raise NotNative("module classes are exempt from the mixed precision")
    grads = fields.get("keep_low_precision_grads")
    if grads is not None and not isinstance(grads, ast.Constant) and path_of(grads) is None:
        raise NotNative("whether gradients are kept in low precision is computed at the call")
    return fields


def casts_inputs(fields: Fields) -> tuple[bool, bool]:
    """Whether the inputs of units below the root, and those of the root, are cast."""
    return (
        _flag(fields, "cast_forward_inputs", False),
        _flag(fields, "cast_root_forward_inputs", True),
    )


def _flag(fields: Fields, name: str, default: bool) -> bool:
    node = fields.get(name)
    if node is None:
        return default
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    raise NotNative(f"`{name}` is known only at run time")


def field_of_buffers(every: Sequence[Fields]) -> str:
    """The field of a policy that has the dtype of the buffers, as it is written; "" if none has."""
    for name in KEPT_FIELDS:
        if all(_same(fields, name, "buffer_dtype") for fields in every):
            return name
    return ""


def _same(fields: Fields, one: str, other: str) -> bool:
    return one in fields and other in fields and ast.dump(fields[one]) == ast.dump(fields[other])


def policy_call(module: Module, made: ast.Call, cast: bool) -> Code:
    """`MixedPrecision(...)` as a policy that has inputs cast, or not."""
    fields = fields_of(made)
    given = [
        Keyword(name, Kept(module.span(fields[name]))) for name in KEPT_FIELDS if name in fields
    ]
    casting = [] if cast else [Keyword("cast_forward_inputs", Literal(False))]
    return call(POLICY, *given, *casting)


def as_policy(module: Module, made: ast.Call) -> Code:
    """`MixedPrecision(...)` that is passed on as the policy of a root."""
    return policy_call(module, made, cast=casts_inputs(fields_of(made))[1])
