"""`get_state_dict` and `set_state_dict` in the place of one call for the model and one for the
optimizer.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import ast

from fsdp_migrate.findings.code import (
    NOTHING,
    Code,
    Kept,
    Keyword,
    Name,
    Part,
    block,
    call,
    code,
    variable,
)
from fsdp_migrate.findings.edits import Edit, InsertStatements, ReplaceExpression, ReplaceStatement
from fsdp_migrate.lowering.state_dict_calls import DSD, own_state
from fsdp_migrate.rule.queries.joint_states import JointLoad, JointSave
from fsdp_migrate.rule.queries.state_calls_by_dcp import STATE, on_cpu, options
from fsdp_migrate.rule.queries.straight_lines import emptied
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds, path_of, reads, touches

GET = Name(DSD, "get_state_dict")
SET = Name(DSD, "set_state_dict")
MODEL_STATE = variable("model_state", "model_state_dict")


def joined(joint: JointSave | JointLoad) -> tuple[Name, tuple[Edit, ...]]:
    """The function that takes the place of both, and the edits."""
    if isinstance(joint, JointSave):
        return GET, tuple(_saved(joint))
    return SET, tuple(_loaded(joint))


def _saved(joint: JointSave) -> list[Edit]:
    module, model, optim = joint.module, joint.model.node, joint.optim.call
    pair = (Kept(module.span(joint.model.model)), Kept(module.span(joint.optim.optim)))
    carried = joint.model.carried
    given = [Keyword("options", carried.part)] if carried is not None else options(joint.flags)
    made = call(GET, *pair, *given)
    first, last = sorted((model, optim), key=lambda node: (node.lineno, node.col_offset))
    one, two = module.statement(first), module.statement(last)
    if one is two and not joint.to_cpu:
        edit = _as_pair(module, one, model, optim, made)
        if edit is not None:
            return [edit]
    targets = _targets(module, first, last) if one is not two else None
    names = dict(zip((first, last), targets, strict=True)) if targets is not None else {}
    model_state, optim_state = names.get(model, MODEL_STATE), names.get(optim, STATE)
    taken = [code("{m}, {o} = {made}", m=model_state, o=optim_state, made=made)]
    taken += [on_cpu(optim_state)] if joint.to_cpu else []
    if targets is not None:
        return [
            ReplaceStatement(module.span(one), block(*taken)),
            *_without(module, [two]),
        ]
    return [
        InsertStatements(module.span(one), block(*taken)),
        ReplaceExpression(module.span(model), MODEL_STATE),
        ReplaceExpression(module.span(optim), STATE),
    ]


def _as_pair(
    module: Module, statement: ast.stmt, model: ast.Call, optim: ast.Call, made: Code
) -> Edit | None:
    """The edit where the two are all of a tuple, the model's first."""
    value = statement.value if isinstance(statement, ast.Assign | ast.Return) else None
    if not isinstance(value, ast.Tuple) or value.elts != [model, optim]:
        return None
    return ReplaceExpression(module.span(value), made)


def _targets(module: Module, first: ast.Call, last: ast.Call) -> tuple[Part, Part] | None:
    """What two assignments of nothing else bind, if the second target is known above."""
    found: list[ast.expr] = []
    for node in (first, last):
        statement = module.parents[node]
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return None
        target = statement.targets[0]
        base = target.value if isinstance(target, ast.Subscript) else target
        if path_of(base) is None:
            return None
        found.append(target)
    one, two = module.statement(first), module.statement(last)
    block = module.block(one)
    if two not in block:
        between: list[ast.stmt] = []
    else:
        between = block[block.index(one) + 1 : block.index(two)]
    used = reads(found[1])
    if any(touches(binds(statement), used) for statement in (one, *between)):
        if not isinstance(found[0], ast.Subscript) or between:
            return None
    return Kept(module.span(found[0])), Kept(module.span(found[1]))


def _loaded(joint: JointLoad) -> list[Edit]:
    module, found, load = joint.module, joint.model, joint.optim
    assert found.state is not None
    strict = [Keyword("strict", found.kept(found.strict))] if found.strict is not None else []
    given = options(joint.flags, *strict)
    if found.carried is not None:
        given = [Keyword("options", found.carried.loading)]
    made = call(
        SET,
        found.kept(found.model),
        Kept(module.span(load.optim)),
        Keyword("model_state_dict", own_state(found, found.state)),
        Keyword("optim_state_dict", Kept(module.span(load.state))),
        *given,
    )
    statements = [module.statement(found.node), module.statement(load.call)]
    statements += [load.assignment] if load.assignment is not None else []
    gone = [statement for statement in statements if statement is not joint.at]
    return [ReplaceStatement(module.span(joint.at), made), *_without(module, gone)]


def _without(module: Module, gone: list[ast.stmt]) -> list[Edit]:
    return [ReplaceStatement(module.span(each), NOTHING) for each in emptied(module, gone)]
