"""State dicts of the module inside of a wrapper, which only some ranks may take."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Part, Variable, both, code, variable
from fsdp_migrate.findings.edits import Edit, InsertStatements, ReplaceExpression
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.bare_modules import may_be_bare
from fsdp_migrate.rule.queries.guards import Guard, can_be_taken_above, guard_of
from fsdp_migrate.rule.queries.parameters import called
from fsdp_migrate.rule.queries.state_dict_modes import setting_at
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.paths import path_of

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
STATE_DICT_TYPE = f"{FSDP1}.state_dict_type"


def guard_of_bare(use: Use, facts: Facts) -> Guard | None:
    """What may keep some ranks from a state dict that didn't communicate, and will."""
    if use.call is None or not takes_no_other_rank(use, facts):
        return None
    setting = setting_at(facts, use.call)
    if setting is not None and setting.kind != "FULL":
        return None
    return guard_of(facts, use.module, use.call)


def takes_no_other_rank(use: Use, facts: Facts) -> bool:
    """Whether a state dict may be of the module inside, which didn't communicate."""
    if use.name != "state_dict" or use.receiver is None:
        return False
    if use.is_part:
        return True
    if use.call is not None and _is_proven(use, facts):
        return False
    return may_be_bare(facts, use.module, use.receiver)


def _is_proven(use: Use, facts: Facts) -> bool:
    """Whether the context around the call is that of the same model, which is FSDP1's then."""
    assert use.receiver is not None
    path = path_of(use.receiver)
    for around in use.module.ancestors(use.node):
        if isinstance(around, FUNCTIONS):
            break
        for item in around.items if isinstance(around, ast.With | ast.AsyncWith) else ():
            made = item.context_expr
            if isinstance(made, ast.Call) and STATE_DICT_TYPE in called(facts, made):
                named = [k.value for k in made.keywords if k.arg == "module"]
                if path is not None and path in map(path_of, [*made.args[:1], *named]):
                    return True
    return False


def above_guard(
    guard: Guard, use: Use, facts: Facts, edits: Iterable[Edit]
) -> tuple[Edit, ...] | None:
    """The edits that take the state dict above the guard; None where that can't be done."""
    assert use.call is not None
    assert use.receiver is not None
    path = _path(use.receiver)
    made = next(iter(edits), None)
    span = use.module.span(use.call)
    if not isinstance(made, ReplaceExpression) or made.span != span or path is None:
        return None
    if guard.above is None or not can_be_taken_above(facts, guard, use.call, use.receiver):
        return None
    state = _variable(path)
    taken: Part = code("{state} = {made}", state=state, made=made.code)
    if guard.first:
        tests = [Kept(use.module.span(test)) for test in guard.first]
        test = both(*tests) if len(tests) > 1 else tests[0]
        taken = code("if {test}:\n    {taken}", test=test, taken=taken)
    return (
        InsertStatements(use.module.span(guard.above), taken),
        ReplaceExpression(span, state),
    )


def _path(receiver: ast.expr) -> str | None:
    """The name of the model, be it given to what takes its wrappers off."""
    if isinstance(receiver, ast.Call) and len(receiver.args) == 1 and not receiver.keywords:
        return _path(receiver.args[0]) if path_of(receiver.func) is not None else None
    return path_of(receiver)


def _variable(path: str) -> Variable:
    """What the state of the model at `path` is called."""
    last = path.removesuffix(".module").rpartition(".")[2]
    return variable(f"{last}_state", f"{last}_state_dict")
