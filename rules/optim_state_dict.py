"""FSDP1's optimizer-state functions become `get_optimizer_state_dict` and its counterpart.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

Natively only where DCP's functions are known to do what FSDP1's did: the model's state is saved
before the optimizer's (an evaluation may have left the root unsharded), the optimizer has state,
and no checkpoint of flat parameters (whose `step` tensors are shared) can come in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Result
from fsdp_migrate.findings.finding import (
    Edit,
    Finding,
    Import,
    InsertStatements,
    ReplaceExpression,
    ReplaceStatement,
    Tier,
)
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding, runtime
from fsdp_migrate.rule.uses import split
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short
from fsdp_migrate.syntax.span import Span

DSD = "torch.distributed.checkpoint.state_dict"
NAMES = (
    "optim_state_dict",
    "optim_state_dict_to_load",
    "full_optim_state_dict",
    "sharded_optim_state_dict",
    "shard_full_optim_state_dict",
    "scatter_full_optim_state_dict",
    "flatten_sharded_optim_state_dict",
    "rekey_optim_state_dict",
)
SHARDED_LOADER = "torch.distributed.checkpoint.optimizer.load_sharded_optimizer_state_dict"
STATEFUL = frozenset(
    {"ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"}
)


@dataclass(frozen=True)
class Load:
    """`optim.load_state_dict(FSDP.optim_state_dict_to_load(model, optim, osd))`, in one or two."""

    model: ast.expr
    optim: ast.expr
    state: ast.expr
    call: ast.Call  # the outer call, `optim.load_state_dict(...)`
    assignment: ast.Assign | None  # `flat = FSDP.optim_state_dict_to_load(...)`, if apart


def lowerable(use: Use, facts: Facts) -> bool:
    """Whether the call does without a context around it."""
    name = short(use.name)
    if name == "optim_state_dict":
        return _native_get(use, facts) is not None
    if name == "optim_state_dict_to_load":
        return _load(use, facts) is not None
    return name in {"full_optim_state_dict", "scatter_full_optim_state_dict"} or True


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call."""
    name = short(use.name)
    if use.name == SHARDED_LOADER:
        yield _sharded_loader(use)
        return
    model = _model(use, facts)
    units = facts.units(facts.solver.wrapped(facts.value(model))) if model else frozenset()
    if use.call is not None and facts.modes.is_native(facts.solver.modes_at(use.call)):
        if name == "optim_state_dict":
            edit = _native_get(use, facts)
            if edit is not None:
                edits: list[Edit] = [edit]
                if not _model_saved_before(use, edit.holes[0], facts):
                    edits.append(_reshard(use, edit))
                yield finding(
                    RULE,
                    use,
                    "FSDP.optim_state_dict becomes get_optimizer_state_dict",
                    tier=Tier.NATIVE,
                    edits=edits,
                    imports=_imports("get_optimizer_state_dict", str(edit.code)),
                    units=units,
                )
                return
        if name == "optim_state_dict_to_load":
            load = _load(use, facts)
            if load is not None:
                yield _loaded(use, facts, load, units)
                return
    yield finding(
        RULE,
        use,
        f"FSDP.{name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), name)],
        imports=[runtime(name)],
        units=units,
    )


def _sharded_loader(use: Use) -> Finding:
    """The loader makes ShardedTensors, which FSDP2's optimizers can't use."""
    name = short(SHARDED_LOADER)
    dotted = isinstance(use.node, ast.Attribute)
    return finding(
        RULE,
        use,
        f"{name} goes through the shim",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), name)] if dotted else [],
        imports=[runtime(name)] if dotted else [],
    )


def _imports(name: str, template: str) -> list[Import]:
    options = [Import(DSD, "StateDictOptions")] if "StateDictOptions" in template else []
    return [Import(DSD, name), *options]


def _model(use: Use, facts: Facts) -> ast.expr | None:
    call = use.call
    if call is None:
        return None
    for node in [*call.args, *(k.value for k in call.keywords)]:
        if facts.solver.wrapped(facts.value(node)):
            return node
    return None


def _certain(node: ast.expr, facts: Facts) -> bool:
    wraps, others = split(facts.solver, facts.value(node))
    return bool(wraps) and not others


def _stateful(node: ast.expr, facts: Facts) -> bool:
    """Whether the optimizer certainly keeps state."""
    value = facts.value(node)
    for atom in value:
        if not isinstance(atom, Result) or not atom.symbol.startswith("torch.optim."):
            return False
        if short(atom.symbol) not in STATEFUL:
            return False
    return bool(value)


