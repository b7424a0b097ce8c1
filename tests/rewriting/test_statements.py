"""Edits as data, made: the result to the letter."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.edits import InsertStatements, ReplaceExpression, ReplaceStatement
from fsdp_migrate.rewriting.places import EditError
from fsdp_migrate.syntax.span import Span
from support.codes import edited, numbered
from support.programs import dedent


def at(text: str, part: str, nth: int = 0) -> Span:
    """Where `part` stands in `text` for the (`nth` + 1)th time."""
    text = text.replace("\r\n", "\n")
    start = -1
    for _ in range(nth + 1):
        start = text.index(part, start + 1)

    def place(offset: int) -> tuple[int, int]:
        before = text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1)

    return Span(*place(start), *place(start + len(part)))


def expression(text: str, part: str, template: str, *holes: str, nth: int = 0) -> str:
    """`text` with the expression `part` replaced."""
    span = at(text, part, nth)
    places = tuple(at(text, hole, nth if hole in part else 0) for hole in holes)
    return edited(text, [ReplaceExpression(span, numbered(template, places))])


def statement(text: str, part: str, template: str, *holes: str) -> str:
    """`text` with the statement `part` replaced."""
    places = tuple(at(text, hole) for hole in holes)
    return edited(text, [ReplaceStatement(at(text, part), numbered(template, places))])


def insert(text: str, part: str, template: str, after: bool = False, **blank: int) -> str:
    """`text` with statements beside the statement `part`."""
    edit = InsertStatements(at(text, part), numbered(template), after=after, **blank)
    return edited(text, [edit])


# ---------------------------------------------------------------------- expressions
@pytest.mark.parametrize(
    ("text", "part", "template", "holes", "expected"),
    [
        ("f(a)\n", "f(a)", "g({0})", ["a"], "g(a)\n"),
        ("x = f(a) + 1\n", "f(a)", "g", [], "x = g + 1\n"),
        ("f(a , b)  # c\n", "a ", "b", [], None),
        ("f( a, b )  # c\n", "a", "x.y", [], "f( x.y, b )  # c\n"),
        ("x = [f(a)  ,2]\n", "f(a)", "{0}", ["a"], "x = [a  ,2]\n"),
        ("(f(a))\n", "f(a)", "g({0})", ["a"], "(g(a))\n"),
        ("f(a if b else c)\n", "a if b else c", "not {0}", ["b"], "f(not b)\n"),
        ("f(a == b)\n", "a == b", "not {0}", ["a == b"], None),
        ("f(a or b)\n", "f(a or b)", "{0}.x", ["a or b"], "(a or b).x\n"),
        ("f(a or b)\n", "f(a or b)", "not {0}", ["a or b"], "not (a or b)\n"),
        ("f(a == b)\n", "f(a == b)", "not {0}", ["a == b"], "not a == b\n"),
        ("f(a % b)\n", "f(a % b)", "not {0}", ["a % b"], "not a % b\n"),
        ("f(a % b)\n", "f(a % b)", "-{0}", ["a % b"], "-(a % b)\n"),
        ("f(lambda: 1)\n", "f(lambda: 1)", "{0}()", ["lambda: 1"], "(lambda: 1)()\n"),
        ("f(a if b else c)\n", "f(a if b else c)", "{0}[0]", ["a if b else c"], None),
        ("f((a or b))\n", "f((a or b))", "{0}.x", ["a or b"], "(a or b).x\n"),
        ("f(a or b)\n", "f(a or b)", "{0} and c", ["a or b"], "(a or b) and c\n"),
        ("f(a)\n", "f(a)", "g({0}, {0})", ["a"], "g(a, a)\n"),
        ("f(a, b)\n", "f(a, b)", "g({1}, {0})", ["a", "b"], "g(b, a)\n"),
        ("f(a)\n", "f(a)", "{{'a': {0}}}".replace("{{", "{").replace("}}", "}"), ["a"], None),
        ("await f(a)\n", "f(a)", "g", [], "await g\n"),
        ("f(*a, **b)\n", "a", "c", [], "f(*c, **b)\n"),
        ("f'{f(a)!r:>10}'\n", "f(a)", "g", [], "f'{g!r:>10}'\n"),
        ("@f(a)\ndef g(): pass\n", "f(a)", "h", [], "@h\ndef g(): pass\n"),
        ("class A(f(a)): pass\n", "f(a)", "h", [], "class A(h): pass\n"),
        ("def g(x: A = f(a)) -> A: pass\n", "f(a)", "h", [], "def g(x: A = h) -> A: pass\n"),
        ("x = yield f(a)\n", "f(a)", "h", [], "x = yield h\n"),
        ("assert f(a), 'é'\n", "f(a)", "h", [], "assert h, 'é'\n"),
        ("x = 'é', f(a)\n", "f(a)", "h", [], "x = 'é', h\n"),
        ("x = '🎉🎉'; y = f(é)\n", "f(é)", "{0}", ["é"], "x = '🎉🎉'; y = é\n"),
    ],
)
def test_expressions(
    text: str, part: str, template: str, holes: list[str], expected: str | None
) -> None:
    if expected is None:  # not a place, or only Python's own grammar says what it must mean
        try:
            result = expression(text, part, template, *holes)
        except EditError:
            return
        compile(result, "result", "exec")
        return
    assert expression(text, part, template, *holes) == expected


def test_an_edit_inside_what_another_keeps() -> None:
    text = "f(g(h(a)), b)\n"
    edits = [
        ReplaceExpression(
            at(text, "f(g(h(a)), b)"), numbered("F({1}, {0})", (at(text, "g(h(a))"), at(text, "b")))
        ),
        ReplaceExpression(at(text, "h(a)"), numbered("H({0}.x)", (at(text, "a"),))),
    ]
    assert edited(text, edits) == "F(b, g(H(a.x)))\n"
    assert edited(text, edits[::-1]) == "F(b, g(H(a.x)))\n"


def test_comments_in_what_is_kept() -> None:
    text = dedent(
        """
        x = f(
            a,  # the first
            # the second
            b,
        )
        """
    )
    assert expression(text, "a", "A") == text.replace("a,", "A,")
    assert "# the first" in expression(text, text[4:-1], "g({0})", "b")


def test_the_same_edit_twice_is_one() -> None:
    text = "f(a)\n"
    edit = ReplaceExpression(at(text, "a"), numbered("b"))
    assert edited(text, [edit, edit]) == "f(b)\n"


def test_collisions_and_places_that_are_not_there() -> None:
    text = "f(a)\n"
    with pytest.raises(EditError, match="two edits"):
        edited(text, [ReplaceExpression(at(text, "a"), numbered(x)) for x in "bc"])
    with pytest.raises(EditError, match="two edits"):
        edited(text, [ReplaceStatement(at(text, "f(a)"), numbered(x)) for x in "bc"])
    with pytest.raises(EditError, match="nothing to edit"):
        edited(text, [ReplaceExpression(Span(1, 0, 1, 2), numbered("b"))])
    with pytest.raises(EditError, match="no expression"):
        edited(text, [ReplaceExpression(at(text, "f(a)"), numbered("{0}", (Span(7, 0, 7, 2),)))])


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


# ---------------------------------------------------------------------- bytes
SOURCES = {
    "plain": "def f():\n    x = g(a)  # b\n\n    return x\n",
    "no final newline": "def f():\n    x = g(a)  # b\n\n    return x",
    "tabs": "def f():\n\tx = g(a)  # b\n\n\treturn x\n",
    "form feed": "def f():\n    x = g(a)  # b\n\x0c\n    return x\n",
    "trailing blanks": "def f():  \n    x = g(a)  # b  \n   \n    return x   \n",
    "continuation": "def f(): \\\n    x = g(a)\n",
    "mixed indentation": "def f():\n  x = g(a)\n  if x:\n        y = 1\n  return x\n",
    "non-ASCII": "def f():\n    'é🎉'; x = g(a)  # ü\n    return 'ß'\n",
    "blank lines at the end": "def f():\n    x = g(a)\n\n\n\n",
    "comment at the end": "def f():\n    x = g(a)\n# end",
    "no newline after a comment": "x = g(a)  # end",
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_everything_else_stays_byte_for_byte(kind: str, newline: str) -> None:
    text = SOURCES[kind].replace("\n", newline)
    assert edited(text, []) == text
    changed = expression(text, "g(a)", "h({0})", "a")
    assert changed == text.replace("g(a)", "h(a)")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_new_lines_end_like_the_others(newline: str) -> None:
    text = "def f():\n    x = g(a)\n    return x\n".replace("\n", newline)
    result = statement(text, "x = g(a)", "if {0}:\n    y = 1\nz = 2", "a")
    expected = "def f():\n    if a:\n        y = 1\n    z = 2\n    return x\n"
    assert result == expected.replace("\n", newline)


# ---------------------------------------------------------------------- long lines
LONG = "options=StateDictOptions(full_state_dict=True, cpu_offload=True)"


def test_a_call_that_is_too_long_gets_lines_of_its_own() -> None:
    text = "state = model.state_dict()\n"
    result = expression(text, "model.state_dict()", f"get_model_state_dict({{0}}, {LONG})", "model")
    assert result == f"state = get_model_state_dict(\n    model, {LONG}\n)\n"


def test_the_call_around_it_is_broken_up_first() -> None:
    text = 'if x:\n    torch.save(net.state(), "model.pt")  # why\n'
    result = expression(text, "net.state()", f"get({{0}}, {LONG})", "net")
    assert result == dedent(
        f"""
        if x:
            torch.save(
                get(net, {LONG}),
                "model.pt",
            )  # why
        """
    )


def test_a_dict_around_it_gets_an_item_a_line() -> None:
    text = 'state = {"model": net.state(), "step": 3}\n'
    result = expression(text, "net.state()", f"get({{0}}, {LONG})", "net")
    assert result == dedent(
        f"""
        state = {{
            "model": get(net, {LONG}),
            "step": 3,
        }}
        """
    )


def test_a_line_that_was_long_already_is_left_alone() -> None:
    text = f"x = f({', '.join(f'argument_{i}' for i in range(12))}, g(a))\n"
    assert expression(text, "g(a)", "h(a)") == text.replace("g(a)", "h(a)")
