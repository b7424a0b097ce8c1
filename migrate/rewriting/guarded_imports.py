"""Imports that may fail: `try: import x except ImportError: ...` asks whether x is there.

The question stays what it was.  A package of ours that is missing must be an error, and never the
answer that there is no FSDP; and what no longer needs FSDP1's name still asks torch for FSDP.
"""

from __future__ import annotations

import ast

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_statements import ImportNode, home
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

CATCHING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
ASKED = Import(ROOT, "fully_shard")


def is_guarded(module: Module, node: ImportNode) -> bool:
    """Whether something else happens where the import fails."""
    return _guard(module, node) is not None


def question(module: Module, node: ImportNode) -> list[Import]:
    """What a guarded import asks for when nothing needs its names any more."""
    guard = _guard(module, node)
    if guard is None or not isinstance(node, ast.ImportFrom) or not home(node).startswith(ROOT):
        return []
    handlers = guard.handlers if isinstance(guard, ast.Try) else []
    answers = [*guard.body, *(each for handler in handlers for each in handler.body)]
    if all(each is node or isinstance(each, ast.Pass) for each in answers):
        return []  # nobody listens
    return [ASKED]


def _guard(module: Module, node: ImportNode) -> ast.Try | ast.With | None:
    inner: ast.AST = node
    for around in module.ancestors(node):
        if isinstance(around, ast.Try) and inner in around.body:
            if any(_catches(handler.type) for handler in around.handlers):
                return around
        if isinstance(around, ast.With) and any(_suppresses(item) for item in around.items):
            return around
        inner = around
    return None


def _catches(caught: ast.expr | None) -> bool:
    """Whether a handler's type is one that a failing import raises; without one, it is any."""
    if isinstance(caught, ast.Tuple):
        return any(_catches(each) for each in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in CATCHING)


def _suppresses(item: ast.withitem) -> bool:
    call = item.context_expr
    if not isinstance(call, ast.Call):
        return False
    called = path_of(call.func) or ""
    return called.endswith("suppress") and any(_catches(argument) for argument in call.args)
