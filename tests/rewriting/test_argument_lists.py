"""Calls and displays after a change of their arguments: the text to the letter."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import (
    Kept,
    Literal,
    Name,
    Part,
    call,
    code,
    loop_variable,
    qualified,
)
from fsdp_migrate.findings.edits import ReplaceExpression
from support.edits import Change, changed, edited, first, module_of

TWO = Literal(2)


def drop_a(arguments: Arguments) -> None:
    arguments.drop("a")


def add_v(arguments: Arguments) -> None:
    arguments.put("v", TWO)


def lead_v(arguments: Arguments) -> None:
    arguments.put("v", TWO, first=True)


def v_for_a(arguments: Arguments) -> None:
    arguments.put("v", TWO, instead_of="a")


def call_g(arguments: Arguments) -> None:
    arguments.callee = Name("library", "g")


def with_callee(*changes: Change) -> Change:
    def change(arguments: Arguments) -> None:
        call_g(arguments)
        for one in changes:
            one(arguments)

    return change


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (drop_a, "f(a=1)\n", "f()\n"),
        (drop_a, "f( a=1 )\n", "f()\n"),
        (drop_a, "f(\n    a=1,\n)\n", "f()\n"),
        (drop_a, "f(a=1, b=2)\n", "f(b=2)\n"),
        (drop_a, "f(b=2, a=1)\n", "f(b=2)\n"),
        (drop_a, "f(b=2, a=1,)\n", "f(b=2)\n"),
        (drop_a, "f(b=2, a=1 )\n", "f(b=2 )\n"),
        (drop_a, "f(b=2, a=1, c=3)\n", "f(b=2, c=3)\n"),
        (drop_a, "f(\n    b=2,\n    a=1\n)\n", "f(\n    b=2\n)\n"),
        (drop_a, "f(\n    b=2,\n    a=1,\n)\n", "f(\n    b=2,\n)\n"),
        (drop_a, "f(\n    b=2,  # b\n    a=1\n)\n", "f(\n    b=2  # b\n)\n"),
        (drop_a, "f(\n    b=2,  # b\n    a=1)\n", "f(\n    b=2,  # b\n    )\n"),
        (drop_a, "f(\n    a=1,\n    # on b\n    b=2,\n)\n", "f(\n    # on b\n    b=2,\n)\n"),
        (drop_a, "f(  # all\n    a=1,\n    b=2,\n)\n", "f(  # all\n    b=2,\n)\n"),
        (drop_a, "f(a=1,\n  b=2)\n", "f(\n  b=2)\n"),
        (drop_a, "f(b=2, a=1,\n  c=3)\n", "f(b=2,\n  c=3)\n"),
        (drop_a, "f(b=2, a=1,  # bs\n  c=3)\n", "f(b=2,  # bs\n  c=3)\n"),
        (drop_a, "f(\n    b=2, a=1,\n    c=3,\n)\n", "f(\n    b=2,\n    c=3,\n)\n"),
        (drop_a, "x = {'a': 1, 'b': 2}\n", "x = {'b': 2}\n"),
        (drop_a, "x = {'a': 1}\n", "x = {}\n"),
        (drop_a, "f(a=1, *b)\n", "f(*b)\n"),
        (drop_a, "f(a=1, **b)\n", "f(**b)\n"),
        (add_v, "f()\n", "f(v=2)\n"),
        (add_v, "f( )\n", "f(v=2)\n"),
        (add_v, "f(1)\n", "f(1, v=2)\n"),
        (add_v, "f(1 )\n", "f(1, v=2 )\n"),
        (add_v, "f(1,)\n", "f(1, v=2,)\n"),
        (add_v, "f(\n    1\n)\n", "f(\n    1,\n    v=2\n)\n"),
        (add_v, "f(\n    1,  # one\n)\n", "f(\n    1,  # one\n    v=2,\n)\n"),
        (add_v, "f(\n    1  # one\n)\n", "f(\n    1,  # one\n    v=2\n)\n"),
        (add_v, "f(\n    1,\n    # end\n)\n", "f(\n    1,\n    # end\n    v=2,\n)\n"),
        (add_v, "f(1,\n  b=2)\n", "f(1,\n  b=2,\n  v=2)\n"),
        (add_v, "f((1), b=((2)))\n", "f((1), b=((2)), v=2)\n"),
        (add_v, "f(x for x in y)\n", "f((x for x in y), v=2)\n"),
        (add_v, "f(*x)\n", "f(*x, v=2)\n"),
        (add_v, "f(**x)\n", "f(**x, v=2)\n"),
        (add_v, "f((yield))\n", "f((yield), v=2)\n"),
        (add_v, "x = {}\n", 'x = {"v": 2}\n'),
        (add_v, "x = {'b': 2}\n", "x = {'b': 2, 'v': 2}\n"),
        (add_v, 'x = {"b": 2, **c}\n', 'x = {"b": 2, **c, "v": 2}\n'),
        (add_v, "x = {\n    'b': 2  # b\n}\n", "x = {\n    'b': 2,  # b\n    'v': 2\n}\n"),
        (lead_v, "f()\n", "f(v=2)\n"),
        (lead_v, "f(b=2)\n", "f(v=2, b=2)\n"),
        (lead_v, "f(1, b=2)\n", "f(1, v=2, b=2)\n"),
        (lead_v, "f(\n    # on b\n    b=2,\n)\n", "f(\n    v=2,\n    # on b\n    b=2,\n)\n"),
        (lead_v, "f(  # all\n    b=2,\n)\n", "f(  # all\n    v=2,\n    b=2,\n)\n"),
        (lead_v, "f(\n    a=1, b=2\n)\n", "f(\n    v=2, a=1, b=2\n)\n"),
        (
            lead_v,
            "f(\n    1,  # one\n    # on b\n    b=2,\n)\n",
            "f(\n    1,  # one\n    v=2,\n    # on b\n    b=2,\n)\n",
        ),
        (v_for_a, "f(a=1, b=(\n 2))\n", "f(v=2, b=(\n 2))\n"),
        (v_for_a, "x = {'a': 1, 'b': 2}\n", "x = {'v': 2, 'b': 2}\n"),
        (lambda a: a.put("a", TWO), "f(a =  1, b=2)\n", "f(a =  2, b=2)\n"),
        (lambda a: a.put("a", TWO), "f(a=((1)), b=2)\n", "f(a=2, b=2)\n"),
        (lambda a: a.put("a", TWO), "f(\n  a=[\n    1\n  ],  # a\n)\n", "f(\n  a=2,  # a\n)\n"),
        (call_g, "f.h(a)(b, )\n", "g(b, )\n"),
        (call_g, "(f)( b )\n", "g( b )\n"),
        (with_callee(drop_a), "f(a=1, **b)\n", "g(**b)\n"),
        (with_callee(drop_a, add_v), "print(f(1), 2)\n", "g(f(1), 2, v=2)\n"),
    ],
)
def test_changes(change: Change, before: str, after: str) -> None:
    assert changed(before, change) == after


def scaler(arguments: Arguments) -> None:
    """What becomes of a `ShardedGradScaler`."""
    arguments.callee = qualified("torch.amp.GradScaler")
    arguments.drop("process_group")
    arguments.by_position("device", default=code('"cuda"'))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f()\n", 'torch.amp.GradScaler("cuda")\n'),
        ("f('xpu', 2.0)\n", "torch.amp.GradScaler('xpu', init_scale=2.0)\n"),
        ("f('xpu', 2, process_group=g)\n", "torch.amp.GradScaler('xpu', init_scale=2)\n"),
        ("f(**o)\n", 'torch.amp.GradScaler("cuda", **o)\n'),
        ("f(init_scale=2, device=d)\n", "torch.amp.GradScaler(d, init_scale=2)\n"),
        (
            "x = f(\n    # how it starts\n    init_scale=2,  # by hand\n    process_group=g,\n)\n",
            'x = torch.amp.GradScaler(\n    "cuda",\n    # how it starts\n'
            "    init_scale=2,  # by hand\n)\n",
        ),
        (
            "x = f(\n    d,  # where\n    2.0,  # by hand\n    process_group=g,  # all\n)\n",
            "# all\nx = torch.amp.GradScaler(\n    d,  # where\n"
            "    init_scale=2.0,  # by hand\n)\n",
        ),
        ("x = f'{f(process_group=g)}'\n", "x = f'{torch.amp.GradScaler(\"cuda\")}'\n"),
        ('x = f"{f(process_group=g)}"\n', "x = f\"{torch.amp.GradScaler('cuda')}\"\n"),
    ],
)
def test_a_class_with_other_parameters(before: str, after: str) -> None:
    signature = ("device", "init_scale", "backoff_factor")
    assert changed(before, scaler, signature) == after


def replace_a(arguments: Arguments) -> None:
    drop_a(arguments)
    add_v(arguments)


def test_line_ends_are_kept() -> None:
    before = "if 1:\r\n    f(\r\n        a=1,\r\n        b=2,\r\n    )\r\n"
    after = "if 1:\r\n    f(\r\n        b=2,\r\n        v=2,\r\n    )\r\n"
    assert changed(before, replace_a) == after


def test_tabs_are_kept() -> None:
    before = "if 1:\n\tf(\n\t\ta=1,\n\t\tb=2,\n\t)\n"
    assert changed(before, replace_a) == "if 1:\n\tf(\n\t\tb=2,\n\t\tv=2,\n\t)\n"


def test_values_are_kept_as_they_are_written() -> None:
    kept = '        é="""x\n    y""",\n        c=[\n            1\n        ],\n'
    before = f"if 1:\n    f(\n        a=1,\n{kept}    )\n"
    assert changed(before, drop_a) == before.replace("        a=1,\n", "")


def test_what_is_written_in_braces_is_no_hole() -> None:
    before = "f(\n    a=1,\n    b={0},  # {0} and {body}\n    c='__hole_0__ {1}',\n)\n"
    assert changed(before, drop_a) == before.replace("    a=1,\n", "")


def test_a_value_of_the_source_may_be_taken_twice() -> None:
    def change(arguments: Arguments) -> None:
        value = arguments.value("b")
        assert value is not None
        arguments.put("v", call(Name("m", "g"), Kept(arguments.module.span(value))))

    assert changed("f(b=x + 1)\n", change) == "f(b=x + 1, v=g(x + 1))\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f(*a, b=1)\n", "g(model, *a, b=1)\n"),
        ("f(\n    1,  # one\n)\n", "g(\n    model,\n    1,  # one\n)\n"),
        ("f()\n", "g(model)\n"),
        ("f(x for x in y)\n", "g(model, (x for x in y))\n"),
    ],
)
def test_a_new_first_argument(before: str, after: str) -> None:
    module = module_of(before + "model\n")
    node = first(module, ast.Call)
    receiver = [n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "model"]
    arguments = bind(module, node)
    call_g(arguments)
    arguments.receiver_first(receiver[0])
    assert edited(module, arguments.edit()) == after + "model\n"


def test_edits_inside_kept_arguments_are_made() -> None:
    module = module_of("f(a=1, b=h(a=2, c=old), d=old)\n")
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    edits = []
    for node in calls:
        arguments = bind(module, node)
        drop_a(arguments)
        edits.append(arguments.edit())
    names = [n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "old"]
    replaced = [ReplaceExpression(module.span(name), code("int")) for name in names]
    assert edited(module, *edits, *replaced) == "f(b=h(c=int), d=int)\n"


def test_the_elements_go_into_other_code() -> None:
    module = module_of("f(x for x in y)\n")
    arguments = bind(module, first(module, ast.Call))
    new = call(Name("m", "g"), *arguments.elements, k=Literal(1))
    edit = ReplaceExpression(module.span(arguments.node), new)
    assert edited(module, edit) == "g((x for x in y), k=1)\n"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (code("[{p} for {p} in ()]", p=loop_variable("p")), "[p for p in ()]"),
        (code("lambda: 1"), "lambda: 1"),
        (code("1 if 2 else 3"), "1 if 2 else 3"),
        (code("(yield)"), "(yield)"),
    ],
)
def test_new_values_stand_without_parentheses_where_they_can(part: Part, text: str) -> None:
    assert changed("f(1)\n", lambda a: a.put("v", part)) == f"f(1, v={text})\n"


@pytest.mark.parametrize("second", ["one", "a_name_that_is_longer_than_the_other_names_are"])
def test_a_call_that_makes_its_line_too_long_is_broken_up(second: str) -> None:
    first_size = qualified("library.that_has_many_names.device_count")
    sizes = {"first_size": call(first_size), "second_size": Name("library", second)}
    new = changed(
        "value = function(argument, plugin=plugin)\n",
        lambda a: a.put("sizes", call(Name("library", "Configuration"), **sizes)),
    )
    parts = ["first_size=library.that_has_many_names.device_count()", f"second_size={second}"]
    line = f"    sizes=Configuration({', '.join(parts)}),\n"
    if len(line) > 89:  # then below, on one line or on one each
        below = [f"        {', '.join(parts)}\n", f"        {parts[0]},\n        {parts[1]},\n"]
        line = f"    sizes=Configuration(\n{below[len(below[0]) > 89]}    ),\n"
    assert new == f"value = function(\n    argument,\n    plugin=plugin,\n{line})\n"


def test_a_dict_becomes_a_call() -> None:
    before = "x = {\n    # on a\n    'a': 1,  # one\n    **rest,\n    'b': 2,\n}\n"
    assert changed(before, call_g) == (
        "x = g(\n    # on a\n    a=1,  # one\n    **rest,\n    b=2,\n)\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = ({})\n", "x = (g())\n"),
        ("x = {'a': 1}['a']\n", "x = g(a=1)['a']\n"),
        ("x = { 'a' : 1, }\n", "x = g( a=1, )\n"),
    ],
)
def test_a_dict_on_one_line_becomes_a_call(before: str, after: str) -> None:
    assert changed(before, call_g) == after


def test_new_strings_take_the_quotes_of_those_around_them() -> None:
    def change(arguments: Arguments) -> None:
        arguments.put("v", Literal("full"))

    assert changed("f(a='x')\n", change) == "f(a='x', v='full')\n"
    assert changed('f(a="x")\n', change) == 'f(a="x", v="full")\n'
    assert changed("x = {'a': 'x'}\n", change) == "x = {'a': 'x', 'v': 'full'}\n"


# ---------------------------------------------------------------------- any call
VALUES = st.sampled_from(
    [
        "1",
        "x",
        "(x)",
        "[1, 2]",
        "(\n        1\n    )",
        "f(1, a=2)",
        "{'a': 1}",
        "lambda a: a",
        "a or b",
    ]
)
NAMES = ("a", "b", "c", "d")
BREAK = st.sampled_from(["\n    ", "  # comment\n    ", "\n    # above\n    "])


@st.composite
def calls(draw: st.DrawFn) -> str:
    """A call or a dict display in some layout, every argument by name."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, 4))]
    is_dict = draw(st.booleans())
    spread = draw(st.booleans())
    gap = BREAK if spread else st.sampled_from(["", " "])
    parts = [(f"'{name}': " if is_dict else f"{name}=") + draw(VALUES) for name in names]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), "**rest")
    text = draw(gap)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        comma = "," if not last or draw(st.booleans()) else ""
        text += part + comma + (draw(gap) if not last or spread else "")
    return f"result = {'{' + text + '}' if is_dict else f'call({text})'}\n"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), st.sampled_from(NAMES)),
        st.tuples(st.just("put"), st.sampled_from((*NAMES, "v"))),
        st.tuples(st.just("first"), st.sampled_from((*NAMES, "v"))),
        st.tuples(st.just("callee"), st.just("")),
    ),
    max_size=3,
)


