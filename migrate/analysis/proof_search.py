"""Proofs, found: what the calls of FSDP1's functions say of what they are given.

The program is solved without them first.  Where that leaves open what FSDP1's functions are given,
the calls are proofs, and the program is solved again with them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.evidence import is_opaque, is_plain_module
from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.library.modules import DDP
from fsdp_migrate.analysis.proofs import (
    PROVING,
    RETURN,
    Owner,
    Region,
    model_given,
    name_of,
    region_of,
    root_of,
)
from fsdp_migrate.analysis.solver import Solver
from fsdp_migrate.analysis.values import Func, Instance, Symbol, Wrapped, symbols
from fsdp_migrate.syntax.module import Module, scope_nodes
from fsdp_migrate.syntax.span import Site

ROUNDS = 4  # of solving, for callers of callers


def find_proofs(solver: Solver) -> bool:
    """Note what the calls that `solver` has seen prove; whether that is more than it knew."""
    found = [*_from_calls(solver), *_from_annotations(solver)]
    return any([*found, *_from_callees(solver)])


def _from_calls(solver: Solver) -> Iterator[bool]:
    for module, call in _calls(solver):
        for name in sorted(symbols(solver.record.value(call.func)) & PROVING.keys()):
            model = model_given(call, name)
            if model is not None and _is_open(solver, model, passed_on=False):
                region = region_of(module, call)
                if region.branch is None or not _is_explained(solver, model):
                    yield _prove(solver, module, model, region)


def _from_annotations(solver: Solver) -> Iterator[bool]:
    for target, module in solver.record.stated.items():
        statement = module.parents[target]
        made = statement.value if isinstance(statement, ast.AnnAssign) else None
        if made is None or _is_open(solver, made, passed_on=True):
            region = Region(module.name)
            scope = module.scope(target)
            if isinstance(scope, ast.ClassDef) and isinstance(target, ast.Name):
                yield solver.proofs.add(module.site(scope), target.id, region)
            else:
                yield _prove(solver, module, target, region)
    giving = _giving_models(solver) if solver.record.returning else frozenset()
    for site in solver.record.returning:
        if site not in giving:
            yield solver.proofs.add(site, RETURN, Region(site.module))


def _giving_models(solver: Solver) -> frozenset[Site]:
    """The functions that are seen to give back models."""
    return frozenset(
        place[1].site
        for place, value in solver.heap.items()
        if place[0] == "return" and isinstance(place[1], Task) and place[1].site is not None
        if any(isinstance(atom, Wrapped) for atom in value)
    )


def _from_callees(solver: Solver) -> Iterator[bool]:
    for module, call in _calls(solver):
        for model in _given_on(solver, call):
            if _is_open(solver, model, passed_on=True):
                yield _prove(solver, module, model, region_of(module, call))


def _calls(solver: Solver) -> Iterator[tuple[Module, ast.Call]]:
    for site, call in solver.record.call_nodes.items():
        yield solver.project.modules[site.module], call


def _is_open(solver: Solver, node: ast.expr, passed_on: bool) -> bool:
    """Whether a proof would say more of `node` than is known: it isn't seen to be a model."""
    value = solver.record.value(node)
    if not value or any(map(is_opaque, value)):
        return True
    if passed_on or any(isinstance(atom, Wrapped) for atom in value):
        return False
    return any(map(is_plain_module, value)) or any(map(solver.classes.is_module, value))


def _is_explained(solver: Solver, node: ast.expr) -> bool:
    """Whether a model that the program makes is known to come to `node`.

    In a branch for FSDP alone it is that one, and nothing is said of what else can be there.
    """
    value = solver.record.value(node)
    return any(isinstance(atom, Wrapped) and atom.site is not None for atom in value)


def _given_on(solver: Solver, call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of `call` that what it calls proves to be models."""
    for atom in solver.record.value(call.func):
        if not isinstance(atom, Func) or not solver.proofs.has(atom.site):
            continue
        info = solver.program.functions[atom.site]
        passed = dict(zip((arg.arg for arg in info.positional), call.args, strict=False))
        passed |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        for name, node in passed.items():
            regions = solver.proofs.known.get((atom.site, name), frozenset())
            if any(r.branch is None and not r.others for r in regions):
                yield node


def _prove(solver: Solver, module: Module, model: ast.expr, region: Region) -> bool:
    """Note that `model` is one, by where it lives; whether that is new."""
    if isinstance(model, ast.Attribute):
        owners = [a.cls for a in solver.record.value(model.value) if isinstance(a, Instance)]
        if owners:
            region = _in_class(solver, module, model, region)
            added = [solver.proofs.add(cls, model.attr, region) for cls in owners]
            return any(added)
    root = root_of(model)
    if root is None:
        return False
    owner = _owner_in(solver, module, root)
    new = solver.proofs.add(owner, name_of(model), region)
    made_of = _alias(module, model) if isinstance(model, ast.Name) else None
    if made_of is not None and _is_open(solver, made_of, passed_on=False):
        new = _prove(solver, module, made_of, region) or new
    return new


def _alias(module: Module, name: ast.Name) -> ast.expr | None:
    """The `self.net` of `name = self.net`, if that alone binds the variable here."""
    bound = [
        node
        for node in scope_nodes(module.function(name) or module.tree)
        if isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Store)
    ]
    statement = module.parents[bound[0]] if len(bound) == 1 else None
    if not isinstance(statement, ast.Assign) or statement.targets != bound:
        return None
    return statement.value if root_of(statement.value) is not None else None


def _owner_in(solver: Solver, module: Module, name: ast.Name) -> Owner:
    """The scope of `module` that a variable lives in."""
    for around in module.ancestors(name):
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            site = module.site(around)
            if name.id in solver.program.functions[site].locals:
                return site
    return module.name


def _in_class(solver: Solver, module: Module, node: ast.AST, region: Region) -> Region:
    """Where a proof about an attribute holds: in one method only, if that is for FSDP alone."""
    function = module.function(node)
    if function is None or region.branch is not None:
        return region
    if not _has_alternative(solver, module) and not _runs_in_a_branch(solver, module, function):
        return region
    lines = (function.lineno, function.end_lineno or function.lineno)
    return Region(module.name, lines, region.others)


def _has_alternative(solver: Solver, module: Module) -> bool:
    """Whether the file imports another wrapper, so that other methods may be about that."""
    return any(
        isinstance(node, ast.alias) and Symbol(DDP) in solver.record.value(node)
        for node in module.parents
    )


def _runs_in_a_branch(solver: Solver, module: Module, function: ast.AST) -> bool:
    """Whether a function is called in a branch that asks what kind of model there is."""
    name = getattr(function, "name", "")
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == name
        and region_of(solver.project.modules[site.module], call).branch is not None
        for site, call in solver.record.call_nodes.items()
    )
