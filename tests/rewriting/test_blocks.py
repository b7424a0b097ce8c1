"""Blocks of statements that edits change, comments and all: the result to the letter."""

from __future__ import annotations

from fsdp_migrate.findings.edits import InsertStatements, ReplaceExpression, ReplaceStatement
from support.codes import edited, numbered
from support.programs import dedent
from support.texts import at, insert, statement


# ---------------------------------------------------------------------- statements
def test_replace_in_a_block() -> None:
    text = dedent(
        """
        def f():
            # above
            x = wrap(m)  # beside

            return x
        """
    )
    assert statement(text, "x = wrap(m)", "before({0})\nx = after({0})", "m") == dedent(
        """
        def f():
            # above
            before(m)
            x = after(m)  # beside

            return x
        """
    )


def test_the_kept_indentation() -> None:
    for indent in ("  ", "   ", "\t", "        "):
        text = f"if a:\n{indent}x = f(b)\n{indent}y = 2\n"
        template = "for i in {0}:\n    if i:\n        g(i)"
        assert statement(text, "x = f(b)", template, "b") == (
            f"if a:\n{indent}for i in b:\n{indent * 2}if i:\n{indent * 3}g(i)\n{indent}y = 2\n"
        )


def test_one_line_suites() -> None:
    assert statement("if a: x = 1\n", "x = 1", "y = 1\nz = 2") == "if a:\n    y = 1\n    z = 2\n"
    assert statement("if a: x = 1  # c\ny = 2\n", "x = 1", "z = 1") == (
        "if a:\n    z = 1  # c\ny = 2\n"
    )
    assert statement("class A: x = 1\n", "x = 1", "") == "class A:\n    pass\n"
    assert statement("while a: x = 1; y = 2\n", "y = 2", "z = 1") == (
        "while a:\n    x = 1\n    z = 1\n"
    )
    assert statement("if a: x = 1\nelse: y = 2\n", "y = 2", "z()") == (
        "if a: x = 1\nelse:\n    z()\n"
    )


def test_semicolons() -> None:
    assert statement("a = 1; b = 2; c = 3\n", "b = 2", "d = 4") == "a = 1\nd = 4\nc = 3\n"
    assert statement("a = 1; b = 2\n", "a = 1", "") == "b = 2\n"
    assert statement("a = 1; b = 2  # c\n", "b = 2", "") == "a = 1  # c\n"
    assert statement("a = 1;\n", "a = 1", "b = 2") == "b = 2\n"
    assert statement("a = 1; b = 2; c = 3  # d\n", "a = 1", "x\ny") == "x\ny\nb = 2; c = 3  # d\n"


def test_removal() -> None:
    assert statement("a = 1\nb = 2\n", "a = 1", "") == "b = 2\n"
    assert statement("def f():\n    a = 1\n", "a = 1", "") == "def f():\n    pass\n"
    assert statement("a = 1\n", "a = 1", "").strip() == ""
    assert statement("if x:\n    a = 1\nelse:\n    b = 2\n", "b = 2", "") == (
        "if x:\n    a = 1\nelse:\n    pass\n"
    )


def test_comments_outlive_what_is_removed() -> None:
    text = dedent(
        """
        x = 1

        # about a
        a = f(  # one
            1,  # two
            # three
        )  # four
        y = 2
        """
    )
    expected = dedent(
        """
        x = 1

        # about a
        # one
        # two
        # three
        # four
        y = 2
        """
    )
    assert statement(text, text[text.index("a = f(") : text.index("  # four")], "") == expected


def test_blank_lines_above_a_comment_that_stays() -> None:
    text = "x = 1\n\n\n# about a\na = 1\n\n\nb = 2\n"
    assert statement(text, "a = 1", "") == "x = 1\n\n\n# about a\n\n\nb = 2\n"
    assert statement(text, "b = 2", "") == "x = 1\n\n\n# about a\na = 1\n\n\n"
    text = "x = 1\n\n\na = 1\n\n\nb = 2\n"
    assert statement(text, "a = 1", "") == "x = 1\n\n\nb = 2\n"


def test_comments_at_the_end_of_a_block() -> None:
    text = "def f():\n    a = 1  # one\n    # two\n\n\nb = 2\n"
    assert statement(text, "a = 1", "") == ("def f():\n    # one\n    pass\n    # two\n\n\nb = 2\n")


def test_a_trailing_comment_stays_beside_its_statement() -> None:
    text = "x = f(\n    a,  # one\n)  # two\n"
    assert statement(text, text[: text.index("  # two")], "g({0})\nh()", "a") == (
        "# one\ng(a)\nh()  # two\n"
    )


