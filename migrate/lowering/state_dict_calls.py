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
from fsdp_migrate.findings.edits import ReplaceExpression, ReplaceStatement
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
    # Where a condition chooses: the call for each way, None where it stays as it is.
    ways: tuple[tuple[Part | None, StateDictCall | None], ...] = ()

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


def by_dcp(found: StateDictCall) -> tuple[Name, ReplaceExpression | ReplaceStatement]:
    """The function that takes the place of the method, and the edit."""
    name = GET if found.state is None else SET
    return name, _by_ways(found) if found.ways else _as_call(found)


def _as_call(found: StateDictCall) -> ReplaceExpression:
    return _get(found) if found.state is None else _set(found, found.state)


def _by_ways(found: StateDictCall) -> ReplaceExpression | ReplaceStatement:
    """The calls that a condition chooses from, or the options of the one call."""
    module, node = found.module, found.node
    if (one := _with_chosen_options(found)) is not None:
        return one
    made = [(test, _way(found, way)) for test, way in found.ways]
    statement = module.parents[node]
    if isinstance(statement, ast.Expr):
        (_, new), *before = reversed(made)
        new = code("{call}", call=new)
        for test, each in before:
            assert test is not None
            new = code(
                "if {test}:\n    {call}\nelse:\n    {others}", test=test, call=each, others=new
            )
        return ReplaceStatement(module.span(statement), new)
    (_, part), *before = reversed(made)
    for test, each in before:
        assert test is not None
        part = code("{one} if {test} else {others}", one=each, test=test, others=part)
    return ReplaceExpression(module.span(node), part)


def _with_chosen_options(found: StateDictCall) -> ReplaceExpression | None:
    """One call whose options are what a single condition says, where that is all it chooses."""
    calls = [way for _, way in found.ways if way is not None and not way.is_copied]
    test = found.ways[0][0]
    if len(calls) != 2 or len(found.ways) != 2 or test is None:
        return None
    holds, otherwise = (_flags(each) for each in calls)
    flags = []
    for name in (FULL.name, ON_CPU.name):
        if name in holds or name in otherwise:
            part: Part = Literal(True) if name in holds and name in otherwise else test
            flags.append(Keyword(name, part if name in holds else code("not {test}", test=test)))
    if found.strict is not None:
        flags.append(Keyword("strict", found.kept(found.strict)))
    given: list[Part] = [found.kept(found.model)]
    if found.state is not None:
        given.append(own_state(calls[0], found.state))
    new = call(GET if found.state is None else SET, *given, options=call(OPTIONS, *flags))
    return ReplaceExpression(found.module.span(found.node), new)


def _flags(found: StateDictCall) -> tuple[str, ...]:
    """The options that are True."""
    if found.state is None:
        return saving_flags(found.setting)
    return (FULL.name,) if found.setting.kind == "FULL" else ()


def _way(found: StateDictCall, way: StateDictCall | None) -> Part:
    return found.kept(found.node) if way is None else _as_call(way).code


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


def says_alike(one: StateDictCall, other: StateDictCall) -> bool:
    """Whether two calls come out the same."""
    if one.state is not None:
        return one.setting.kind == other.setting.kind
    flags = saving_flags(one.setting), saving_flags(other.setting)
    return flags[0] == flags[1] and one.is_copied == other.is_copied


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