# ---------------------------------------------------------------------- saving
def _native_get(use: Use, facts: Facts) -> ReplaceExpression | None:
    call = use.call
    if call is None:
        return None
    given: dict[str, ast.expr] = dict(zip(("model", "optim"), call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords if k.arg}
    if set(given) != {"model", "optim"} or len(call.args) + len(call.keywords) != 2:
        return None
    setting = facts.modes.setting(facts.solver.modes_at(call))
    if setting is None or not _certain(given["model"], facts):
        return None
    if not _stateful(given["optim"], facts):
        return None
    flags = []
    if setting.kind == "FULL" and setting.optim_offload != setting.optim_rank0:
        return None
    plans = [facts.plan(w) for w in facts.solver.wrapped(facts.value(given["model"]))]
    if not _model_saved_before(use, use.module.span(given["model"]), facts) and any(
        plan is None or plan.keeps_unsharded is not False for plan in plans
    ):
        return None  # every unit may be unsharded, not only the root
    if setting.kind == "FULL":
        flags.append("full_state_dict=True")
    if setting.optim_offload and (setting.kind == "FULL" or setting.optim_given):
        flags.append("cpu_offload=True")
    options = f", options=StateDictOptions({', '.join(flags)})" if flags else ""
    holes = (use.module.span(given["model"]), use.module.span(given["optim"]))
    return ReplaceExpression(
        use.module.span(call), f"get_optimizer_state_dict({{0}}, {{1}}{options})", holes
    )


def _reshard(use: Use, edit: ReplaceExpression) -> InsertStatements:
    """Have the root sharded before its optimizer's state is taken."""
    statement = use.module.statement(use.node)
    template = "# an evaluation leaves the root unsharded\n{0}.reshard()"
    return InsertStatements(use.module.span(statement), template, (edit.holes[0],))


def _model_saved_before(use: Use, model: Span, facts: Facts) -> bool:
    """Whether the function takes the model's state first, which shards the root again."""
    assert use.call is not None
    nodes = [*use.call.args, *(k.value for k in use.call.keywords)]
    text = next(use.module.text(n) for n in nodes if use.module.span(n) == model)
    return any(
        other.module is use.module
        and other.name == "state_dict"
        and other.receiver is not None
        and use.module.text(other.receiver) == text
        and use.module.function(other.node) is use.module.function(use.node)
        and (other.node.lineno, other.node.col_offset) < (use.node.lineno, use.node.col_offset)
        for other in facts.uses
    )


# ---------------------------------------------------------------------- loading
def _load(use: Use, facts: Facts) -> Load | None:
    call = use.call
    if call is None:
        return None
    arguments = _load_arguments(call, facts)
    if arguments is None:
        return None
    model, optim, state = arguments
    if not _certain(model, facts):
        return None
    module = use.module
    parent = module.parents[call]
    if isinstance(parent, ast.Call) and parent.args == [call] and _loads(parent, optim):
        return Load(model, optim, state, parent, None)
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        name = parent.targets[0].id
        scope = module.function(call) or module.tree
        reads = [
            n
            for n in ast.walk(scope)
            if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
        ]
        writes = [
            n
            for n in ast.walk(scope)
            if isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load)
        ]
        if len(reads) != 1 or len(writes) != 1:
            return None
        outer = module.parents[reads[0]]
        apart = isinstance(outer, ast.Call) and outer.args == [reads[0]] and _loads(outer, optim)
        if apart and isinstance(module.parents[outer], ast.Expr):
            assert isinstance(outer, ast.Call)
            return Load(model, optim, state, outer, parent)
    return None


def _loads(call: ast.Call, optim: ast.expr) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "load_state_dict"
        and ast.dump(call.func.value) == ast.dump(optim)
        and not call.keywords
    )


def _load_arguments(call: ast.Call, facts: Facts) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Model, optimizer and state, in whichever of FSDP1's orders they come."""
    names = ("model", "optim", "optim_state_dict")
    given: dict[str, ast.expr] = {k.arg: k.value for k in call.keywords if k.arg}
    if len(call.args) == 3 and facts.solver.wrapped(facts.value(call.args[1])):
        state, model, optim = call.args
        given |= {"model": model, "optim": optim, "optim_state_dict": state}
    else:
        given |= dict(zip(names, call.args, strict=False))
    if set(given) != set(names) or any(k.arg is None for k in call.keywords):
        return None
    return given["model"], given["optim"], given["optim_state_dict"]


