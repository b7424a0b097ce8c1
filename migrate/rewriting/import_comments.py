"""The comments of import statements that speak of nothing but the names that go."""

from __future__ import annotations

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
    everything = len(gone) == len(node.names)
    comments = _comments(module, node)
    found = set()
    for line, comment in comments.items():
        beside = [alias for alias in node.names if alias.lineno == line]
        all_gone = all(alias in gone for alias in beside) and (bool(beside) or everything)
        if line < node.lineno:
            all_gone = everything
        about_line = bool(_DIRECTIVE.match(comment)) and line >= node.lineno
        alone = node.lineno != node.end_lineno or not left
        if all_gone and ((about_line and alone) or _speaks_of(comment, names, module)):
            found.add(comment)
    return frozenset(found)


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
