"""Which unit is the root of its model: by where it was wrapped, or by the loop it comes from."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.lowering.nesting import Nesting, Role
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds, path_of

_WITH_ROOT = frozenset({"modules", "named_modules", "fsdp_modules"})


def is_root(facts: Facts, wraps: frozenset[Wrapped]) -> bool | None:
    """Whether the models of `wraps` are roots, all or none of them; None if it isn't known."""
    facts_of = [facts.analysis.wraps.get(w.site) if w.site is not None else None for w in wraps]
    nesting = Nesting(facts.analysis)
    roles = {nesting.role(fact) if fact is not None else Role.EITHER for fact in facts_of}
    if roles == {Role.ROOT}:
        return True
    return False if roles == {Role.INNER} else None


def root_of_loop(facts: Facts, module: Module, unit: ast.expr) -> ast.expr | None:
    """The root of the model whose units a loop goes through, if `unit` is what it goes by."""
    if not isinstance(unit, ast.Name):
        return None
    for around in module.ancestors(unit):
        if isinstance(around, ast.For):
            found = _root(facts, around.iter) if _binds(around.target, unit.id) else None
            if _binds(around.target, unit.id):
                return found if found is not None and not _rebinds(around, unit, found) else None
        for clause in getattr(around, "generators", ()):
            if _binds(clause.target, unit.id):
                return _root(facts, clause.iter)
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return None
    return None


def _binds(target: ast.expr, name: str) -> bool:
    """Whether a loop's target is the variable, alone or as the second of `name, module`."""
    if isinstance(target, ast.Tuple) and len(target.elts) == 2:
        target = target.elts[1]
    return isinstance(target, ast.Name) and target.id == name


def _rebinds(loop: ast.For, unit: ast.Name, root: ast.expr) -> bool:
    """Whether the body of a loop binds the unit, or the name of the root, to something else."""
    names = {unit.id, (path_of(root) or "").partition(".")[0]}
    return any(
        path.partition(".")[0] in names and (path in names or path == path_of(root))
        for statement in loop.body
        for path in binds(statement)
    )


def _root(facts: Facts, every: ast.expr) -> ast.expr | None:
    """The model of `model.modules()` or `FSDP.fsdp_modules(model)`, if it is a root."""
    if not isinstance(every, ast.Call) or not isinstance(every.func, ast.Attribute):
        return None
    if every.func.attr not in _WITH_ROOT or every.keywords:
        return None
    model = every.func.value
    if f"{FSDP1}.fsdp_modules" in called(facts, every):
        if len(every.args) != 1:
            return None
        model = every.args[0]
    elif every.args:
        return None
    wraps = only_models(facts, model)
    named = path_of(model) is not None
    return model if named and wraps and is_root(facts, wraps) is True else None
