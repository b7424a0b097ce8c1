"""What a rewritten file has to pass before it is written."""

from __future__ import annotations

import ast

from fsdp_migrate.rewriting.meant import same
from fsdp_migrate.syntax.module import BUILTINS, Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.used_names import used_names

_GIVEN = frozenset({"__file__", "__name__"})  # names that every module has


def problem(text: str, meant: ast.Module, module: Module) -> str:
    """What is wrong with the new `text` of `module`, which was meant to be `meant`; or nothing."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return f"line {error.lineno} of the result is not Python: {error.msg}"
    if not same(tree, meant):
        return "the result does not say what was meant"
    complaint = _complaint(text)
    if complaint and not _complaint(module.source.text):
        return f"the result is not Python: {complaint}"
    return unbound(tree, module)


def _complaint(text: str) -> str:
    """What Python says against compiling `text` (its grammar alone allows more), or nothing."""
    try:
        compile(text, "<result>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


def unbound(tree: ast.Module, module: Module) -> str:
    """A complaint if `tree` uses a name that nothing binds and that was bound in `module`."""
    probe = Module(module.name, module.source, tree)
    star = any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in nodes_in(tree))
    if star:
        return ""
    before = used_names(module.tree) - module.bound_names
    loose = used_names(tree) - probe.bound_names - BUILTINS - before - _GIVEN
    return f"the result leaves {', '.join(sorted(loose))} undefined" if loose else ""
