"""Pieces of text in the place of others."""

from __future__ import annotations

from fsdp_migrate.syntax.span import Span
from fsdp_migrate.syntax.splices import Splice, splice

TEXT = "def f(**kw):\r\n    g(kw, **kw, x=1)\n"


def test_pieces_take_the_place_of_others() -> None:
    made = splice(TEXT, [Splice(Span(2, 10, 2, 14), "a=kw.a"), Splice(Span(1, 6, 1, 10), "a")])
    assert made.text == "def f(a):\r\n    g(kw, a=kw.a, x=1)\n"


def test_a_piece_may_be_put_between() -> None:
    made = splice("  f()\n", [Splice(Span(1, 2, 1, 2), "a = 1; ")])
    assert made.text == "  a = 1; f()\n"
    assert made.column(1, 9) == 2


def test_columns_of_the_new_text_are_those_of_the_old_one() -> None:
    made = splice(TEXT, [Splice(Span(2, 10, 2, 14), "a=kw.a, b=kw.b")])
    line = made.text.split("\n")[1]
    assert made.column(2, line.index("g(")) == 4
    assert made.column(2, line.index("b=kw")) == 13  # in the dict that it comes from
    assert made.column(2, line.index("x=1")) == 16
    assert made.new_column(2, 16) == line.index("x=1")
    assert made.column(1, 30) == 30
