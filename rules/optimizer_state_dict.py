"""FSDP1's optimizer-state functions become `get_optimizer_state_dict` and its counterpart.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

Natively only where DCP's functions are known to do what FSDP1's did: the model's state is saved
before the optimizer's (an evaluation may have left the root unsharded), the optimizer has state,
and no checkpoint of flat parameters (whose `step` tensors are shared) can come in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import NOTHING, Code, Kept, Keyword, Literal, Name, call, code
from fsdp_migrate.findings.edits import Edit, InsertStatements, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.optimizer_state import (
    Load,
    Save,
    find_load,
    find_save,
    is_on_every_cpu,
    loads_natively,
    model_of,
)
from fsdp_migrate.rule.queries.state_dict_modes import mode_goes, setting_at
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

DSD = "torch.distributed.checkpoint.state_dict"
GET = Name(DSD, "get_optimizer_state_dict")
SET = Name(DSD, "set_optimizer_state_dict")
OPTIONS = Name(DSD, "StateDictOptions")
SHIM_LOAD = Name(RUNTIME, "load_optim_state_dict")
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


def lowerable(use: Use, facts: Facts) -> bool:
    """Whether the call does without a mode around it."""
    name = short(use.name)
    if name == "optim_state_dict":
        return find_save(use, facts) is not None
    return name != "optim_state_dict_to_load" or find_load(use, facts) is not None


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call."""
    name = short(use.name)
    if use.name == SHARDED_LOADER:
        yield _sharded_loader(use)
        return
    model = model_of(use, facts)
    units = facts.models(facts.analysis.wrapped(facts.value(model)))
    if use.call is not None and mode_goes(facts, use.call):
        save = find_save(use, facts) if name == "optim_state_dict" else None
        load = find_load(use, facts) if name == "optim_state_dict_to_load" else None
        if save is not None:
            yield _saved(use, save, units)
            return
        if load is not None:
            yield _loaded(use, facts, load, units)
            return
    yield finding(
        RULE,
        use,
        f"FSDP.{name} goes through the shim{_reason(use, facts)}",
        tier=Tier.SHIM,
        edits=[ReplaceExpression(use.module.span(use.node), Name(RUNTIME, name))],
        models=units,
    )


def _reason(use: Use, facts: Facts) -> str:
    """Why plain PyTorch is not enough, where that is simple to say."""
    setting = setting_at(facts, use.call) if use.call is not None else None
    if short(use.name) != "optim_state_dict" or setting is None or not is_on_every_cpu(setting):
        return ""
    return (
        ": its full state is on the CPU of every rank, as FSDP1 has it by default; PyTorch's own "
        "function has it on the CPU of the first rank alone, which FullOptimStateDictConfig("
        "rank0_only=True) asks for"
    )


def _sharded_loader(use: Use) -> Finding:
    """The loader makes ShardedTensors, which FSDP2's optimizers can't use."""
    name = short(SHARDED_LOADER)
    edits = []
    if isinstance(use.node, ast.Attribute):  # of a bare name, only the import changes
        edits = [ReplaceExpression(use.module.span(use.node), Name(RUNTIME, name))]
    return finding(RULE, use, f"{name} goes through the shim", tier=Tier.SHIM, edits=edits)


def _saved(use: Use, save: Save, units: frozenset[str]) -> Finding:
    module, setting = use.module, save.setting
    assert use.call is not None
    is_full = setting.kind == "FULL"
    flags = ["full_state_dict"] if is_full else []
    if setting.optim_offload and (is_full or setting.optim_given):
        flags.append("cpu_offload")
    model, optim = Kept(module.span(save.model)), Kept(module.span(save.optim))
    edits: list[Edit] = [
        ReplaceExpression(module.span(use.call), call(GET, model, optim, *_options(flags)))
    ]
    if not save.model_saved_before:
        reshard = code("# an evaluation leaves the root unsharded\n{model}.reshard()", model=model)
        edits.append(InsertStatements(module.span(module.statement(use.node)), reshard))
    return finding(
        RULE,
        use,
        "FSDP.optim_state_dict becomes get_optimizer_state_dict",
        tier=Tier.NATIVE,
        edits=edits,
        models=units,
    )


def _options(flags: list[str]) -> list[Keyword]:
    given = (Keyword(flag, Literal(True)) for flag in flags)
    return [Keyword("options", call(OPTIONS, *given))] if flags else []


def _loaded(use: Use, facts: Facts, load: Load, units: frozenset[str]) -> Finding:
    module = use.module
    native = loads_natively(use, facts, load)
    setting = setting_at(facts, use.call) if use.call is not None and native else None
    flags = []
    if setting is not None and setting.kind == "FULL":
        flags = ["full_state_dict", *(["broadcast_from_rank0"] if setting.optim_rank0 else [])]
    function = SET if native else SHIM_LOAD
    kept = [Kept(module.span(node)) for node in (load.model, load.optim, load.state)]
    return finding(
        RULE,
        use,
        f"loading the optimizer's state becomes one call of {function.name}",
        tier=Tier.NATIVE if native else Tier.SHIM,
        edits=_in_place_of(use, load, call(function, *kept, *_options(flags))),
        models=units,
    )


def _in_place_of(use: Use, load: Load, new: Code) -> list[Edit]:
    module = use.module
    if load.assignment is None:
        return [ReplaceExpression(module.span(load.call), new)]
    return [
        ReplaceStatement(module.span(load.assignment), new),
        ReplaceStatement(module.span(module.statement(load.call)), NOTHING),
    ]


RULE = Rule(
    code="FSDP303",
    name="optimizer-state-dict",
    summary="`optim_state_dict` and its relatives become `get_`/`set_optimizer_state_dict`",
    why="FSDP1's functions know flat parameters only.",
    fix_safety="Safe: the same content under the same names; training goes on identically.",
    needs=("the type of the state dict is full or sharded, never local",),
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