def meant(
    tree: ast.expr, actions: list[tuple[str, str]]
) -> tuple[str, list[tuple[str | None, str]]]:
    """What is called, and the names and values in order, after `actions`."""
    if isinstance(tree, ast.Call):
        callee = ast.unparse(tree.func)
        items = [(k.arg, ast.unparse(k.value)) for k in tree.keywords]
    else:
        assert isinstance(tree, ast.Dict)
        callee = "{}"
        items = [
            (k.value if isinstance(k, ast.Constant) else None, ast.unparse(v))
            for k, v in zip(tree.keys, tree.values, strict=True)
        ]
    for action, name in actions:
        names = [known for known, _ in items]
        if action == "callee":
            callee = "g"
        elif action == "drop":
            items = [item for item in items if item[0] != name]
        elif name in names:
            items[names.index(name)] = (name, "2")
        else:
            items.insert(0 if action == "first" else len(items), (name, "2"))
    return callee, items


def apply(arguments: Arguments, actions: list[tuple[str, str]]) -> None:
    for action, name in actions:
        if action == "callee":
            call_g(arguments)
        elif action == "drop":
            arguments.drop(name)
        else:
            arguments.put(name, TWO, first=action == "first")


def comments(text: str) -> Counter[str]:
    return Counter(line[line.index("#") :] for line in text.splitlines() if "#" in line)


