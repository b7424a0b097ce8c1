"""The comments of import statements that speak of nothing but the names that go."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode, bound_name, imported
from fsdp_migrate.syntax.module import Module

_WORD = re.compile(r"[^\W\d]\w*")
# Comments for other tools, about the line that they stand on: flake8, mypy, pylint, isort.
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:\s*ignore|pylint:|pyright:|isort:|flake8:)")


def comments_that_go(module: Module, node: ImportNode, left: Collection[Import]) -> frozenset[str]:
    """The comments of `node` that go with names of it, when it imports what is `left`."""
    gone = [alias for alias in node.names if imported(node, alias) not in left]
    if not gone:
        return frozenset()
    names = {name for alias in gone for name in (alias.name, bound_name(alias))}
    apart = node.lineno != node.end_lineno or not left  # a directive may be about what goes alone
    return frozenset(
        comment
        for line, comment in _comments(module, node).items()
        if _stands_by(line, node, gone)
        and (
            (apart and line >= node.lineno and _DIRECTIVE.match(comment))
            or _speaks_of(comment, names, module)
        )
    )


def _stands_by(line: int, node: ImportNode, gone: Collection[ast.alias]) -> bool:
    """Whether a comment on `line` stands by names that go, and by no other."""
    beside = [alias for alias in node.names if alias.lineno == line and line >= node.lineno]
    return all(alias in gone for alias in beside or node.names)


def _comments(module: Module, node: ImportNode) -> dict[int, str]:
    """The comments of a statement by line, those right above it included."""
    first = node.lineno
    while first > 1 and module.lines[first - 2].lstrip().startswith("#"):
        first -= 1
    text = "\n".join(module.lines[first - 1 : node.end_lineno])
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return {}
    return {
        token.start[0] + first - 1: token.string
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _speaks_of(comment: str, names: Collection[str], module: Module) -> bool:
    """Whether a comment mentions one of `names`, and no other name of the module."""
    words = set(_WORD.findall(comment))
    return bool(words & set(names)) and not words & (module.bound_names - set(names))
