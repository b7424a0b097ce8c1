"""Items taken out of `with` statements: what stays is as it was."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.code import Kept, Part, attribute, block, call
from fsdp_migrate.findings.code import Literal as Written
from fsdp_migrate.findings.edits import LeaveContext, ReplaceExpression
from fsdp_migrate.syntax.module import Module
from support.edits import edited
from support.programs import Analysis, dedent


def context(module: Module, name: str) -> ast.Call:
    """The context that is made by calling `name`."""
    return next(
        item.context_expr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Name)
        and item.context_expr.func.id == name
    )


def said(module: Module, name: str, word: str) -> Part:
    """`name.word(True)`, `name` being what is called to make a context."""
    kept = Kept(module.span(context(module, name).func))
    return call(attribute(kept, word), Written(True))


def left(text: str, *names: str) -> str:
    """`text` without the contexts called `names`."""
    module = Analysis(text).module()
    return edited(module, *(LeaveContext(module.span(context(module, name))) for name in names))


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("with a():\n    x\n", ["a"], "x\n"),
        ("with a(): x; y\n", ["a"], "x; y\n"),
        ("with a(), b():\n    x\n", ["a", "b"], "x\n"),
        ("with a(), b(), c():\n    x\n", ["b"], "with a(), c():\n    x\n"),
        ("with a(), b(), c():\n    x\n", ["a", "c"], "with b():\n    x\n"),
        ("with a() as n, b():\n    x\n", ["b"], "with a() as n:\n    x\n"),
        ("with (a()), (b()):\n    x\n", ["a"], "with (b()):\n    x\n"),
        ("with (a(), b()): x\n", ["b"], "with a(): x\n"),
        ("with (a(), b(), c()):\n    x\n", ["c"], "with (a(), b()):\n    x\n"),
        (
            "with (\n    a(),\n    b(),  # two\n    c(),\n):\n    x\n",
            ["a"],
            "with (\n    b(),  # two\n    c(),\n):\n    x\n",
        ),
        (
            "with (\n    a(),\n    b(),\n    c()\n):\n    x\n",
            ["c"],
            "with (\n    a(),\n    b()\n):\n    x\n",
        ),
        (
            "with (\n    a(),\n    p if q else\n    r,\n):\n    x\n",
            ["a"],
            "with (p if q else\n    r):\n    x\n",
        ),
        (
            "with a():\n    with b():\n        with c(): x\n",
            ["a", "c"],
            "with b():\n    x\n",
        ),
    ],
)
def test_what_is_left(text: str, names: list[str], expected: str) -> None:
    assert left(text, *names) == expected


def test_comments_stay() -> None:
    text = dedent("""
        # above
        with a():  # header
            # first
            x
            # last
        with (
            a(),  # one
            b(),  # two
        ):
            y
    """)
    module = Analysis(text).module()
    withs = [node for node in ast.walk(module.tree) if isinstance(node, ast.With)]
    first = [LeaveContext(module.span(node.items[0].context_expr)) for node in withs]
    assert edited(module, *first) == dedent("""
        # above
        # header
        # first
        x
        # last
        # one
        # two
        with b():
            y
    """)


def test_what_several_items_ask_for_is_put_together() -> None:
    module = Analysis("with a(), b(), c():\n    x\n").module()
    edits = [
        LeaveContext(
            module.span(context(module, name)),
            before=said(module, name, "on"),
            after=block(said(module, name, "off"), said(module, name, "done")),
        )
        for name in ("a", "c")
    ]
    assert edited(module, *reversed(edits)) == dedent("""
        a.on(True)
        c.on(True)
        with b():
            x
        a.off(True)
        a.done(True)
        c.off(True)
        c.done(True)
    """)


def test_one_guarded_item_guards_all() -> None:
    module = Analysis("if q:\n    with a(), b():\n        x\n").module()
    one = LeaveContext(module.span(context(module, "a")), after=said(module, "a", "off"))
    two = LeaveContext(
        module.span(context(module, "b")), after=said(module, "b", "off"), guarded=True
    )
    assert edited(module, one, two) == dedent("""
        if q:
            try:
                x
            finally:
                a.off(True)
                b.off(True)
    """)


def test_nothing_is_guarded_for_nothing() -> None:
    module = Analysis("with a():\n    x\n").module()
    edit = LeaveContext(module.span(context(module, "a")), guarded=True)
    assert edited(module, edit) == "x\n"


def test_edits_inside_the_others_are_made() -> None:
    module = Analysis("with a(), b(y):\n    x(y)\n").module()
    inner, body = (n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "y")
    edits = [ReplaceExpression(module.span(node), Written(1)) for node in (inner, body)]
    leave = LeaveContext(module.span(context(module, "a")))
    assert edited(module, leave, *edits) == "with b(1):\n    x(1)\n"
