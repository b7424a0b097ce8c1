"""The names that a module reads, and those that it lists for others."""

from __future__ import annotations

import ast

from fsdp_migrate.syntax.module import all_annotations


def used_names(tree: ast.Module) -> set[str]:
    """The names that a module reads anywhere, in string annotations and `__all__` too."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names -= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    } - {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for annotation in all_annotations(tree):
        for inner in ast.walk(annotation):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                try:
                    parsed = ast.parse(inner.value, mode="eval")
                except SyntaxError:
                    continue
                names |= {n.id for n in ast.walk(parsed) if isinstance(n, ast.Name)}
    return names | exported_names(tree)


def exported_names(tree: ast.Module) -> set[str]:
    """The strings of `__all__`."""
    names: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            assert isinstance(node, ast.Assign)
            names |= {
                c.value
                for c in ast.walk(node.value)
                if isinstance(c, ast.Constant) and isinstance(c.value, str)
            }
    return names
