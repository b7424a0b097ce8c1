"""Arguments: which parameter each is for, and the edit that changes some of them."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import Code, Item, Kept, Keyword, Literal, Name, Starred, code
from fsdp_migrate.findings.edits import TakenFrom
from support.edits import module_of

SIGNATURE = ("a", "b", "c")


def bound(text: str, signature: tuple[str, ...] = SIGNATURE) -> Arguments:
    """The arguments of the first call or dict display of `text`."""
    module = module_of(text)
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Call | ast.Dict))
    return bind(module, node, signature)


def shown(arguments: Arguments) -> str:
    """The call that the edit is for, as one would write it, with positions in the source."""
    edit = arguments.edit()
    lines = arguments.module.source.text.splitlines()

    def text(part: object) -> str:
        if isinstance(part, Kept):
            return lines[part.span.line - 1][part.span.col : part.span.end_col]
        if isinstance(part, Literal):
            return part.source
        return part.template if isinstance(part, Code) else str(part)

    def argument(element: object) -> str:
        if isinstance(element, Keyword):
            return f"{element.name}={text(element.value)}"
        if isinstance(element, Starred):
            return f"{'**' if element.double else '*'}{text(element.value)}"
        if isinstance(element, Item):
            return f"{text(element.key)}: {text(element.value)}"
        return text(element)

    hole = edit.code["arguments" if "callee" in dict(edit.code.holes) else "items"]
    assert isinstance(hole, tuple)
    assert len(hole) == len(edit.taken)
    origins = ["new" if t is None else f"{t.index}" for t in edit.taken]
    return " ".join(f"{argument(e)}@{o}" for e, o in zip(hole, origins, strict=True))


# ---------------------------------------------------------------------- questions
@pytest.mark.parametrize(
    ("text", "names", "is_open", "has_star", "all_named"),
    [
        ("f()", [], False, False, True),
        ("f(1, 2)", ["a", "b"], False, False, True),
        ("f(1, c=2)", ["a", "c"], False, False, True),
        ("f(other=2)", ["other"], False, False, True),
        ("f(1, 2, 3, 4)", ["a", "b", "c"], False, False, False),
        ("f(1, *x)", ["a"], True, True, False),
        ("f(*x, 1)", [], True, True, False),
        ("f(*x, c=1)", ["c"], True, True, False),
        ("f(c=1, **x)", ["c"], True, False, False),
        ("f(c=1, *x)", ["c"], True, True, False),
        ("x = {'a': 1, **b}", ["a"], True, False, False),
        ("x = {'a': 1, b: 2, 3: 4}", ["a"], False, False, False),
    ],
)
def test_which_parameters_something_is_passed_for(
    text: str, names: list[str], is_open: bool, has_star: bool, all_named: bool
) -> None:
    arguments = bound(text)
    assert arguments.names == names
    assert arguments.is_open is is_open
    assert arguments.has_star is has_star
    assert arguments.all_named is all_named


def test_values_are_those_of_the_source_whatever_is_changed() -> None:
    arguments = bound("f(1, c=2)")
    arguments.drop("a")
    arguments.put("c", Literal(3))
    assert "a" in arguments
    assert "b" not in arguments
    value = arguments.value("c")
    assert isinstance(value, ast.Constant)
    assert value.value == 2


@pytest.mark.parametrize("text", ["f(*members)", "f(**members)", "f(members)"])
def test_a_name_is_no_name_of_an_argument_because_it_is_passed(text: str) -> None:
    assert "members" not in bound(text)


# ---------------------------------------------------------------------- changes
def test_nothing_changed() -> None:
    assert shown(bound("f(1, *x, c=2, **y)")) == "1@0 *x@1 c=2@2 **y@3"


def test_the_order_is_that_of_the_source() -> None:
    assert shown(bound("f(c=2, *x)")) == "c=2@0 *x@1"


def test_what_stands_behind_a_dropped_argument_is_passed_by_name() -> None:
    arguments = bound("f(1, 2, 3, d=4)")
    arguments.drop("b")
    assert shown(arguments) == "1@0 c=3@2 d=4@3"


def test_what_stands_before_a_dropped_argument_stays() -> None:
    arguments = bound("f(1, 2, c=3)")
    arguments.drop("c")
    assert shown(arguments) == "1@0 2@1"


def test_dropping_what_is_not_there() -> None:
    arguments = bound("f(1)")
    arguments.drop("c")
    assert shown(arguments) == "1@0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f()", "0@new"),
        ("f(1)", "1@0"),
        ("f(1, 2)", "1@0 b=2@1"),
        ("f(b=2)", "0@new b=2@0"),
        ("f(a=1, b=2)", "1@0 b=2@1"),
        ("f(b=2, a=1)", "1@new b=2@0"),
        ("f(b=2, **x)", "0@new b=2@0 **x@1"),
    ],
)
def test_one_argument_by_position_and_the_others_by_name(text: str, expected: str) -> None:
    arguments = bound(text)
    arguments.by_position("a", default=code("0"))
    assert shown(arguments) == expected


def test_an_argument_without_a_default_is_not_made_up() -> None:
    arguments = bound("f(b=2)")
    arguments.by_position("a")
    assert shown(arguments) == "b=2@0"


@pytest.mark.parametrize(
    ("text", "name", "instead_of", "first", "expected"),
    [
        ("f(1, c=2)", "d", None, False, "1@0 c=2@1 d=0@new"),
        ("f(1, c=2)", "d", None, True, "1@0 d=0@new c=2@1"),
        ("f(c=2)", "d", None, True, "d=0@new c=2@0"),
        ("f(1, c=2)", "c", None, False, "1@0 c=0@1"),
        ("f(1, c=2)", "a", None, False, "0@0 c=2@1"),
        ("f(1, c=2)", "d", "c", False, "1@0 d=0@1"),
        ("f(1, c=2)", "d", "e", False, "1@0 c=2@1 d=0@new"),
        ("f(c=1, d=2)", "d", "c", False, "c=1@0 d=0@1"),
        ("f(c=1, **x)", "d", None, False, "c=1@0 **x@1 d=0@new"),
        ("x = {'c': 2}", "d", None, True, "\"d\": 0@new 'c': 2@0"),
        ("x = {'c': 2}", "c", None, False, "'c': 0@0"),
        ("x = {'c': 2}", "d", "c", False, '"d": 0@0'),
    ],
)
def test_putting_a_value(
    text: str, name: str, instead_of: str | None, first: bool, expected: str
) -> None:
    arguments = bound(text)
    arguments.put(name, Literal(0), instead_of=instead_of, first=first)
    assert shown(arguments) == expected


def test_a_value_that_is_put_in_place_is_not_taken_from_the_source() -> None:
    arguments = bound("f(c=[1])")
    value = arguments.value("c")
    assert isinstance(value, ast.List)
    arguments.put("c", Kept(arguments.module.span(value.elts[0])))
    assert arguments.edit().taken == (TakenFrom(0, with_value=False),)


def test_a_display_becomes_a_call() -> None:
    arguments = bound("x = {'a': 1, **b}")
    arguments.callee = Name("library", "Config")
    edit = arguments.edit()
    assert edit.code["callee"] == Name("library", "Config")
    assert shown(arguments) == "a=1@0 **b@1"


# ---------------------------------------------------------------------- receivers
def methods(text: str) -> Arguments:
    """The arguments of the call of a method of `model`, through the object or through its class."""
    module = module_of(text)
    call = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Call))
    receiver = next(n for n in ast.walk(call) if isinstance(n, ast.Name) and n.id == "model")
    return bind(module, call, SIGNATURE, receiver)


@pytest.mark.parametrize("text", ["model.clip(1.0, b=2)", "FSDP.clip(model, 1.0, b=2)"])
def test_the_receiver_is_no_argument(text: str) -> None:
    arguments = methods(text)
    assert arguments.names == ["a", "b"]
    assert arguments.all_named
    assert [t.index for t in arguments.edit().taken if t] == ([0, 1] if text[0] == "m" else [1, 2])


@pytest.mark.parametrize("text", ["model.clip(1.0, b=2)", "FSDP.clip(model, 1.0, b=2)"])
def test_a_function_takes_the_receiver_first(text: str) -> None:
    arguments = methods(text)
    call = arguments.node
    assert isinstance(call, ast.Call)
    receiver = call.args[0] if text[0] == "F" else call.func
    if isinstance(receiver, ast.Attribute):
        receiver = receiver.value
    arguments.receiver_first(receiver)
    first = "model@0 1.0@1 b=2@2" if text[0] == "F" else "model@new 1.0@0 b=2@1"
    assert shown(arguments) == first


def test_a_receiver_that_was_taken_out_of_the_tree_still_has_its_place() -> None:
    module = module_of("FSDP.clip(model, 1.0, b=2)")
    call = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Call))
    arguments = bind(module, call, SIGNATURE, call.args.pop(0))
    assert shown(arguments) == "1.0@1 b=2@2"


def test_more_by_position_than_there_are_parameters() -> None:
    assert bound("f(1, 2, 3, 4)").has_excess
    assert not bound("f(1, 2, 3)").has_excess
    assert not bound("f(1, *more, d=4, **others)").has_excess
