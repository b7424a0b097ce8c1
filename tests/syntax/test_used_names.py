"""The names that a module reads, and those that it lists for others."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.syntax.used_names import exported_apart, exported_names, used_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = a.b(c[d])", {"a", "c", "d"}),
        ("x = 1", set()),
        ("x = 1\nx += y", {"y"}),
        ("import a\ndel a", {"a"}),
        ("def f(a: b = c) -> d: return e", {"b", "c", "d", "e"}),
        ("@a\nclass B(c, metaclass=d): pass", {"a", "c", "d"}),
        ("x: 'a.B | list[C]' = d", {"a", "list", "C", "d"}),
        ("def f(x: list['A']) -> 'B': ...", {"list", "A", "B"}),
        ("x: 'no code at all'", set()),
        ("x = 'a'", set()),
        ("__all__ = ['a', 'b']", {"a", "b"}),
        ("f'{a!r:>{b}}'", {"a", "b"}),
    ],
)
def test_names_that_are_read(text: str, names: set[str]) -> None:
    assert used_names(ast.parse(text)) == names


@pytest.mark.parametrize(
    ("text", "names", "apart"),
    [
        ("__all__ = ['a', 'b']", {"a", "b"}, set()),
        ("__all__ = ('a', 'b')", {"a", "b"}, set()),
        ("__all__: list[str] = ['a']", {"a"}, set()),
        ("__all__: list[str]", set(), set()),
        ("__all__ = ['a']\n__all__ += ['b']", {"a", "b"}, set()),
        ("__all__ = ['a'] + ['b'] + c", {"a", "b"}, set()),
        ("__all__.append('a')", {"a"}, {"a"}),
        ("__all__.extend(['a'])", {"a"}, set()),
        ("__all__ = ['a']\n__all__.append('a')", {"a"}, {"a"}),
        ("__all__ = 'a b'.split()", {"a b"}, {"a b"}),
        ("if x:\n    __all__ = ['a']", {"a"}, set()),
        ("def f():\n    __all__ = ['a']", set(), set()),
        ("x = ['a']", set(), set()),
    ],
)
def test_names_that_are_listed(text: str, names: set[str], apart: set[str]) -> None:
    tree = ast.parse(text)
    assert exported_names(tree) == names
    assert exported_apart(tree) == apart
