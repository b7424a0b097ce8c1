"""Expressions that edits replace: the result to the letter."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.edits import ReplaceExpression, ReplaceStatement
from fsdp_migrate.rewriting.edits_by_place import EditError
from fsdp_migrate.syntax.span import Span
from support.codes import edited, numbered
from support.programs import dedent
from support.texts import at, expression


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
        ("f'{f(a)=}'\n", "f(a)", "g", [], "f'f(a)={g!r}'\n"),
        ("f'x{ f(a) = :>9}'\n", "f(a)", "g", [], "f'x f(a) = {g:>9}'\n"),
        ("f'{f(a).x=!s}'\n", "f(a)", "g", [], "f'f(a).x={g.x!s}'\n"),
        ("f'{b=}{f(a)}'\n", "f(a)", "g", [], "f'{b=}{g}'\n"),
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
