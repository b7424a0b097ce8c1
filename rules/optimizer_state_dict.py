"""FSDP1's optimizer-state functions become `get_optimizer_state_dict` and its counterpart.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html

Natively only where DCP's functions are known to do what FSDP1's did: the model's state is saved
before the optimizer's (an evaluation may have left the root unsharded), the optimizer has state,
and no checkpoint of flat parameters (whose `step` tensors are shared) can come in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Keyword, Name
from fsdp_migrate.findings.edits import Edit, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.joint_calls import joined
from fsdp_migrate.rule.queries.joint_states import joint_of
from fsdp_migrate.rule.queries.named_options import with_names
from fsdp_migrate.rule.queries.optimizer_loads import (
    LOADERS,
    Load,
    find_load,
    load_carried,
    load_flags,
)
from fsdp_migrate.rule.queries.optimizer_saves import SAVERS, find_save
from fsdp_migrate.rule.queries.state_calls_by_dcp import GET, SET, loaded, options, saved
from fsdp_migrate.rule.queries.state_dict_modes import mode_goes, setting_at
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import FSDP1, short

SHIM_LOAD = Name(RUNTIME, "load_optim_state_dict")
NAMES = (*SAVERS, *LOADERS, "rekey_optim_state_dict")
IN_MODES = ("optim_state_dict", "optim_state_dict_to_load")
SHARDED_LOADER = "torch.distributed.checkpoint.optimizer.load_sharded_optimizer_state_dict"


def lowerable(use: Use, facts: Facts) -> bool:
    """Whether the call does without a mode around it."""
    name = short(use.name)
    if name == "optim_state_dict":
        return _saved(use, facts) is not None
    return name != "optim_state_dict_to_load" or find_load(use, facts) is not None


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one call."""
    name = short(use.name)
    if use.name == SHARDED_LOADER:
        yield _sharded_loader(use)
        return
    joint = joint_of(use, facts) if name in (*SAVERS, *LOADERS) else None
    if joint is not None:
        function, edits = joined(joint)
        message = f"FSDP.{name} becomes {function.name}, together with the model's state"
        yield _finding(use, facts, message, edits, Tier.NATIVE)
        return
    if use.call is not None and (name not in IN_MODES or mode_goes(facts, use.call)):
        made = _saved(use, facts) if name in SAVERS else None
        if made is not None:
            message = f"FSDP.{name} becomes {GET.name}"
            yield _finding(use, facts, message, made, Tier.NATIVE)
            return
        load = find_load(use, facts) if name in LOADERS else None
        if load is not None:
            yield _loaded(use, facts, load)
            return
    message = f"FSDP.{name} goes through the shim{_reason(use, facts)}"
    shim = [ReplaceExpression(use.module.span(use.node), Name(RUNTIME, name))]
    yield _finding(use, facts, message, shim, Tier.SHIM)


def _finding(use: Use, facts: Facts, message: str, edits: Iterable[Edit], tier: Tier) -> Finding:
    units = facts.models(facts.analysis.wrapped(facts.value(_model_of(use, facts))))
    named = with_names(use, facts, edits)
    return finding(RULE, use, message, tier=tier, edits=named, models=units)


def _model_of(use: Use, facts: Facts) -> ast.expr | None:
    """The argument of a call that is an FSDP model."""
    if use.call is None:
        return None
    every = [*use.call.args, *(keyword.value for keyword in use.call.keywords)]
    return next((node for node in every if facts.analysis.wrapped(facts.value(node))), None)


def _saved(use: Use, facts: Facts) -> list[Edit] | None:
    save = find_save(use, facts)
    return saved(use.module, save) if save is not None else None


def _reason(use: Use, facts: Facts) -> str:
    """Why plain PyTorch is not enough, where that is simple to say."""
    setting = setting_at(facts, use.call) if use.call is not None else None
    if short(use.name) != "optim_state_dict" or setting is None:
        return ""
    if setting.kind != "FULL" or not setting.optim_offload or setting.optim_rank0:
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


def _loaded(use: Use, facts: Facts, load: Load) -> Finding:
    flags, carried = load_flags(use, facts, load), load_carried(use, facts, load)
    native = flags is not None or carried is not None
    function, tier = (SET, Tier.NATIVE) if native else (SHIM_LOAD, Tier.SHIM)
    message = f"loading the optimizer's state becomes one call of {function.name}"
    if not native:
        optim = use.module.segment(load.optim)
        message += f": `{optim}` may keep no state, which {SET.name} refuses"
    given = options(flags or ())
    if carried is not None:
        given = [Keyword("options", carried.loading)]
    edits = loaded(use.module, load, function, given)
    return _finding(use, facts, message, edits, tier)


RULE = Rule(
    code="FSDP303",
    name="optimizer-state-dict",
    summary="`optim_state_dict` and its relatives become `get_`/`set_optimizer_state_dict`",
    why="FSDP1's functions know flat parameters only.",
    by_hand=(
        "write get_optimizer_state_dict and set_optimizer_state_dict of "
        "torch.distributed.checkpoint.state_dict, with StateDictOptions(full_state_dict=...)"
    ),
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
        *(
            Surface(f"FullyShardedDataParallel.{name}", f"`{new.name}`", (Tier.NATIVE, Tier.SHIM))
            for name, new in (
                ("full_optim_state_dict", GET),
                ("sharded_optim_state_dict", GET),
                ("shard_full_optim_state_dict", SET),
                ("scatter_full_optim_state_dict", SET),
                ("flatten_sharded_optim_state_dict", SET),
            )
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
