"""What a policy of the user's answers, read off its body."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.policy_answers import (
    always_looks,
    asked_for,
    reads_size,
    takes_questions,
)

NAMES = "module, recurse, nonwrapped_numel"
KIND = "isinstance(module, Block)"


def _function(*lines: str, names: str = NAMES) -> ast.FunctionDef:
    body = "".join(f"    {line}\n" for line in lines)
    (made,) = ast.parse(f"def policy({names}):\n{body}").body
    assert isinstance(made, ast.FunctionDef)
    return made


@pytest.mark.parametrize(
    "lines",
    [
        ("if recurse:", "    return True", f"return {KIND}"),
        ("if recurse is True:", "    return True", "else:", f"    return {KIND}"),
        (f"return recurse or {KIND}",),
        (f"return True if recurse else {KIND}",),
        ("'''Blocks.'''", "if not recurse:", f"    return {KIND}", "return True"),
        ("if not recurse and other():", f"    return {KIND}", f"return recurse or {KIND}"),
    ],
)
def test_one_test(lines: tuple[str, ...]) -> None:
    function = _function(*lines)
    assert always_looks(function)
    if "other" not in lines[0]:
        assert [ast.unparse(test) for test in asked_for(function)] == [KIND]


@pytest.mark.parametrize(
    "lines",
    [
        (f"return {KIND}",),
        ("if recurse:", f"    return not {KIND}", f"return {KIND}"),
        ("if recurse and module.training:", "    return True", f"return {KIND}"),
        ("recurse = other()", "if recurse:", "    return True", f"return {KIND}"),
        ("for x in xs:", "    return x", "return recurse"),
        ("if recurse:", "    return", f"return {KIND}"),
        ("if recurse:", "    print('in')"),
    ],
)
def test_it_may_not_look(lines: tuple[str, ...]) -> None:
    assert not always_looks(_function(*lines))


def test_several_tests() -> None:
    function = _function(
        "if recurse:",
        "    return True",
        "if one(module):",
        "    return True",
        "elif two(module):",
        "    return True",
        "return False",
    )
    assert [ast.unparse(test) for test in asked_for(function)] == ["one(module)", "two(module)"]


@pytest.mark.parametrize(
    "lines",
    [
        ("if recurse:", "    return True", "kind = type(module)", "return kind in KINDS"),
        ("if recurse:", "    return True", "if one(module):", "    return False", "return True"),
        ("if recurse:", "    return True", "for x in xs:", "    pass", "return False"),
        ("return recurse or (one(module) if two(module) else recurse)",),
    ],
)
def test_more_than_a_test(lines: tuple[str, ...]) -> None:
    function = _function(*lines)
    read = {n.id for t in asked_for(function) for n in ast.walk(t) if isinstance(n, ast.Name)}
    assert not asked_for(function) or "recurse" in read


def test_sizes() -> None:
    assert reads_size(_function("return nonwrapped_numel > 3"))
    assert reads_size(_function("return other(*args)", names="*args, **kwargs"))
    assert not reads_size(_function("return recurse"))


@pytest.mark.parametrize(
    ("names", "takes"),
    [
        (NAMES, True),
        ("module, recurse, **kwargs", True),
        ("module, recurse, unwrapped_params", False),
        ("*args", False),
        (f"{NAMES}, least=3", True),
    ],
)
def test_parameters(names: str, takes: bool) -> None:
    assert takes_questions(_function("return True", names=names)) == takes
