"""How deeply a program is nested, and how much of that can be followed.

All that is done with a tree goes down into it, a few calls of ours for each level.  An operator,
an attribute, a call, and an `elif` are a level each: `a + b + c` is two deep.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fsdp_migrate.syntax.nodes import children, nodes_in

if TYPE_CHECKING:
    from fsdp_migrate.syntax.module import Module

DEEPEST = 400
_CALLS_A_LEVEL = 12


class TooDeep(RecursionError):
    """A file that can be followed, and not be rewritten: LibCST nests what Python's tree doesn't.

    To it, each `and` and each of the strings that stand one after the other is a level.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is nested too deeply")
        self.path = path


def depth_of(tree: ast.AST) -> tuple[int, int]:
    """The number of levels in `tree`, and the line of a node on the deepest one that has a line."""
    depth, line = 0, 1
    level: list[ast.AST] = [tree]
    while level:
        depth += 1
        line = next((node.lineno for node in level if isinstance(node, ast.expr | ast.stmt)), line)
        level = [child for node in level for child in children(node)]
    return depth, line


def longest_chain(module: Module) -> int:
    """The most operands of an `and` or `or`, or strings one after the other, in an expression."""
    longest = 0
    for node in nodes_in(module.tree):
        if isinstance(node, ast.BoolOp):
            longest = max(longest, len(node.values))
        elif isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            text = module.segment(node)
            if len(text) > DEEPEST:
                longest = max(longest, _strings_in(text))
    return longest


def _strings_in(text: str) -> int:
    """The number of literals that a string is written as."""
    if text.count('"') + text.count("'") < DEEPEST:
        return 1
    starts = {tokenize.STRING, getattr(tokenize, "FSTRING_START", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(f"({text})").readline)
    return sum(token.type in starts for token in tokens)


@contextmanager
def room_for_depth() -> Iterator[None]:
    """Let calls go as deep as trees of `DEEPEST` levels need."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST * _CALLS_A_LEVEL + 1000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
