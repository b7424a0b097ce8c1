"""`LOCAL_STATE_DICT` around an optimizer's own `state_dict()`, which does not look at the mode."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Result, Symbol, Value
from fsdp_migrate.syntax.nodes import nodes_in

_LIBRARIES = ("builtins.", "collections.", "json.", "logging.", "os.", "pathlib.", "torch.")
_OPTIMIZERS = ("torch.optim.", "torch.distributed.optim.")
# Functions of torch that take a model, and ask it for its state.
_OF_MODELS = ("torch.distributed.checkpoint.", "torch.distributed.fsdp.")


def asks_no_model(analysis: Analysis, statement: ast.With) -> bool:
    """Whether nothing that runs in the body can ask a model for its state.

    Calls of the program's own functions are followed elsewhere; here they must not be given a
    model.  What isn't known may ask one.
    """
    calls = [n for s in statement.body for n in nodes_in(s) if isinstance(n, ast.Call)]
    return all(_is_harmless(analysis, call) for call in calls)


def _is_harmless(analysis: Analysis, call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(analysis.wrapped(analysis.value(node)) for node in given):
        return False
    func = call.func
    if isinstance(func, ast.Attribute) and _is_known(analysis.value(func.value)):
        return True
    names = {a.name for a in analysis.value(func) if isinstance(a, Symbol)}
    return (
        bool(names)
        and len(names) == len(analysis.value(func))
        and all(n.startswith(_LIBRARIES) and not n.startswith(_OF_MODELS) for n in names)
    )


def _is_known(receiver: Value) -> bool:
    """Whether the receiver of a method is an optimizer, and nothing else."""
    return bool(receiver) and all(
        isinstance(atom, Result) and atom.symbol.startswith(_OPTIMIZERS) for atom in receiver
    )
