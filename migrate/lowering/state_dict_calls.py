"""`model.state_dict()` and `model.load_state_dict(state)` by DCP's state-dict functions.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.findings.code import (
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    call,
    code,
    loop_variable,
)
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.lowering.carried_options import OPTIONS, Carried
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds_names

DSD = "torch.distributed.checkpoint.state_dict"
GET = Name(DSD, "get_model_state_dict")
SET = Name(DSD, "set_model_state_dict")
FULL = Keyword("full_state_dict", Literal(True))
ON_CPU = Keyword("cpu_offload", Literal(True))


@dataclass(frozen=True)
class StateDictCall:
    """A call that takes the state of a model (`state` is None), or loads one."""

    module: Module
    node: ast.Call
    model: ast.expr
    setting: Setting  # what its mode says
    state: ast.expr | None = None
    strict: ast.expr | None = None
    only_reader: bool = True  # nothing else looks at `state` afterwards
    carried: Carried | None = None  # what says the options, where only the run knows them

    @property
    def binds_names(self) -> bool:
        """Whether evaluating the model or the state binds variables on the way."""
        return binds_names(self.model) or (self.state is not None and binds_names(self.state))

    @property
    def is_copied(self) -> bool:
        """Whether a full state dict is wanted on the CPU of every rank, which DCP has not."""
        wanted = self.setting
        return wanted.kind == "FULL" and wanted.offload and not wanted.rank0

    def kept(self, node: ast.expr) -> Kept:
        """A part of the call, as it is written."""
        return Kept(self.module.span(node))


def by_dcp(found: StateDictCall) -> tuple[Name, ReplaceExpression]:
    """The function that takes the place of the method, and the edit."""
    return (GET, _get(found)) if found.state is None else (SET, _set(found, found.state))


def saving_flags(setting: Setting) -> tuple[str, ...]:
    """The options that are True where a state is taken."""
    is_full = setting.kind == "FULL"
    flags = (FULL.name,) if is_full else ()
    return (*flags, ON_CPU.name) if setting.offload and (setting.rank0 or not is_full) else flags


def _get(found: StateDictCall) -> ReplaceExpression:
    model = found.kept(found.model)
    if found.carried is not None:
        options = call(GET, model, options=found.carried.part)
        return ReplaceExpression(found.module.span(found.node), options)
    flags = [Keyword(flag, Literal(True)) for flag in saving_flags(found.setting)]
    state = call(GET, model, options=call(OPTIONS, *flags)) if flags else call(GET, model)
    if found.is_copied:  # DCP gives it to the first rank only
        state = code(
            "{{{key}: {value}.cpu() for {key}, {value} in {state}.items()}}",
            key=loop_variable("key"),
            value=loop_variable("value"),
            state=state,
        )
    return ReplaceExpression(found.module.span(found.node), state)


def own_state(found: StateDictCall, state: ast.expr) -> Part:
    """The state to load, copied where something else reads it.

    DCP's function puts DTensors into the dict that it is given, in the place of full tensors.
    """
    given = found.kept(state)
    is_full = found.setting.kind == "FULL"
    return given if not is_full or found.only_reader else code("dict({state})", state=given)


def _set(found: StateDictCall, state: ast.expr) -> ReplaceExpression:
    is_full = found.setting.kind == "FULL"
    flags = [FULL] if is_full else []
    if found.strict is not None:
        flags.append(Keyword("strict", found.kept(found.strict)))
    own = own_state(found, state)
    if found.carried is not None:
        new = call(SET, found.kept(found.model), own, options=found.carried.part)
        return ReplaceExpression(found.module.span(found.node), new)
    options = [Keyword("options", call(OPTIONS, *flags))] if flags else []
    new = call(SET, found.kept(found.model), own, *options)
    return ReplaceExpression(found.module.span(found.node), new)
