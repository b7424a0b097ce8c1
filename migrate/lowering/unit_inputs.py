"""Whether the units below a root get their inputs in the dtype of their parameters anyway.

FSDP1 casts the inputs of the root only.  A unit whose `forward` hands its one argument to a layer
that refuses any other dtype has always been given that one: to cast it once more changes nothing.
"""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Atom, Instance, Result, Value, Wrapped
from fsdp_migrate.lowering.condition import Condition
from fsdp_migrate.lowering.program_facts import ProgramFacts
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

NN = "torch.nn."
# Layers that raise where their input has another dtype than their weight, or that take integers.
REFUSE = frozenset(
    {"Embedding", "EmbeddingBag", "Linear"}
    | {f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)}
)
NORMS = frozenset({"GroupNorm", "LayerNorm"})  # unless they have no weight
WITHOUT_WEIGHT = frozenset({"affine", "elementwise_affine"})
AUTOCAST = (
    "torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast", "torch.cpu.amp.autocast",
    "torch.amp.autocast_mode.autocast", "torch.cuda.amp.autocast_mode.autocast",
)  # fmt: skip
DEPTH = 4
PLAIN = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return, ast.With, ast.Call, ast.BinOp)
PASSED = (*PLAIN, ast.keyword, ast.UnaryOp, ast.Tuple, ast.Attribute)


def get_parameter_dtype(
    analysis: Analysis, program: ProgramFacts, condition: Condition | None
) -> bool:
    """Whether each module that the condition holds for is given its inputs in that dtype."""
    if condition is None or condition.open or not condition.is_class_test:
        return False
    if any(program.calls(name) for name in AUTOCAST):
        return False
    if any(not _layer(name) for name in condition.libraries):
        return False
    every = {d for site in condition.classes for d in (site, *analysis.descendants(site))}
    every |= {s for s in analysis.classes if analysis.library_bases(s) & condition.libraries}
    found = bool(every or condition.libraries)
    return found and all(_refuses(analysis, site, DEPTH) for site in every)


def model_gets_parameter_dtype(analysis: Analysis, program: ProgramFacts, model: Value) -> bool:
    """Whether a module that may be a unit inside another one is given its inputs in that dtype."""
    modules = [atom for atom in model if not isinstance(atom, Wrapped)]
    if not modules or any(program.calls(name) for name in AUTOCAST):
        return False
    return all(_one_refuses(analysis, atom, DEPTH) for atom in modules)


def _layer(name: str) -> bool:
    return name.startswith(NN) and short(name) in REFUSE


def _refuses(analysis: Analysis, cls: Site, depth: int) -> bool:
    """Whether a module takes one argument, and its first layer refuses other dtypes."""
    place = analysis.method(cls, "forward")
    info = analysis.functions.get(place) if place is not None else None
    node = info.node if info is not None else None
    if info is None or not isinstance(node, ast.FunctionDef) or node.decorator_list or not depth:
        return False
    given = node.args
    if given.vararg or given.kwarg or given.kwonlyargs or len(given.posonlyargs + given.args) != 2:
        return False
    name = (given.posonlyargs + given.args)[1].arg
    stored = [n.lineno for n in _named(node, name) if not isinstance(n.ctx, ast.Load)]
    for read in _named(node, name):
        call = info.module.parents.get(read)
        if not isinstance(call, ast.Call) or read not in call.args[:1]:
            continue
        if any(line < read.lineno for line in stored) or not _always(info.module, call):
            continue
        if _all_refuse(analysis, analysis.value(call.func), depth - 1):
            return True
    return False


def _named(node: ast.AST, name: str) -> list[ast.Name]:
    return [n for n in nodes_in(node) if isinstance(n, ast.Name) and n.id == name]


def _always(module: Module, node: ast.AST) -> bool:
    """Whether a call is made whatever the run of its function."""
    for around in module.ancestors(node):
        if isinstance(around, ast.FunctionDef):
            return True
        if not isinstance(around, PASSED):
            return False
    return False


def _all_refuse(analysis: Analysis, called: Value, depth: int) -> bool:
    return bool(called) and all(_one_refuses(analysis, atom, depth) for atom in called)


def _one_refuses(analysis: Analysis, atom: Atom, depth: int) -> bool:
    if isinstance(atom, Instance):
        return _refuses(analysis, atom.cls, depth)
    if not isinstance(atom, Result):
        return False
    if atom.symbol == f"{NN}Sequential" and depth:
        args, _ = analysis.calls.get(atom.site, ([], {}))
        return bool(args) and _all_refuse(analysis, args[0], depth - 1)
    if _layer(atom.symbol):
        return True
    args, kwargs = analysis.calls.get(atom.site, ([], {}))
    norm = atom.symbol.startswith(NN) and short(atom.symbol) in NORMS
    return norm and len(args) < 4 and WITHOUT_WEIGHT.isdisjoint(kwargs)
