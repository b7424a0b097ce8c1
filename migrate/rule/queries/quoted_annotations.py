"""Annotations in quotes: where FSDP1's class is named in strings that are code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from fsdp_migrate.analysis.values import NONE, Symbol, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.class_flow import is_of_typing
from fsdp_migrate.syntax.fsdp1_names import FSDP1, canonical, short, starred
from fsdp_migrate.syntax.module import Module, all_annotations
from fsdp_migrate.syntax.nodes import children, nodes_in
from fsdp_migrate.syntax.paths import path_of

LITERALS = frozenset({"typing.Literal", "typing_extensions.Literal"})
Range = tuple[int, int]  # of characters, the end exclusive


def quoted_annotations(facts: Facts, module: Module) -> Iterator[tuple[ast.Constant, list[str]]]:
    """The strings in annotations that name FSDP1's class, and what stands around the names."""
    imported = _imported(facts, module)
    if not any(_leads_to_class(name) for name in imported.values()):
        return
    for annotation in [*all_annotations(module.tree), *_types_in_calls(facts, module)]:
        for node in _code_strings(annotation, imported):
            text = str(node.value)
            found = sorted(_mentions(text, imported))
            if found:
                ends = [0, *(end for _, end in found)]
                starts = [*(start for start, _ in found), len(text)]
                yield node, [text[a:b] for a, b in zip(ends, starts, strict=True)]


def _types_in_calls(facts: Facts, module: Module) -> Iterator[ast.expr]:
    """The types that calls of `typing` are given: `cast("FSDP", x)`, `TypeVar("T", bound="FSDP")`.

    What these name first is a variable's own name, but for `cast`.
    """
    for node in module.parents:
        if isinstance(node, ast.Call) and is_of_typing(facts, node.func):
            is_cast = any(name.endswith(".cast") for name in symbols(facts.value(node.func)))
            yield from node.args[:1] if is_cast else node.args[1:]
            yield from (k.value for k in node.keywords if k.arg in {"bound", "default"})


def _leads_to_class(name: str) -> bool:
    return name == FSDP1 or FSDP1.startswith(f"{name}.")


def _imported(facts: Facts, module: Module, asked: frozenset[str] = frozenset()) -> dict[str, str]:
    """The names that imports bind in `module`, and what of a library each of them is.

    `asked` are the modules that star imports have led from.
    """
    found: dict[str, str] = {}
    for node in module.parents:
        if not isinstance(node, ast.alias):
            continue
        if node.name == "*":
            found |= _starred(facts, module, module.parents[node], asked)
            continue
        if isinstance(module.parents[node], ast.Import):
            local = node.asname or node.name.partition(".")[0]
            found[local] = node.name if node.asname else local
            continue
        names = [a.name for a in facts.value(node) - NONE if isinstance(a, Symbol)]
        if len(names) == 1:
            found[node.asname or node.name] = names[0]
    return found


def _starred(facts: Facts, module: Module, node: ast.AST, asked: frozenset[str]) -> dict[str, str]:
    """The names that a star import binds to FSDP1's class, here or in the module it is from."""
    assert isinstance(node, ast.ImportFrom)
    project = facts.analysis.project
    home = project.modules.get(project.resolve(module, node.module or "", node.level) or "")
    asked = asked | {module.name}
    if home is not None and home.name not in asked:
        names = _imported(facts, home, asked)
        return {name: of for name, of in names.items() if of == FSDP1 and name[0] != "_"}
    name = short(FSDP1)
    return {name: FSDP1} if not node.level and starred(node.module, name) == FSDP1 else {}


def _resolved(node: ast.AST, imported: Mapping[str, str]) -> str | None:
    """The library's name that a dotted path stands for."""
    path = path_of(node)
    head, dot, rest = (path or "").partition(".")
    return canonical(f"{imported[head]}{dot}{rest}") if head in imported else None


def _code_strings(tree: ast.AST, imported: Mapping[str, str]) -> Iterator[ast.Constant]:
    """The strings in an annotation that are code: not those of `Literal`."""
    if isinstance(tree, ast.Subscript) and _resolved(tree.value, imported) in LITERALS:
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree
    for child in children(tree):
        yield from _code_strings(child, imported)


def _mentions(text: str, imported: Mapping[str, str]) -> Iterator[Range]:
    """Where `text`, an annotation, names FSDP1's class."""
    held = f"({text}\n)"  # so that it may start with a space and go on over lines
    try:
        tree = ast.parse(held, mode="eval")
    except (SyntaxError, ValueError):
        return
    lines = held.split("\n")

    def place(line: int, column: int) -> int:
        above = sum(len(text) + 1 for text in lines[: line - 1])
        return above + len(lines[line - 1].encode()[:column].decode()) - 1

    for node in nodes_in(tree):
        if isinstance(node, ast.Name | ast.Attribute) and _resolved(node, imported) == FSDP1:
            start = place(node.lineno, node.col_offset)
            yield start, place(node.end_lineno or 0, node.end_col_offset or 0)
    for inner in _code_strings(tree, imported):
        start = place(inner.lineno, inner.col_offset) + 1
        value = str(inner.value)
        if text[start : start + len(value)] == value:  # a plain string: no prefix, no escapes
            yield from ((start + a, start + b) for a, b in _mentions(value, imported))
