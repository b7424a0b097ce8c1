"""Places in the source: where a node is, as `ast` counts it and as an editor does."""

from __future__ import annotations

import ast
import zlib
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, order=True)
class Span:
    """A range of source: lines from 1, columns from 0 in characters, the end exclusive."""

    line: int
    col: int
    end_line: int
    end_col: int

    @property
    def start(self) -> tuple[int, int]:
        """Where it begins."""
        return self.line, self.col

    @property
    def end(self) -> tuple[int, int]:
        """Where it ends."""
        return self.end_line, self.end_col

    def contains(self, other: Span) -> bool:
        """Whether `other` lies within this range."""
        return self.start <= other.start and other.end <= self.end


@cache
def steady_hash(text: str) -> int:
    """A hash of `text` that is the same in every process, so that sets keep their order."""
    return zlib.crc32(text.encode(errors="surrogatepass"))


@dataclass(frozen=True, order=True, slots=True)
class Site:
    """A place in the program: the module, and the node's own coordinates, columns in bytes."""

    module: str
    line: int
    col: int
    end_line: int
    end_col: int
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work the hash out once, for sites are in the keys of all that the analysis finds."""
        place = (steady_hash(self.module), self.line, self.col, self.end_line, self.end_col)
        object.__setattr__(self, "_hash", hash(place))

    def __hash__(self) -> int:
        """The same in every process, so that sets keep their order."""
        return self._hash

    @classmethod
    def of(cls, module: str, node: ast.AST) -> Site:
        """The place of `node`, which must be an expression, a statement or an argument."""
        return cls(
            module,
            getattr(node, "lineno", 0),
            getattr(node, "col_offset", 0),
            getattr(node, "end_lineno", 0) or 0,
            getattr(node, "end_col_offset", 0) or 0,
        )