# ---------------------------------------------------------------------- compound statements
def test_a_with_dissolves() -> None:
    text = dedent(
        """
        def f():
            # above
            with a, b:  # beside
                # first
                x = 1

                y = 2  # second
                # third
            z = 3
        """
    )
    span = at(text, text[text.index("with") : text.index("  # second")])
    assert edited(text, [ReplaceStatement(span, numbered("{body}"))]) == dedent(
        """
        def f():
            # above
            # beside
            # first
            x = 1

            y = 2  # second
            # third
            z = 3
        """
    )


def test_a_with_dissolves_around_edits() -> None:
    text = "with a:\n    x = f(b)\n    if x:\n        y = f(c)\nz = 1\n"
    edits = [
        ReplaceStatement(at(text, text[: text.index("\nz")]), numbered("{body}")),
        ReplaceExpression(at(text, "f(b)"), numbered("g({0})", (at(text, "b"),))),
        ReplaceStatement(at(text, "y = f(c)"), numbered("p({0})\nq()", (at(text, "c"),))),
    ]
    assert edited(text, edits) == "x = g(b)\nif x:\n    p(c)\n    q()\nz = 1\n"


def test_a_with_becomes_try() -> None:
    text = "with m.no_sync():\n  for x in y:\n    f(x)  # why\nz = 1\n"
    span = at(text, text[: text.index("  # why")])
    template = "{0}.off()\ntry:\n    {body}\nfinally:\n    {0}.on()"
    edit = ReplaceStatement(span, numbered(template, (at(text, "m"),)))
    assert edited(text, [edit]) == (
        "m.off()\ntry:\n  for x in y:\n    f(x)  # why\nfinally:\n  m.on()\nz = 1\n"
    )


def test_a_one_line_with_dissolves() -> None:
    text = "if a:\n    with b: c()  # d\ne()\n"
    edit = ReplaceStatement(at(text, "with b: c()"), numbered("{body}"))
    assert edited(text, [edit]) == "if a:\n    c()  # d\ne()\n"


def test_an_item_of_a_with_goes() -> None:
    text = "with a, b as c:\n    x()\n"
    edit = ReplaceStatement(
        at(text, text[:-1]), numbered("with {0} as c:\n    {body}", (at(text, "b"),))
    )
    assert edited(text, [edit]) == "with b as c:\n    x()\n"


def test_decorators_stay() -> None:
    text = "@a(f(x))\n# why\n@b\ndef g(m=f(y)):\n    with c:\n        return m\n"
    edits = [
        ReplaceExpression(at(text, "f(x)"), numbered("h")),
        ReplaceExpression(at(text, "f(y)"), numbered("k")),
        ReplaceStatement(at(text, "with c:\n        return m"), numbered("{body}")),
    ]
    assert edited(text, edits) == "@a(h)\n# why\n@b\ndef g(m=k):\n    return m\n"


# ---------------------------------------------------------------------- insertion
def test_insertion() -> None:
    text = "a = 1\nb = 2  # c\n"
    assert insert(text, "b = 2", "x = 0") == "a = 1\nx = 0\nb = 2  # c\n"
    assert insert(text, "b = 2", "x = 0", after=True) == "a = 1\nb = 2  # c\nx = 0\n"
    assert insert("if a: b = 2\n", "b = 2", "x = 0") == "if a:\n    x = 0\n    b = 2\n"
    assert insert("a = 1; b = 2\n", "b = 2", "x = 0") == "a = 1\nx = 0\nb = 2\n"
    assert insert("def f():\n    return 1\n", "return 1", "x = 0") == (
        "def f():\n    x = 0\n    return 1\n"
    )


def test_insertion_below_comments() -> None:
    text = "a = 1\n\n# about b\nb = 2\n"
    assert insert(text, "b = 2", "x = 0") == "a = 1\n\n# about b\nx = 0\nb = 2\n"
    assert insert(text, "b = 2", "x = 0", blank_below=2) == "a = 1\n\nx = 0\n\n\n# about b\nb = 2\n"
    assert (
        insert(text, "b = 2", "x = 0", True, blank_above=1)
        == "a = 1\n\n# about b\nb = 2\n\nx = 0\n"
    )


def test_several_insertions_keep_their_order() -> None:
    text = "a = 1\n"
    edits = [
        InsertStatements(at(text, "a = 1"), numbered(f"x{i}()"), after=i > 1) for i in range(4)
    ]
    assert edited(text, edits) == "x0()\nx1()\na = 1\nx2()\nx3()\n"


def test_insertion_and_replacement_of_one_statement() -> None:
    text = "a = f(b)\n"
    edits = [
        InsertStatements(at(text, "a = f(b)"), numbered("x()")),
        ReplaceStatement(at(text, "a = f(b)"), numbered("g({0})", (at(text, "b"),))),
        InsertStatements(at(text, "a = f(b)"), numbered("y()"), after=True),
    ]
    assert edited(text, edits) == "x()\ng(b)\ny()\n"
