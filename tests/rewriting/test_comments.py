"""Comments and blank lines around statements that change."""

from __future__ import annotations

import libcst as cst
import pytest

from fsdp_migrate.rewriting.comments import (
    Statement,
    alternative,
    comments_of,
    comments_only,
    has_lines_above,
    inline_comments,
    keep_comments,
    led,
    suite,
    without,
)


def statement(text: str) -> Statement:
    """The last statement of a text, with what leads it."""
    found = cst.parse_module(text).body[-1]
    assert isinstance(found, cst.SimpleStatementLine | cst.BaseCompoundStatement)
    return found


def text_of(*statements: cst.BaseStatement) -> str:
    return cst.Module(list(statements)).code


def values(comments: list[cst.Comment]) -> list[str]:
    return [comment.value for comment in comments]


EVERYWHERE = """\
x
# above
f(  # one
    a,  # two
    # three
)  # four
"""


def test_comments_of_a_statement() -> None:
    node = statement(EVERYWHERE)
    assert values(comments_of(node)) == ["# above", "# one", "# two", "# three", "# four"]
    assert values(inline_comments(node)) == ["# one", "# two", "# three", "# four"]


def test_a_comment_above_and_the_same_one_beside_are_two() -> None:
    assert values(inline_comments(statement("y\n# same\nx  # same\n"))) == ["# same"]


def test_the_statements_of_a_suite_and_the_comments_at_its_end() -> None:
    node = statement("if a:  # why\n    # first\n    b\n    c\n    # last\n")
    body, trailing = suite(node.body)
    assert text_of(*body) == "# why\n# first\nb\nc\n"
    assert values([line.comment for line in trailing if line.comment]) == ["# last"]
    one_line, nothing = suite(statement("if a: b; c  # d\n").body)
    assert (text_of(*one_line), nothing) == ("b; c  # d\n", [])
    assert suite(None) == ([], [])


def test_the_alternative_of_an_if() -> None:
    body, _ = alternative(statement("if a: b\nelif c: d\nelse: e\n"))
    assert text_of(*body) == "if c: d\nelse: e\n"
    body, trailing = alternative(statement("if a:\n    b\nelse:\n    c\n    # d\n"))
    assert (text_of(*body), len(trailing)) == ("c\n", 1)
    assert alternative(statement("if a: b\n")) == ([], [])


def test_lines_that_lead_a_statement() -> None:
    lines = [cst.EmptyLine(comment=cst.Comment("# a")), cst.EmptyLine(indent=False)]
    node = led(statement("x\n# own\ny\n"), lines)
    assert text_of(node) == "# a\n\n# own\ny\n"
    assert led(node, lines).deep_equals(node)
    assert comments_only(lines) == lines[:1]
    assert without(lines, {"# a"}) == lines[1:]
    assert without(lines, {"# b"}) == lines


@pytest.mark.parametrize(
    ("text", "expected"), [("x\n\ny\n", True), ("x\n# c\ny\n", False), ("x\ny\n", False)]
)
def test_blank_lines_above(text: str, expected: bool) -> None:
    assert has_lines_above(statement(text)) is expected


def test_comments_that_would_be_lost_stand_above_what_comes_instead() -> None:
    original = statement(EVERYWHERE)
    pieces = [statement("g()\n"), statement("h()\n")]
    kept = keep_comments(original, list(pieces), [])
    assert text_of(*kept) == "# above\n# one\n# two\n# three\ng()\nh()  # four\n"


def test_comments_that_are_still_there_are_not_doubled() -> None:
    original = statement(EVERYWHERE)
    later = [cst.EmptyLine(comment=cst.Comment("# three"))]
    kept = keep_comments(original, [statement("# above\ng(a)  # two\n")], later)
    assert text_of(*kept) == "# above\n# one\n# four\ng(a)  # two\n"


def test_comments_that_go_on_purpose() -> None:
    original = statement(EVERYWHERE)
    kept = keep_comments(
        original, [statement("# above\ng()\n")], [], {"# above", "# one", "# two", "# four"}
    )
    assert text_of(*kept) == "# three\ng()\n"
