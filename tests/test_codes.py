"""How new code is written: templates are literals, and no rule works on the text of a program."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import measures
from fsdp_migrate.findings.code import Code

FILES = measures.files()
# Rooms that decide what becomes of a program, by values and trees.
DECIDING = ("analysis", "lowering", "frameworks", "rule", "rules", "findings")
# Where text is what it is about: string annotations, and tables in configuration files.
ABOUT_TEXT = (
    "frameworks.outside",
    "frameworks.config_files",
)


def _deciding() -> list[str]:
    return [n for n in FILES if n.startswith(DECIDING) and not n.startswith(ABOUT_TEXT)]


def _calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


@pytest.mark.parametrize("name", FILES)
def test_templates_are_written_out(name: str) -> None:
    """But for the few builders beside `code` itself, which join holes and nothing else."""
    if name == "findings.code":
        return
    for call in _calls(FILES[name].path, "code"):
        template = call.args[0]
        assert isinstance(template, ast.Constant), ast.unparse(call)
        assert isinstance(template.value, str), ast.unparse(call)


@pytest.mark.parametrize("name", _deciding())
def test_nothing_is_decided_by_text(name: str) -> None:
    """No source is searched, compared or made from trees where decisions are taken."""
    for node in ast.walk(ast.parse(FILES[name].path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not modules & {"re", "tokenize", "textwrap"}, f"{name} imports {modules}"
        if isinstance(node, ast.Attribute):
            assert node.attr != "unparse", f"{name}:{node.lineno} compares or pastes source"
            searched = node.attr == "text" and getattr(node.value, "attr", "") == "source"
            assert not searched, f"{name}:{node.lineno} looks into the text of a file"


def test_code_is_made_by_its_builders_alone() -> None:
    """`Code(...)` itself checks nothing: only the rewriting's import statements use it."""
    users = {n for n in FILES if any(_calls(FILES[n].path, Code.__name__))}
    assert users <= {"findings.code", "rewriting.imports", "rewriting.listed_names"}, users
