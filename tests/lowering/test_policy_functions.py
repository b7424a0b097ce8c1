"""Policies of the user's that only hand on what they get: which classes they mean."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.lowering.wrap_policy import lower_policy
from support.wraps import shown, solved

IMPORT = "from torch.distributed.fsdp.wrap import _module_wrap_policy, _or_policy"
NAMES = "module, recurse, nonwrapped_numel"


def lowered(policy: str, *lines: str) -> tuple[str | None, list[Definition]]:
    """The test that `policy` is below `lines`, and what it was followed through."""
    program = solved("".join(f"{line}\n" for line in (IMPORT, *lines, f"print({policy})")))
    call = program.module().tree.body[-1]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    absorbed: list[Definition] = []
    found = lower_policy(program.solver, program.module(), call.value.args[0], absorbed)
    return shown(program.module(), found.test) if found else None, absorbed


@pytest.mark.parametrize(
    "lines",
    [
        (
            f"def policy({NAMES}):",
            f"    return transformer_auto_wrap_policy({NAMES}, transformer_layer_cls={{Block}})",
        ),
        (f"def policy({NAMES}):", f"    return _module_wrap_policy({NAMES}, {{Block}})"),
        (
            f"def policy({NAMES}, **more):",
            '    """Blocks."""',
            "    return _module_wrap_policy(module=module, recurse=recurse,",
            "        nonwrapped_numel=nonwrapped_numel, module_classes=[Block], **more)",
        ),
        (
            "def policy(*args, **kwargs):",
            "    classes = {Block}",
            "    return transformer_auto_wrap_policy(",
            "        *args, **kwargs, transformer_layer_cls=classes)",
        ),
        (
            f"def policy({NAMES}, layers=(Block,)):",
            f"    return transformer_auto_wrap_policy({NAMES}, layers)",
        ),
        (
            "policy = lambda **given: transformer_auto_wrap_policy(",
            "    transformer_layer_cls={Block}, **given)",
        ),
        (
            f"def policy({NAMES}):",
            f"    return lambda_auto_wrap_policy({NAMES}, lambda m: isinstance(m, Block))",
        ),
        (
            f"def policy({NAMES}):",
            f"    return _or_policy({NAMES}, [ModuleWrapPolicy({{Block}})])",
        ),
    ],
)
def test_functions_that_hand_on(lines: tuple[str, ...]) -> None:
    test, absorbed = lowered("policy", *lines)
    assert test == "isinstance(module, Block)"
    assert absorbed


def test_one_that_is_given_the_classes_by_partial() -> None:
    test, _ = lowered(
        "functools.partial(policy, layers={Block})",
        f"def policy({NAMES}, layers):",
        f"    return transformer_auto_wrap_policy({NAMES}, transformer_layer_cls=layers)",
    )
    assert test == "isinstance(module, Block)"


@pytest.mark.parametrize(
    "lines",
    [
        (f"def policy({NAMES}):", f"    return size_based_auto_wrap_policy({NAMES}, 100)"),
        (
            f"def policy({NAMES}):",
            "    return transformer_auto_wrap_policy(module, True, nonwrapped_numel, {Block})",
        ),
        (
            f"def policy({NAMES}):",
            "    return transformer_auto_wrap_policy(module, recurse, 0, {Block})",
        ),
        (
            f"def policy({NAMES}):",
            f"    print(module)\n    return transformer_auto_wrap_policy({NAMES}, {{Block}})",
        ),
        (
            "@register",
            f"def policy({NAMES}):",
            f"    return transformer_auto_wrap_policy({NAMES}, {{Block}})",
        ),
        (
            f"def policy({NAMES}):",
            f"    return not transformer_auto_wrap_policy({NAMES}, {{Block}})",
        ),
        (
            f"def policy({NAMES}):",
            f"    return transformer_auto_wrap_policy({NAMES}, {{type(module)}})",
        ),
        (
            f"def policy({NAMES}, layers):",
            f"    return transformer_auto_wrap_policy({NAMES}, layers)",
        ),
        (
            "def make(cls):",
            f"    def policy({NAMES}):",
            f"        return transformer_auto_wrap_policy({NAMES}, {{cls}})",
            "    return policy",
            "policy = make(Block)",
        ),
        (
            f"def policy({NAMES}):",
            f"    return transformer_auto_wrap_policy({NAMES}, {{Block}})",
            "Block = print",
        ),
    ],
)
def test_functions_that_do_more_or_mean_something_else(lines: tuple[str, ...]) -> None:
    assert lowered("policy", *lines)[0] is None
