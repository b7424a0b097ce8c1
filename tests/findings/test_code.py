"""New code as a value: what it refuses, and what it is made of."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdp_migrate.findings.code import (
    BODY,
    NOTHING,
    Code,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Starred,
    attribute,
    block,
    call,
    code,
    dictionary,
    either,
    flat,
    loop_variable,
    parts_of,
    qualified,
    variable,
)
from fsdp_migrate.syntax.span import Span

NEW = Name("library", "new")
KEPT = Kept(Span(1, 0, 1, 5))


# ---------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("hole", ["text", 1, None, ["x"], ("text",), (NEW, 1), b"", ast.Name("x")])
def test_a_hole_takes_parts_and_nothing_else(hole: Any) -> None:
    with pytest.raises(TypeError):
        code("{hole}", hole=hole)


@pytest.mark.parametrize(
    ("template", "holes"),
    [
        ("{a} + {b}", {"a": NEW}),
        ("{a}", {"a": NEW, "b": NEW}),
        ("nothing", {"a": NEW}),
        ("{0}", {}),
        ("{}", {}),
        ("{a!r}", {"a": NEW}),
        ("{a:>10}", {"a": NEW}),
        ("{a.b}", {"a": NEW}),
    ],
)
def test_holes_are_names_and_all_are_filled(template: str, holes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hole"):
        code(template, **holes)


@pytest.mark.parametrize("template", ["{a} +", "if {a}:", "{a} {a}", "f({a}", "x = = {a}"])
def test_a_template_is_python(template: str) -> None:
    with pytest.raises(ValueError, match="is not Python"):
        code(template, a=NEW)


@pytest.mark.parametrize(
    "template",
    [
        "torch.cuda",
        "model({a})",
        "x = {a}",
        "[p for p in {a}]",
        "len = {a}",
        "print({a}, end=other)",
    ],
)
def test_a_template_names_only_builtins_itself(template: str) -> None:
    holes = {"a": NEW} if "{a}" in template else {}
    with pytest.raises(ValueError, match="make holes of them"):
        code(template, **holes)


@pytest.mark.parametrize("name", ["a b", "1x", "", "a-b", "x=1"])
def test_names_of_attributes_and_arguments_are_identifiers(name: str) -> None:
    with pytest.raises(ValueError, match="no"):
        attribute(NEW, name)
    with pytest.raises(ValueError, match="no name"):
        Keyword(name, NEW)


# ---------------------------------------------------------------------- what it is made of
def test_templates_are_parsed_with_identifiers_for_holes() -> None:
    parsed = code("max({a}, key={b}, default={a})", a=NEW, b=KEPT).parsed
    assert set(parsed.holes) == {"a", "b"}
    assert parsed.builtins == {"max"}
    tree = ast.parse(parsed.text, mode="eval").body
    assert isinstance(tree, ast.Call)
    assert ast.unparse(tree.args[0]) == parsed.holes["a"]
    assert ast.unparse(tree.keywords[1].value) == parsed.holes["a"]


def test_doubled_braces_are_braces() -> None:
    parsed = code('{{"a": {a}}}', a=NEW).parsed
    assert isinstance(ast.parse(parsed.text, mode="eval").body, ast.Dict)


def test_a_hole_is_looked_up_by_its_name() -> None:
    new = code("{a} is {b}", a=NEW, b=KEPT)
    assert new["a"] == NEW
    assert new["b"] == KEPT
    with pytest.raises(KeyError):
        new["c"]


def test_code_is_a_value() -> None:
    assert code("{a}()", a=NEW) == code("{a}()", a=NEW)
    assert len({code("{a}()", a=NEW), code("{a}()", a=NEW), code("{a}()", a=KEPT)}) == 2


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (call(NEW), "callee(arguments)"),
        (call(NEW, KEPT, Starred(KEPT), k=KEPT), "callee(arguments)"),
        (dictionary(Item(Literal("a"), KEPT)), "{**items}"),
        (attribute(KEPT, "shape"), "value.shape"),
        (either(KEPT, NEW), "test0 or test1"),
        (block(KEPT, NEW), "part0\npart1"),
    ],
)
def test_shorthands(new: Code, text: str) -> None:
    shown = new.parsed.text
    for name, identifier in new.parsed.holes.items():
        shown = shown.replace(identifier, name)
    assert shown == text


def test_keywords_follow_the_arguments_of_a_call() -> None:
    assert call(NEW, KEPT, k=NEW)["arguments"] == (KEPT, Keyword("k", NEW))


def test_all_parts_are_found_in_order() -> None:
    inner = code("{b} + {c}", b=KEPT, c=Literal(1))
    outer = call(NEW, inner, Starred(BODY), k=dictionary(Item(Literal("a"), NEW)))
    found = [part for part in outer.walk() if not isinstance(part, Code)]
    assert found == [NEW, KEPT, Literal(1), BODY, Literal("a"), NEW]
    assert list(parts_of(NEW)) == [NEW]
    assert list(parts_of(NOTHING)) == [NOTHING]


def test_a_hole_with_a_list_is_made_of_its_parts() -> None:
    hole = (KEPT, Keyword("k", NEW), Starred(KEPT), Item(Literal("a"), NEW))
    assert list(flat(hole)) == [KEPT, NEW, KEPT, Literal("a"), NEW]
    assert list(flat(NEW)) == [NEW]


# ---------------------------------------------------------------------- names and literals
def test_names_of_libraries() -> None:
    assert qualified("torch.cuda.set_device") == Name("torch.cuda", "set_device", qualified=True)
    assert str(qualified("torch.cuda.set_device")) == "torch.cuda.set_device"
    assert qualified("torch.cuda.set_device") != Name("torch.cuda", "set_device")


def test_variables_with_the_same_names_are_the_same() -> None:
    assert variable("mesh") == variable("mesh")
    assert variable("p") != loop_variable("p")


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("text", '"text"'),
        ("it's", '"it\'s"'),
        ('say "it"', "'say \"it\"'"),
        ("", '""'),
        ("a\nb", '"a\\nb"'),
        (1, "1"),
        (-1, "-1"),
        (0.5, "0.5"),
        (True, "True"),
        (None, "None"),
    ],
)
def test_literals_are_written_with_double_quotes(value: Any, source: str) -> None:
    assert Literal(value).source == source


@given(
    st.one_of(
        st.text(),
        st.integers(),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_a_literal_is_the_value(value: Any) -> None:
    assert ast.literal_eval(Literal(value).source) == value
