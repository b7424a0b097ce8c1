"""The tree that edits mean, and that what they write parses to it."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdp_migrate.findings.code import (
    ALTERNATIVE,
    BODY,
    NOTHING,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    Starred,
    block,
    call,
    code,
    dictionary,
    either,
    loop_variable,
    variable,
)
from fsdp_migrate.findings.edits import (
    Edit,
    InsertStatements,
    MoveStatement,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.rewriting.meant import meant, same
from fsdp_migrate.syntax.module import Module, parse
from support.codes import AsWritten, edited
from support.programs import dedent, source

SHARD = Name("torch.distributed.fsdp", "fully_shard")
M = loop_variable("m")


def module_of(text: str) -> Module:
    return parse(source("train.py", dedent(text)), "train")


def node(module: Module, text: str) -> ast.expr:
    """The first expression that is written `text`."""
    return next(
        n for n in ast.walk(module.tree) if isinstance(n, ast.expr) and module.segment(n) == text
    )


def statement(module: Module, text: str) -> ast.stmt:
    """The first statement that begins with `text`."""
    return next(
        n
        for n in ast.walk(module.tree)
        if isinstance(n, ast.stmt) and module.segment(n).startswith(text)
    )


def both(module: Module, *edits: Edit) -> str:
    """What the edits mean, after making sure that what they write says just that."""
    tree = meant(module, edits, AsWritten())
    written = edited(module.source.text, edits)
    assert same(ast.parse(written), tree), written
    return ast.unparse(tree)


def test_an_expression_keeps_parts_of_itself() -> None:
    module = module_of("x = wrap(net, g(a))\n")
    old = node(module, "wrap(net, g(a))")
    assert isinstance(old, ast.Call)
    inner = ReplaceExpression(module.span(node(module, "a")), Literal(1))
    new = call(SHARD, Kept(module.span(old.args[1])), mesh=Kept(module.span(old.args[0])))
    outer = ReplaceExpression(module.span(old), new)
    assert both(module, outer, inner) == "x = fully_shard(g(1), mesh=net)"
    assert both(module, inner, outer) == "x = fully_shard(g(1), mesh=net)"


def test_an_edit_may_keep_its_own_place() -> None:
    module = module_of("x = p.grad.norm(a)\n")
    place = module.span(node(module, "p.grad.norm(a)"))
    edit = ReplaceExpression(place, code("{norm}.full_tensor()", norm=Kept(place)))
    inner = ReplaceExpression(module.span(node(module, "a")), Literal(2))
    assert both(module, edit, inner) == "x = p.grad.norm(2).full_tensor()"


def test_what_is_kept_may_stand_further_down() -> None:
    module = module_of("a()\nb(c(d))\n")
    kept = Kept(module.span(node(module, "c(d)")))
    edits = [
        ReplaceStatement(module.span(statement(module, "a()")), call(SHARD, kept)),
        ReplaceStatement(module.span(statement(module, "b(")), NOTHING),
        ReplaceExpression(module.span(node(module, "d")), Literal(None)),
    ]
    assert both(module, *edits) == "fully_shard(c(None))"


def test_statements_come_go_and_move() -> None:
    module = module_of(
        """
        first()
        opt = make(net)
        net = wrap(net)
        last()
        """
    )
    below = module.span(statement(module, "net ="))
    edits = [
        MoveStatement(module.span(statement(module, "opt =")), below),
        ReplaceStatement(module.span(statement(module, "first")), NOTHING),
        InsertStatements(module.span(statement(module, "last")), call(SHARD), after=True),
    ]
    assert both(module, *edits) == "net = wrap(net)\nopt = make(net)\nlast()\nfully_shard()"


def test_an_emptied_block_passes() -> None:
    module = module_of("if x:\n    f()\nelse:\n    g()\n")
    gone = ReplaceStatement(module.span(statement(module, "f()")), NOTHING)
    assert both(module, gone) == "if x:\n    pass\nelse:\n    g()"


@pytest.mark.parametrize("new", [NOTHING, ALTERNATIVE])
def test_an_elif_goes(new: Part) -> None:
    module = module_of("if a:\n    f()\nelif b:\n    g()\nelse:\n    h()\n")
    inner = next(n for n in ast.walk(module.tree) if isinstance(n, ast.If) and n.lineno == 3)
    assert both(module, ReplaceStatement(module.span(inner), new)) == (
        "if a:\n    f()\nelse:\n    h()"
    )


def test_a_body_stays_with_the_edits_in_it() -> None:
    module = module_of("with c:\n    f(a)\n    g()\n")
    edits = [
        ReplaceStatement(module.span(module.tree.body[0]), block(call(SHARD), BODY, call(SHARD))),
        ReplaceExpression(module.span(node(module, "a")), Literal("b")),
    ]
    assert both(module, *edits) == "fully_shard()\nf('b')\ng()\nfully_shard()"


def test_targets_are_stored() -> None:
    module = module_of("self.model = wrap(net)\n")
    assign = module.tree.body[0]
    assert isinstance(assign, ast.Assign)
    new = code("{target} = {value}", target=Kept(module.span(assign.targets[0])), value=Literal(1))
    assert both(module, ReplaceStatement(module.span(assign), new)) == "self.model = 1"


def test_nothing_is_looked_for_in_what_is_kept() -> None:
    module = module_of("f(_hole_0_, list)\n")
    old = node(module, "f(_hole_0_, list)")
    assert isinstance(old, ast.Call)
    kept = [Kept(module.span(argument)) for argument in old.args]
    new = code("list({one}) + {two}", one=kept[0], two=kept[1])
    edit = ReplaceExpression(module.span(old), new)
    assert both(module, edit) == "list(_hole_0_) + list"


def test_the_old_tree_is_left_alone() -> None:
    module = module_of("f(a, [b, *c], {**d})\n")
    before = ast.dump(module.tree)
    old = module.tree.body[0]
    assert isinstance(old, ast.Expr)
    assert isinstance(old.value, ast.Call)
    kept = [Kept(module.span(argument)) for argument in old.value.args]
    new = call(SHARD, *kept, Starred(kept[0]), Keyword("k", kept[1]), Starred(kept[2], True))
    both(module, ReplaceExpression(module.span(old.value), new))
    assert ast.dump(module.tree) == before


# ---------------------------------------------------------------------- any code in any place
TEXTS = [
    "a", "a.b", "a[0]", "a()", "(a)", "a or b", "a and b", "not a", "a if b else c", "lambda: a",
    "a + b", "a * b", "-a", "a ** b", "a < b", "a in b", "a | b", "[x for x in a]", "{a}", "{a: b}",
    "(yield)", "(a := b)", "1", "1.5", "'{0}'", "f'{a}'", "a,", "(x for x in a)",
    "a(\n    b,\n)", "(a +\n    b)",
]  # fmt: skip
KEPT = st.integers(0, len(TEXTS) - 1)
SOURCE = module_of(
    "def f():\n" + "".join(f"    _ = {text}\n" for text in TEXTS) + "    put(here)\n"
)


def _kept(index: int) -> Part:
    function = SOURCE.tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    assign = function.body[index]
    assert isinstance(assign, ast.Assign)
    return Kept(SOURCE.span(assign.value))


def _compound(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    two = st.tuples(parts, parts)
    three = st.tuples(parts, parts, parts)
    return st.one_of(
        three.map(lambda p: code("{a} if {b} else {c}", a=p[0], b=p[1], c=p[2])),
        two.map(lambda p: code("{a} and {b}", a=p[0], b=p[1])),
        two.map(lambda p: either(*p)),
        parts.map(lambda p: code("not {a}", a=p)),
        parts.map(lambda p: code("{a}.parameters()", a=p)),
        two.map(lambda p: code("{a}({b})", a=p[0], b=p[1])),
        two.map(lambda p: code("{a}[{b}]", a=p[0], b=p[1])),
        two.map(lambda p: code("{a} + {b}", a=p[0], b=p[1])),
        two.map(lambda p: code("{a} ** -{b}", a=p[0], b=p[1])),
        two.map(lambda p: code("{a} is not {b}", a=p[0], b=p[1])),
        two.map(lambda p: code("isinstance({a}, ({b},))", a=p[0], b=p[1])),
        two.map(lambda p: code("[{m} for {m} in {a} if {b}]", m=M, a=p[0], b=p[1])),
        two.map(lambda p: call(SHARD, p[0], Starred(p[1]), mesh=p[1])),
        two.map(lambda p: dictionary(Item(p[0], p[1]), Starred(p[0], double=True))),
    )


PARTS = st.recursive(
    KEPT.map(_kept) | st.just(SHARD) | st.just(Literal(1)), _compound, max_leaves=5
)


@settings(max_examples=150, deadline=None)
@given(PARTS, st.sampled_from(["here", "put(here)"]))
def test_what_is_written_says_what_is_meant(part: Part, where: str) -> None:
    both(SOURCE, ReplaceExpression(SOURCE.span(node(SOURCE, where)), part))


@settings(max_examples=100, deadline=None)
@given(PARTS)
def test_what_is_written_as_a_statement_says_what_is_meant(part: Part) -> None:
    place = SOURCE.span(statement(SOURCE, "put(here)"))
    both(SOURCE, ReplaceStatement(place, block(code("{x} = {v}", x=variable("x"), v=part), part)))