@settings(max_examples=300, deadline=None)
@given(calls(), ACTIONS)
def test_any_change_of_any_call(before: str, actions: list[tuple[str, str]]) -> None:
    before = before.replace("result", "x = 1\nresult") + "y = 2  # after\n"
    old = ast.parse(before).body[1]
    assert isinstance(old, ast.Assign)
    after = changed(before, lambda a: apply(a, actions))
    statement = ast.parse(after).body[1]
    assert isinstance(statement, ast.Assign)
    assert meant(statement.value, []) == meant(old.value, actions)
    assert comments(after) == comments(before)
    if not actions:
        assert after == before


LINE = st.tuples(st.sampled_from(["", "    # above\n"]), VALUES, st.sampled_from(["", "  # why"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, min_size=2, max_size=4), st.integers(0, 3), st.booleans())
def test_the_lines_of_what_stays_are_not_touched(
    lines: list[tuple[str, str, str]], dropped: int, trailing: bool
) -> None:
    names = NAMES[: len(lines)]
    name = names[dropped % len(names)]

    def text(kept: tuple[str, ...]) -> str:
        written = ""
        for argument, (above, value, why) in zip(names, lines, strict=True):
            comma = "," if trailing or argument != kept[-1] else ""
            written += above  # what stands above an argument is not only about it
            written += f"    {argument}={value}{comma}{why}\n" if argument in kept else ""
        return f"result = call(\n{written})\n"

    own = lines[dropped % len(names)][2].strip()
    expected = text(tuple(n for n in names if n != name))
    after = changed(text(names), lambda a: a.drop(name))
    assert after == (f"{own}\n" if own else "") + expected
