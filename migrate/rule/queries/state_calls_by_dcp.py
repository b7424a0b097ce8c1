"""The calls of DCP that save and load the state of optimizers, as edits.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from fsdp_migrate.findings.code import (
    NOTHING,
    Code,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    block,
    call,
    code,
    qualified,
    variable,
)
from fsdp_migrate.findings.edits import Edit, InsertStatements, ReplaceExpression, ReplaceStatement
from fsdp_migrate.lowering.carried_options import OPTIONS
from fsdp_migrate.lowering.state_dict_calls import DSD
from fsdp_migrate.rule.queries.optimizer_loads import Load
from fsdp_migrate.rule.queries.optimizer_saves import Save
from fsdp_migrate.rule.queries.straight_lines import is_plain
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

GET = Name(DSD, "get_optimizer_state_dict")
SET = Name(DSD, "set_optimizer_state_dict")
STATE = variable("optim_state", "optim_state_dict", "optimizer_state")


def options(flags: Iterable[str], *more: Keyword) -> list[Keyword]:
    """The argument `options=` in which `flags` are True, and `more`, where there are any."""
    given = [*(Keyword(flag, Literal(True)) for flag in flags), *more]
    return [Keyword("options", call(OPTIONS, *given))] if given else []


def saved(module: Module, save: Save) -> list[Edit] | None:
    """The edits of a call that takes the state; None where it can't be taken further up."""
    model, optim = Kept(module.span(save.model)), Kept(module.span(save.optim))
    statement = module.statement(save.call)
    span, at = module.span(save.call), module.span(statement)
    carried = [Keyword("options", save.carried.part)] if save.carried is not None else []
    taken = call(GET, model, optim, *(carried or options(save.flags)))
    above = [_resharded(save.resharding, model)] if save.resharding else []
    below: list[Edit] = []
    new: Part = taken
    if save.to_cpu:
        target = assigned(module, save.call)
        if target is not None:
            below = [InsertStatements(at, on_cpu(target), after=True)]
        elif is_plain(module, save.call):
            above += [code("{state} = {taken}", state=STATE, taken=taken), on_cpu(STATE)]
            new = STATE
        else:
            return None
    first: list[Edit] = [InsertStatements(at, block(*above))] if above else []
    return [*first, ReplaceExpression(span, new), *below]


def assigned(module: Module, node: ast.expr) -> Part | None:
    """What `node` is assigned to, if it is all that an assignment to one path is about."""
    statement = module.parents[node]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    return Kept(module.span(target)) if path_of(target) is not None else None


def _resharded(which: str, model: Part) -> Code:
    if which == "root":
        return code("# an evaluation leaves the root unsharded\n{model}.reshard()", model=model)
    return code(
        """\
# an evaluation leaves modules unsharded
for {unit} in {model}.modules():
    if isinstance({unit}, {fsdp_module}):
        {unit}.reshard()""",
        unit=variable("module", "submodule", "unit"),
        model=model,
        fsdp_module=Name(ROOT, "FSDPModule"),
    )


def on_cpu(state: Part) -> Code:
    """Statements that take the tensors of a state to the CPU, on every rank."""
    return code(
        """\
for {values} in {state}["state"].values():
    for {key}, {value} in {values}.items():
        if {is_tensor}({value}):
            {values}[{key}] = {value}.cpu()""",
        values=variable("param_state", "_param_state"),
        state=state,
        key=variable("key", "_key"),
        value=variable("value", "_value"),
        is_tensor=qualified("torch.is_tensor"),
    )


def loaded(module: Module, load: Load, function: Name, given: Sequence[Keyword]) -> list[Edit]:
    """The edits of what loads a state: one call of `function`, `given` more."""
    kept = [Kept(module.span(node)) for node in (load.model, load.optim, load.state)]
    new = call(function, *kept, *given)
    if load.assignment is None:
        return [ReplaceExpression(module.span(load.call), new)]
    return [
        ReplaceStatement(module.span(load.assignment), new),
        ReplaceStatement(module.span(module.statement(load.call)), NOTHING),
    ]
