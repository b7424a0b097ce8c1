"""Walks over trees: the order of `ast.walk`, without what no walk is about, and found once."""

from __future__ import annotations

import ast

from fsdp_migrate.syntax.nodes import all_in, children, fresh_copy, nodes_in, own_nodes

TEXT = """
import a

class Model(a.Base):
    size: int = 3

    def forward(self, x, *rest, key=None, **named):
        def inner(y):
            return lambda z: (y + z, [w for w in rest if not w < 1 and w])
        match x:
            case {"k": [1, *others]}:
                x[others[0]] = f"{x!r:>{key}}"
        return inner(x)(named)
"""
TREE = ast.parse(TEXT)


def walked(node: ast.AST) -> list[ast.AST]:
    return [each for each in ast.walk(node) if not isinstance(each, ast.expr_context)]


def test_a_walk_has_the_nodes_of_ast_walk_in_its_order() -> None:
    for node in walked(TREE):
        assert list(nodes_in(node)) == walked(node)
        assert list(nodes_in(node)) == walked(node), "the second time"


def test_children_are_those_of_ast_but_for_contexts() -> None:
    for node in walked(TREE):
        expected = [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.expr_context)]
        assert list(children(node)) == expected


def test_nodes_of_one_kind() -> None:
    for node in walked(TREE):
        for kind in (ast.Name, ast.stmt, ast.FunctionDef, ast.Lambda):
            assert list(all_in(node, kind)) == [n for n in walked(node) if isinstance(n, kind)]


def test_what_is_kept_of_a_function_is_found_once() -> None:
    function = next(node for node in walked(TREE) if isinstance(node, ast.FunctionDef))
    assert nodes_in(function) is nodes_in(function)
    assert own_nodes(function) is own_nodes(function)
    assert all_in(function, ast.Name) is all_in(function, ast.Name)


def test_own_nodes_stop_at_functions_and_classes() -> None:
    function = next(n for n in walked(TREE) if isinstance(n, ast.FunctionDef))
    own = own_nodes(function)
    inner = next(n for n in own if isinstance(n, ast.FunctionDef) and n is not function)
    assert own[0] is function
    assert not any(isinstance(n, ast.Lambda) for n in own)
    assert set(own) & set(nodes_in(inner)) == {inner} | set(own) & set(nodes_in(inner.args))
    assert not {n.id for n in own if isinstance(n, ast.Name)} & {"y", "z", "w"}


def test_a_copy_is_the_same_tree_with_nothing_kept() -> None:
    nodes_in(TREE)
    copy = fresh_copy(TREE)
    assert ast.dump(copy, include_attributes=True) == ast.dump(TREE, include_attributes=True)
    assert not {id(n) for n in nodes_in(copy)} & {id(n) for n in nodes_in(TREE) if n._fields}
    copy.body.clear()
    assert list(nodes_in(fresh_copy(copy))) != list(nodes_in(TREE))
