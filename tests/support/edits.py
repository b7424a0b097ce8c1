"""Edits of small texts, made as the engine makes them: a module, its edits, and the new text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.rewriting.name_clashes import spell
from fsdp_migrate.rewriting.statements import apply_edits
from fsdp_migrate.syntax.module import Module, parse
from fsdp_migrate.syntax.source import Source

Node = TypeVar("Node", bound=ast.AST)
Change = Callable[[Arguments], object]


def module_of(text: str) -> Module:
    """`text`, parsed."""
    return parse(Source(Path("train.py"), text), "train")


def first(module: Module, kind: type[Node] | tuple[type[Node], ...]) -> Node:
    """The outermost node of a kind."""
    return next(node for node in ast.walk(module.tree) if isinstance(node, kind))


def edited(module: Module, *edits: Edit) -> str:
    """The text with the edits made, without the imports that they need."""
    return apply_edits(module.source.text, edits, spell(module, edits))


def changed(text: str, change: Change, signature: Sequence[str] = ()) -> str:
    """`text` with the arguments of its outermost call or dict display changed."""
    module = module_of(text)
    nodes = (n for n in ast.walk(module.tree) if isinstance(n, ast.Call | ast.Dict))
    arguments = bind(module, next(nodes), signature)
    change(arguments)
    return edited(module, arguments.edit())
