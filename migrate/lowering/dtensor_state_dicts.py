"""Full state dicts by DTensor's own functions, the other workflow of PyTorch's FSDP2 tutorial.

https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html
https://docs.pytorch.org/docs/stable/distributed.tensor.html

`full_tensor()` gathers a parameter on every rank, `distribute_tensor` cuts one up again.  The
loops need a statement of their own: where the call is part of a larger expression, DCP's function
says the same in one.
"""

from __future__ import annotations

import ast

from fsdp_migrate.findings.code import (
    Name,
    Part,
    Variable,
    code,
    loop_variable,
    qualified,
    variable,
)
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.lowering.state_dict_calls import StateDictCall
from fsdp_migrate.syntax.paths import path_of

DTENSOR = Name("torch.distributed.tensor", "DTensor")
DISTRIBUTE = Name("torch.distributed.tensor", "distribute_tensor")
RANK = qualified("torch.distributed.get_rank")
NAME = loop_variable("name", "_name")
VALUE = loop_variable("value", "_value")


def by_dtensors(found: StateDictCall) -> tuple[Edit, ...] | None:
    """The edits of a call; None where they would need a statement of their own."""
    if found.binds_names:  # which nothing can that is evaluated twice, or gone through
        return None
    return _saved(found) if found.state is None else _loaded(found, found.state)


def _saved(found: StateDictCall) -> tuple[Edit, ...] | None:
    setting, span = found.setting, found.module.span(found.node)
    if setting.kind == "SHARDED" and not setting.offload:
        return ()
    if setting.kind == "FULL" and setting.rank0:
        return _saved_on_first_rank(found)
    value: Part = VALUE
    if setting.kind == "FULL":
        value = code(
            "{value}.full_tensor() if isinstance({value}, {dtensor}) else {value}",
            value=VALUE,
            dtensor=DTENSOR,
        )
    if setting.offload:
        value = code("{value}.cpu()", value=value)
    state = code(
        "{{{name}: {made} for {name}, {value} in {model}.state_dict().items()}}",
        name=NAME,
        value=VALUE,
        made=value,
        model=found.kept(found.model),
    )
    return (ReplaceExpression(span, state),)


def _saved_on_first_rank(found: StateDictCall) -> tuple[Edit, ...] | None:
    statement = found.module.parents[found.node]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    if path_of(target) is None:
        return None
    loop = code(
        """\
{target} = {{}}
for {name}, {value} in {model}.state_dict().items():
    if isinstance({value}, {dtensor}):
        {value} = {value}.full_tensor()  # all ranks take part
    if {rank}() == 0:
        {target}[{name}] = {value}.cpu()
""",
        target=found.kept(target),
        name=variable("name", "_name"),
        value=variable("value", "_value"),
        model=found.kept(found.model),
        dtensor=DTENSOR,
        rank=RANK,
    )
    return (ReplaceStatement(found.module.span(statement), loop),)


def _loaded(found: StateDictCall, state: ast.expr) -> tuple[Edit, ...] | None:
    if found.setting.kind == "SHARDED":
        return ()
    statement = found.module.parents[found.node]
    if not isinstance(statement, ast.Expr):
        return None
    sharded = variable("sharded_state_dict", "_sharded_state_dict")
    model = found.kept(found.model)
    shards = _cut_up(found.kept(state), sharded)
    if found.strict is None:
        load = code(
            """\
{sharded} = {model}.state_dict()
{model}.load_state_dict(
    {shards}
)
""",
            sharded=sharded,
            model=model,
            shards=shards,
        )
    else:
        load = code(
            """\
{sharded} = {model}.state_dict()
{model}.load_state_dict(
    {shards},
    strict={strict},
)
""",
            sharded=sharded,
            model=model,
            shards=shards,
            strict=found.kept(found.strict),
        )
    return (ReplaceStatement(found.module.span(statement), load),)


def _cut_up(state: Part, sharded: Variable) -> Part:
    """The full `state`, each tensor cut up as the one of the same name in `sharded`."""
    return code(
        """\
{{
        {name}: {distribute}(
            {value}, {sharded}[{name}].device_mesh, {sharded}[{name}].placements
        )
        if isinstance({sharded}.get({name}), {dtensor})
        else {value}
        for {name}, {value} in {state}.items()
    }}""",
        sharded=sharded,
        name=NAME,
        value=VALUE,
        distribute=DISTRIBUTE,
        dtensor=DTENSOR,
        state=state,
    )
