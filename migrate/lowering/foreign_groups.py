"""Groups of parameters that others make of a model: `timm.optim.param_groups_weight_decay(net)`.

What a library's function gives, or a method of a model that nobody knows, may be anything.  If an
optimizer is made of it, it is the model's parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.library.modules import PARAMETERS, RETURN_SELF, SUBMODULES
from fsdp_migrate.analysis.values import Bound, Cls, Func, Symbol
from fsdp_migrate.lowering.kept_parameters import Kept
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from fsdp_migrate.lowering.steps import Step
from fsdp_migrate.syntax.nodes import own_nodes
from fsdp_migrate.syntax.paths import binds, overlap, path_of, reads

KNOWN = ("builtins.", "torch.")
OF_MODULES = frozenset({*PARAMETERS, *RETURN_SELF, *SUBMODULES, "named_buffers", "buffers"})
ROUNDS = 3  # variables made of others, on the way to the optimizer


def groups_of_others(analysis: Analysis, holders: ParameterHolders, step: Step) -> Iterator[Kept]:
    """What is made of the model beside a step to its wrap, by others, and becomes an optimizer."""
    nodes = list(own_nodes(step.scope))
    assigned = [n for n in nodes if isinstance(n, ast.Assign)]
    wanted = {
        path
        for call in nodes
        if isinstance(call, ast.Call) and holders.names_optimizer(call)
        for given in (*call.args, *(keyword.value for keyword in call.keywords))
        for path in reads(given)
    }
    for _ in range(ROUNDS if wanted else 0):
        wanted |= {path for n in assigned if binds(n) & wanted for path in reads(n.value)}
    taken: dict[str, frozenset[str]] = {}  # the variables, and whose parameters are in them
    for statement in sorted(assigned, key=lambda n: n.lineno):
        names, value = binds(statement) & wanted, statement.value
        if not names or holders.kept.flow.held(step.module, value) is not None:
            continue
        given = frozenset[str]().union(*(taken.get(path, frozenset()) for path in reads(value)))
        if isinstance(value, ast.Call) and _is_others(analysis, value):
            given |= _models(value, step.paths)
        if given:
            taken |= dict.fromkeys(names, given)
            yield Kept(step.module, statement, names, given)


def _is_others(analysis: Analysis, call: ast.Call) -> bool:
    """Whether it isn't known what `call` gives: neither the program nor PyTorch makes it."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in OF_MODULES:
        return False
    called = analysis.value(call.func)
    return not any(
        isinstance(atom, Bound | Cls | Func)
        or (isinstance(atom, Symbol) and atom.name.startswith(KNOWN))
        for atom in called
    )


def _models(call: ast.Call, paths: frozenset[str]) -> frozenset[str]:
    """The models at `paths` that `call` is given, or asks for something."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if isinstance(call.func, ast.Attribute):
        given.append(call.func.value)
    named = {path for node in given if (path := path_of(node)) is not None}
    return frozenset(path for path in named if any(overlap(path, other) for other in paths))
