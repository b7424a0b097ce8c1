"""Items between brackets: taken out and put in without a trace."""

from __future__ import annotations

import re

import pytest

from fsdp_migrate.syntax.separated_items import Listing


def listing(text: str) -> Listing[str]:
    """The listing of the words in a text."""
    pieces = re.split(r"(?<!# )\b(\w+)\b", text)
    return Listing(pieces[1::2], pieces[::2])


def text_of(items: Listing[str]) -> str:
    return "".join(gap + item for gap, item in zip(items.gaps, [*items.items, ""], strict=True))


@pytest.mark.parametrize(
    ("before", "item", "after"),
    [
        ("(a, b, c)", "a", "(b, c)"),
        ("(a, b, c)", "b", "(a, c)"),
        ("(a, b, c)", "c", "(a, b)"),
        ("(a)", "a", "()"),
        ("(\n    a,\n    b,  # of\n    c,\n)", "b", "(\n    a,\n    c,\n)"),
        ("(\n    a,\n    b\n)", "b", "(\n    a\n)"),
    ],
)
def test_remove(before: str, item: str, after: str) -> None:
    items = listing(before)
    items.remove(item)
    assert text_of(items) == after


@pytest.mark.parametrize(
    ("before", "first", "after"),
    [
        ("()", False, "(x)"),
        ("(a, b)", False, "(a, b, x)"),
        ("(a, b,)", False, "(a, b, x,)"),
        ("(a, b)", True, "(x, a, b)"),
        ("(\n    a,\n    b,\n)", False, "(\n    a,\n    b,\n    x,\n)"),
        ("(\n    a,\n    b\n)", False, "(\n    a,\n    b,\n    x\n)"),
        ("(\n    a,\n    b,\n)", True, "(\n    x,\n    a,\n    b,\n)"),
    ],
)
def test_insert(before: str, first: bool, after: str) -> None:
    items = listing(before)
    items.insert("x", "(", first)
    assert text_of(items) == after
