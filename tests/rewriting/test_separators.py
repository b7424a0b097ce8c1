"""Rows of arguments: the gaps around what is taken out or put in."""

from __future__ import annotations

from typing import cast

import libcst as cst
import pytest

from fsdp_migrate.rewriting.separators import NO_GAP, Row


def row_of(text: str) -> Row[cst.Arg]:
    """The arguments of a call."""
    call = cast(cst.Call, cst.parse_expression(text))
    closing = call.args[-1].whitespace_after_arg if call.args else NO_GAP
    bare = [arg.with_changes(whitespace_after_arg=NO_GAP) for arg in call.args]
    return Row.of(bare, call.whitespace_before_args, closing)


def shown(row: Row[cst.Arg]) -> str:
    """The arguments and what is around them, with a bar where an argument begins or ends."""
    code = cst.Module([]).code_for_node
    parts = [code(row.gaps[0])]
    for entry, comma, gap in zip(row.entries, row.commas(), row.gaps[1:], strict=True):
        sign = code(comma) if isinstance(comma, cst.Comma) else ""
        last = entry is row.entries[-1]
        parts += [f"|{code(entry.node.value)}|", sign, code(gap) if last else ""]
    return "".join(parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("f()", ""),
        ("f( )", " "),
        ("f(a)", "|a|"),
        ("f( a , b )", " |a| , |b| "),
        ("f(a,b, )", "|a|,|b|, "),
        ("f(\n  a,  # c\n  b  # d\n)", "\n  |a|,  # c\n  |b|  # d\n"),
    ],
)
def test_nothing_is_lost(text: str, parts: str) -> None:
    assert shown(row_of(text)) == parts


@pytest.mark.parametrize(
    ("text", "index", "parts"),
    [
        ("f(a)", 0, ""),
        ("f(  # c\n  a)", 0, "  # c\n  "),
        ("f(a, b)", 0, "|b|"),
        ("f(a, b)", 1, "|a|"),
        ("f(a, b,)", 1, "|a|"),
        ("f(a , b)", 1, "|a|"),
        ("f(\n  a,\n  b,\n)", 1, "\n  |a|,\n"),
        ("f(\n  a,\n  b\n)", 1, "\n  |a|\n"),
        ("f(\n  a,  # c\n  b)", 1, "\n  |a|,  # c\n  "),
        ("f(\n  # c\n  a,  # d\n  # e\n  b\n)", 0, "\n  # c\n  # e\n  |b|\n"),
    ],
)
def test_taking_out(text: str, index: int, parts: str) -> None:
    row = row_of(text)
    row.drop(index)
    assert shown(row) == parts


@pytest.mark.parametrize(
    ("text", "index", "parts"),
    [
        ("f()", 0, "|new|"),
        ("f(  # c\n)", 0, "|new|  # c\n"),
        ("f(a, b)", 0, "|new|, |a|, |b|"),
        ("f(a, b)", 1, "|a|, |new|, |b|"),
        ("f(a, b)", 2, "|a|, |b|, |new|"),
        ("f(a, b,)", 2, "|a|, |b|, |new|,"),
        ("f(\n  a,\n  b,\n)", 0, "\n  |new|,\n  |a|,\n  |b|,\n"),
        ("f(\n  a,\n  # c\n  b,\n)", 1, "\n  |a|,\n  |new|,\n  # c\n  |b|,\n"),
        ("f(\n  a,\n  b,\n)", 2, "\n  |a|,\n  |b|,\n  |new|,\n"),
        ("f(\n  a, b\n)", 0, "\n  |new|, |a|, |b|\n"),
        ("f(\n  a  # c\n)", 1, "\n  |a|,  # c\n  |new|\n"),
    ],
)
def test_putting_in(text: str, index: int, parts: str) -> None:
    row = row_of(text)
    row.insert(index, cst.Arg(cst.Name("new")))
    assert shown(row) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("f(\n  a,\n  # c\n  b,\n)", "\n  |a|,\n"),
        ("f(\n  a,\n  # c\n  b\n)", "\n  |a|\n"),
        ("f(\n  a,\n  # d\n  b,\n)", "\n  |a|,\n  # d\n"),
        ("f(\n  a,\n  # d\n  # c\n  b,\n)", "\n  |a|,\n  # d\n"),
    ],
)
def test_comments_above_may_go_along(text: str, parts: str) -> None:
    row = row_of(text)
    row.drop(1, comments={"# c"})
    assert shown(row) == parts
