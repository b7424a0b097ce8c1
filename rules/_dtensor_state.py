"""Full state dicts by DTensor's own functions, the other workflow of PyTorch's FSDP2 tutorial.

https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html
https://docs.pytorch.org/docs/stable/distributed.tensor.html

`full_tensor()` gathers a parameter on every rank, `distribute_tensor` cuts one up again.  The
loops need a statement of their own: where the call is part of a larger expression, DCP's function
says the same in one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.findings.finding import (
    Edit,
    Import,
    ReplaceExpression,
    ReplaceStatement,
)
from fsdp_migrate.findings.spelling import torch_path
from fsdp_migrate.lowering.state_dict_modes import Setting
from fsdp_migrate.rule.rule import Use
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

TENSOR = "torch.distributed.tensor"
DTENSOR = Import(TENSOR, "DTensor")


@dataclass(frozen=True)
class Written:
    """Edits, and the names that they need."""

    edits: tuple[Edit, ...]
    imports: tuple[Import, ...] = ()


def saved(use: Use, call: ast.Call, setting: Setting) -> Written | None:
    """`model.state_dict()` as `setting` meant it; None where that takes a statement of its own."""
    assert use.receiver is not None
    module = use.module
    holes = (module.span(use.receiver),)
    name, value = _fresh(module, "name"), _fresh(module, "value")
    items = f"{name}, {value} in {{0}}.state_dict().items()"
    if setting.kind == "SHARDED" and not setting.offload:
        return Written(())
    if setting.kind == "SHARDED":
        text = f"{{{name}: {value}.cpu() for {items}}}"
        return Written((ReplaceExpression(module.span(call), text, holes),))
    if not setting.rank0:
        full = f"{value}.full_tensor() if isinstance({value}, DTensor) else {value}"
        full = f"({full}).cpu()" if setting.offload else full
        text = f"{{{name}: {full} for {items}}}"
        if len(module.lines[call.lineno - 1]) + len(text) - len(module.text(call)) > 88:
            text = f"{{\n    {name}: {full}\n    for {items}\n}}"
        return Written((ReplaceExpression(module.span(call), text, holes),), (DTENSOR,))
    statement = module.parents[call]
    if not isinstance(statement, ast.Assign) or path_of(statement.targets[0]) is None:
        return None
    if len(statement.targets) != 1:
        return None
    target = module.text(statement.targets[0])
    dist, need = torch_path(module, "torch.distributed")
    lines = [
        f"{target} = {{}}",
        f"for {items}:",
        f"    if isinstance({value}, DTensor):",
        f"        {value} = {value}.full_tensor()  # all ranks take part",
        f"    if {dist}.get_rank() == 0:",
        f"        {target}[{name}] = {value}.cpu()",
    ]
    edit = ReplaceStatement(module.span(statement), "\n".join(lines), holes)
    return Written((edit,), (DTENSOR, *([need] if need is not None else [])))


def loaded(use: Use, call: ast.Call, setting: Setting) -> Written | None:
    """`model.load_state_dict(state)`; None where that takes a statement of its own."""
    assert use.receiver is not None
    module = use.module
    if setting.kind == "SHARDED":
        return Written(())
    statement = module.parents[call]
    if not isinstance(statement, ast.Expr):
        return None
    given = {k.arg: k.value for k in call.keywords}
    state = call.args[0] if call.args else given["state_dict"]
    strict = given.get("strict")
    holes = [module.span(use.receiver), module.span(state)]
    if strict is not None:
        holes.append(module.span(strict))
    sharded = _fresh(module, "sharded_state_dict")
    name, value = _fresh(module, "name"), _fresh(module, "value")
    more = ", strict={2}" if strict is not None else ""
    lines = [
        f"{sharded} = {{0}}.state_dict()",
        "{0}.load_state_dict(",
        "    {",
        f"        {name}: distribute_tensor(",
        f"            {value}, {sharded}[{name}].device_mesh, {sharded}[{name}].placements",
        "        )",
        f"        if isinstance({sharded}.get({name}), DTensor)",
        f"        else {value}",
        f"        for {name}, {value} in {{1}}.items()",
        f"    }}{',' if more else ''}",
        *([f"    {more[2:]},"] if more else []),
        ")",
    ]
    edit = ReplaceStatement(module.span(statement), "\n".join(lines), tuple(holes))
    return Written((edit,), (DTENSOR, Import(TENSOR, "distribute_tensor")))


def _fresh(module: Module, name: str) -> str:
    """A variable that the file doesn't use for anything else."""
    while name in module.bound_names:
        name = f"_{name}"
    return name
