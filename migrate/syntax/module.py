"""One module, parsed: its tree, and what can be said of it without looking at any other."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsdp_migrate.syntax.nodes import children, nodes_in, own_nodes
from fsdp_migrate.syntax.source import Source, line_length
from fsdp_migrate.syntax.span import Site, Span

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef

_SITE = "_site"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
BUILTINS = frozenset(dir(builtins))
_NAMED = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
)


@dataclass(eq=False)
class Module:
    """The facts of one file.  `name` is its path without suffix, `pkg/sub` for a package."""

    name: str
    source: Source
    tree: ast.Module
    rewrite: bool = True  # rules may ask for changes in it
    given: bool = True  # False: only looked at; what has to change in it holds others back

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @cached_property
    def lines(self) -> list[str]:
        """The lines as `ast` counts them, without their ends."""
        return self.source.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    @cached_property
    def _ended(self) -> list[str]:
        """The lines as `ast` counts them, with their ends."""
        return _LINE.findall(self.source.text)

    @cached_property
    def comments(self) -> dict[int, str] | None:
        """The comments by the numbers of their lines; None if they can't be told."""
        import tokenize  # which few runs have a use for

        lines = iter([f"{line}\n" for line in self.lines])
        try:
            tokens = list(tokenize.generate_tokens(lambda: next(lines, "")))
        except (tokenize.TokenError, SyntaxError):
            return None
        return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}

    @cached_property
    def lines_with_comments(self) -> frozenset[int]:
        """The numbers of the lines on which there is a comment."""
        if self.comments is None:
            return frozenset(range(1, len(self.lines) + 1))
        return frozenset(self.comments)

    @cached_property
    def line_length(self) -> int:
        """How long a new line may become."""
        return self.source.width or line_length(self.source.text)

    @cached_property
    def indent(self) -> str:
        """What the file's first indented block is indented by, four spaces if there is none."""
        for node in nodes_in(self.tree):
            block = getattr(node, "body", None)
            if isinstance(node, ast.stmt) and isinstance(block, list) and block:
                line = self.lines[block[0].lineno - 1]
                outer = self.lines[node.lineno - 1]
                unit = _indentation(line).removeprefix(_indentation(outer))
                if block[0].lineno > node.lineno and unit:
                    return unit
        return "    "

    @cached_property
    def quote(self) -> str:
        """The quotation mark that the file prefers."""
        single, double = map(self.source.text.count, ("'", '"'))
        return "'" if single > double else '"'

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The parent of every node."""
        return {child: node for node in nodes_in(self.tree) for child in children(node)}

    @cached_property
    def bound_names(self) -> frozenset[str]:
        """Every name that is bound somewhere in the module, in any scope."""
        return frozenset(name for node in nodes_in(self.tree) for name in names_bound_by(node))

    @cached_property
    def global_names(self) -> frozenset[str]:
        """The names that are bound in the module's own scope, or by a `global` in a function."""
        declared = {n for g in nodes_in(self.tree) if isinstance(g, ast.Global) for n in g.names}
        own = {name for node in scope_nodes(self.tree) for name in names_bound_by(node)}
        return frozenset(declared | own)

    def site(self, node: ast.AST) -> Site:
        """The place of `node`, which keeps it."""
        known: Site | None = getattr(node, _SITE, None)
        if known is None or known.module != self.name:
            known = Site.of(self.name, node)
            setattr(node, _SITE, known)
        return known

    def span(self, node: ast.AST) -> Span:
        """The range of `node`, columns in characters (`ast` counts bytes of UTF-8)."""
        site = self.site(node)
        return Span(
            site.line,
            self._column(site.line, site.col),
            site.end_line,
            self._column(site.end_line, site.end_col),
        )

    def text(self, node: ast.AST) -> str:
        """The source of an expression or statement, as written.

        An expression that only the brackets around it held together is put between its own.
        """
        text = self.segment(node)
        return standing_alone(text) if isinstance(node, ast.expr) else text

    def segment(self, node: ast.AST) -> str:
        """The characters of the source that `node` spans."""
        if getattr(node, "end_lineno", None) is None:
            return ast.unparse(node)
        span = self.span(node)
        lines = self._ended[span.line - 1 : span.end_line]
        lines[-1] = lines[-1][: span.end_col]
        lines[0] = lines[0][span.col :]
        return "".join(lines)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around `node`, the nearest first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that `node` is part of."""
        if isinstance(node, ast.stmt):
            return node
        return next(a for a in self.ancestors(node) if isinstance(a, ast.stmt))

    def function(self, node: ast.AST) -> Function | None:
        """The innermost function around `node`."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        return next((a for a in self.ancestors(node) if isinstance(a, kinds)), None)

    def scope(self, node: ast.AST) -> Scope:
        """The innermost scope around `node`."""
        kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
        return next(a for a in self.ancestors(node) if isinstance(a, kinds))

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that `statement` is in."""
        parent = self.parents[statement]
        for _, value in ast.iter_fields(parent):
            if isinstance(value, list) and statement in value:
                return value
        return [statement]

    def _column(self, line: int, col: int) -> int:
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if text.isascii():
            return col
        return len(text.encode()[:col].decode(errors="ignore"))


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def standing_alone(expression: str) -> str:
    """`expression`, in parentheses if it goes on over lines that nothing else joins."""
    if "\n" not in expression:
        return expression
    try:
        ast.parse(expression, mode="eval")
    except SyntaxError:
        return f"({expression})"
    return expression


def all_annotations(tree: ast.Module) -> list[ast.expr]:
    """The annotations of all variables, parameters and results."""
    found: list[ast.expr | None] = []
    for node in nodes_in(tree):
        if isinstance(node, ast.AnnAssign | ast.arg):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
    return [annotation for annotation in found if annotation is not None]


def scope_nodes(scope: Scope) -> Sequence[ast.AST]:
    """The nodes of `scope` itself, nested functions and classes as single nodes."""
    return own_nodes(scope)[1:]


def names_bound_by(node: ast.AST) -> Iterator[str]:
    """The names that `node` itself binds."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.MatchMapping):
        yield from [node.rest] if node.rest else []
    elif isinstance(node, _NAMED) and node.name is not None:
        yield node.name


def parse(source: Source, name: str, given: bool = True) -> Module:
    """Parse a file.

    Raises:
        SyntaxError: the text isn't Python (of the version that runs this).
    """
    return Module(name, source, ast.parse(source.text), given=given)
