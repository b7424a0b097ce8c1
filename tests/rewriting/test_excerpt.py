"""LibCST sees the statements that change alone, and the file comes out as if it had seen all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdp_migrate.engine import migrate
from fsdp_migrate.findings.code import NOTHING, Literal
from fsdp_migrate.findings.edits import Edit, MoveStatement, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rewriting import statements
from fsdp_migrate.rewriting.excerpt import Excerpt, excerpt_for
from fsdp_migrate.rewriting.statements import apply_edits
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.source import Source, read
from support.codes import AsWritten

ROOT = Path(__file__).parents[2] / "fixtures"
PROGRAMS = [*sorted((ROOT / "gallery").iterdir()), *sorted((ROOT / "programs").iterdir())[:12]]

# What stands between two statements, and statements; any row of them is a program.
GAPS = ("", "\n", "\n\n", "# above\n", "\n# above\n\n# near\n", "   # odd\n", "\x0c\n")
BLOCKS = (
    "x = 1\n",
    "x = 1; y = 2  # beside\n",
    "x = '''\n# no comment\n'''\n",
    "x = (1,\n     2)  # behind\n",
    "if x:\n  y = 2\n  # last\n",
    "def f(a):\n    # first\n    return a\n\n    # at the end\n# dedented\n",
    "@d  # why\n@e\ndef g():\n\treturn 1\n",
    "class C:\n    def f(self):\n        return 1\n    # between\n\n    y = 2\n",
    "x = 1 + \\\n    2\n",
    "é = 'ü' + str(1)\n",
)


def whole(text: str, _: object) -> Excerpt:
    """An excerpt that is all of the file."""
    return Excerpt(text, (), (1,), (0,))


def both(text: str, edits: list[Edit], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The file after the edits, made in excerpts and in all of it."""
    mine = apply_edits(text, edits, AsWritten())
    with monkeypatch.context() as patch:
        patch.setattr(statements, "excerpt_for", whole)
        return mine, apply_edits(text, edits, AsWritten())


@given(
    st.lists(st.tuples(st.sampled_from(GAPS), st.sampled_from(BLOCKS)), min_size=1, max_size=9),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "# the end\n", "\n\n"]),
    st.data(),
)
def test_any_file_comes_out_as_if_all_of_it_had_been_seen(
    rows: list[tuple[str, str]], end: str, tail: str, data: st.DataObject
) -> None:
    text = ("".join(gap + block for gap, block in rows) + tail).replace("\n", end)
    module = parse(Source(Path("a.py"), text), "a")
    body = module.tree.body
    numbers = [n for n in nodes_in(module.tree) if isinstance(n, ast.Constant) and n.value == 1]
    edits: list[Edit] = []
    for node in data.draw(st.sets(st.sampled_from(body), max_size=2)) if body else ():
        if not isinstance(node, ast.FunctionDef):
            edits.append(ReplaceStatement(module.span(node), NOTHING))
    gone = [edit.span for edit in edits]
    for node in data.draw(st.sets(st.sampled_from(numbers), max_size=2)) if numbers else ():
        if not any(span.contains(module.span(node)) for span in gone):
            edits.append(ReplaceExpression(module.span(node), Literal(7)))
    with pytest.MonkeyPatch.context() as patch:
        mine, all_of_it = both(text, edits, patch)
    assert mine == all_of_it


@pytest.mark.parametrize("folder", PROGRAMS, ids=lambda folder: str(folder.name))
def test_programs_come_out_as_if_all_of_them_had_been_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [read(path) for path in sorted(folder.rglob("*.py"))]
    mine = migrate(sources, Options()).changes
    monkeypatch.setattr(statements, "excerpt_for", whole)
    assert mine
    assert mine == migrate(sources, Options()).changes


def test_what_is_far_from_the_edits_is_left_out() -> None:
    text = "import a\n" + "x = 1\n" * 500 + "def f():\n    return 1\n" + "y = 1\n" * 500
    module = parse(Source(Path("a.py"), text), "a")
    one, far = module.tree.body[100], module.tree.body[300]
    edit = ReplaceStatement(module.span(one), NOTHING)
    excerpt = excerpt_for(text, [edit])
    assert len(excerpt.text.splitlines()) < 12
    assert excerpt.put_back(excerpt.text) == text
    move = MoveStatement(module.span(one), module.span(far))
    lines = excerpt_for(text, [move]).text.splitlines()
    assert lines.count("x = 1") == 4
