"""Edits as data, made: everything else stays as it is."""

from __future__ import annotations

import pytest

from support.codes import edited
from support.texts import expression, statement

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