def _schedules(facts: Facts) -> bool:
    """Whether learning-rate schedulers are in play."""
    modules = facts.solver.project.modules.values()
    return any("cheduler" in module.source.text for module in modules)


def _loaded(use: Use, facts: Facts, load: Load, units: frozenset[str]) -> Finding:
    module = use.module
    assert use.call is not None
    setting = facts.modes.setting(facts.solver.modes_at(use.call))
    plans = [facts.plan(w) for w in facts.solver.wrapped(facts.value(load.model))]
    flat = any(plan is None or plan.flat_parameters for plan in plans)
    # Only a full state that flat parameters have left behind shares its `step` tensors.
    # And one that a scheduler has written to has entries that a fresh optimizer lacks.
    plain = not flat and not _schedules(facts)
    safe = setting is not None and (setting.kind == "SHARDED" or plain)
    native = safe and _stateful(load.optim, facts)
    options = ""
    if native and setting is not None and setting.kind == "FULL":
        flags = "full_state_dict=True"
        if setting.optim_rank0:
            flags += ", broadcast_from_rank0=True"
        options = f", options=StateDictOptions({flags})"
    name = "set_optimizer_state_dict" if native else "load_optim_state_dict"
    template = f"{name}({{0}}, {{1}}, {{2}}{options})"
    holes = (module.span(load.model), module.span(load.optim), module.span(load.state))
    edits: list[Edit]
    if load.assignment is not None:
        edits = [
            ReplaceStatement(module.span(load.assignment), template, holes),
            ReplaceStatement(module.span(module.statement(load.call)), ""),
        ]
    else:
        edits = [ReplaceExpression(module.span(load.call), template, holes)]
    return finding(
        RULE,
        use,
        f"loading the optimizer's state becomes one call of {name}",
        tier=Tier.NATIVE if native else Tier.SHIM,
        edits=edits,
        imports=_imports(name, template) if native else [runtime(name)],
        units=units,
    )


RULE = Rule(
    code="FSDP303",
    name="optimizer-state-dict",
    summary="`optim_state_dict` and its relatives become `get_`/`set_optimizer_state_dict`",
    why="FSDP1's functions know flat parameters only.",
    fix_safety="Safe: the same content under the same names; training goes on identically.",
    check=check,
    lowerable=lowerable,
    symbols=(*(f"{FSDP1}.{name}" for name in NAMES), SHARDED_LOADER),
    methods=NAMES,
    surfaces=(
        Surface(
            "FullyShardedDataParallel.optim_state_dict",
            "`get_optimizer_state_dict`",
            (Tier.NATIVE, Tier.SHIM),
        ),
        Surface(
            "FullyShardedDataParallel.optim_state_dict_to_load",
            "`set_optimizer_state_dict`",
            (Tier.NATIVE, Tier.SHIM),
        ),
        Surface("FullyShardedDataParallel.full_optim_state_dict", "the shim's", (Tier.SHIM,)),
        Surface("FullyShardedDataParallel.sharded_optim_state_dict", "the shim's", (Tier.SHIM,)),
        Surface("FullyShardedDataParallel.shard_full_optim_state_dict", "the shim's", (Tier.SHIM,)),
        Surface(
            "FullyShardedDataParallel.scatter_full_optim_state_dict", "the shim's", (Tier.SHIM,)
        ),
        Surface(
            "FullyShardedDataParallel.flatten_sharded_optim_state_dict", "the shim's", (Tier.SHIM,)
        ),
        Surface("FullyShardedDataParallel.rekey_optim_state_dict", "the shim's", (Tier.SHIM,)),
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType

def load(net, state):
    model = FSDP(net, use_orig_params=True)
    optimizer = torch.optim.AdamW(model.parameters())
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        flat = FSDP.optim_state_dict_to_load(model, optimizer, state)
    optimizer.load_state_dict(flat)
""",
            after="""\
import torch
from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict
from torch.distributed.fsdp import fully_shard

def load(net, state):
    model = fully_shard(net)
    optimizer = torch.optim.AdamW(model.parameters())
    set_optimizer_state_dict(model, optimizer, state)
""",
        ),
    ),
)
