"""Composer's `parallelism_config={'fsdp': {...}}` gets an `FSDP2Config`.

https://docs.mosaicml.com/projects/composer/en/stable/notes/fsdp2.html

What the rule won't do: settings that `FSDP2Config` has not and that do something (CPU offload,
ignored modules, process groups), and hybrid sharding, for Composer's Trainer puts a mesh of one
dimension in the place of any that `FSDP2Config` is given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.definitions import definition, removable
from fsdp_migrate.analysis.values import NONE, Symbol, constants, symbols
from fsdp_migrate.findings.finding import Finding, Import, Safety, Tier
from fsdp_migrate.findings.text_arguments import Arguments
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.rule.rule import Example, Facts, Rule, Use, finding
from fsdp_migrate.syntax.module import Module

TRAINERS = ("composer.Trainer", "composer.trainer.Trainer", "composer.trainer.trainer.Trainer")
OLD = ("composer.utils.FSDPConfig", "composer.utils.parallelism.FSDPConfig")
NEW = ("composer.utils.FSDP2Config", "composer.utils.parallelism.FSDP2Config")
WHOLE = ("composer.utils.ParallelismConfig", "composer.utils.parallelism.ParallelismConfig")
KEPT = (
    "activation_checkpointing",
    "activation_cpu_offload",
    "load_monolith_rank0_only",
    "mixed_precision",
    "reshard_after_forward",
    "state_dict_type",
    "verbose",
)
DROPPED = frameworks.GONE.keys() | {
    "activation_checkpointing_reentrant",
    "auto_wrap",
    "backward_prefetch_limit",
    "data_parallel_shard_degree",
    "forward_prefetch_limit",
    "sharding_strategy",
}
# Settings that FSDP2Config has not, and what they are when they do nothing.
IDLE: dict[str, object] = {
    "cpu_offload": False,
    "data_parallel_replicate_degree": None,
    "ignored_modules": None,
    "keep_low_precision_grads": False,
    "load_planner": None,
    "process_group": None,
    "save_planner": None,
    "sharded_ckpt_prefix_dir": "ep{epoch}-ba{batch}",
    "te_checkpoint_wrapper": False,
    "te_shard_fp8_weight": False,
}
BY_HAND = (
    "Composer's FSDP2 takes parallelism_config={'fsdp': FSDP2Config(...)}, with "
    "reshard_after_forward instead of sharding_strategy and state_dict_type='full' to keep the "
    "default of FSDP1"
)


class _Manual(Exception):
    """Why a person has to decide."""


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Give one Trainer its FSDP2Config."""
    if use.call is None or use.name not in TRAINERS:
        return
    arguments = Arguments(use.module, use.call)
    name = next((n for n in ("fsdp_config", "parallelism_config") if n in arguments), None)
    node = arguments.value(name) if name is not None else None
    if name is None or node is None or not facts.value(node) - NONE:
        return
    try:
        setting = _find(use.module, node, name, facts)
        if setting is None:
            return
        safety, note = _configure(setting, facts)
    except _Manual as reason:
        yield finding(RULE, use, str(reason), tier=Tier.MANUAL)
        return
    edits = [setting.edit()]
    if name == "fsdp_config":
        word = f"{{{setting.quote}fsdp{setting.quote}: {{0}}}}"
        arguments.put("parallelism_config", word, use.module.span(node), instead_of=name)
        edits.append(arguments.edit())
    yield finding(
        RULE,
        use,
        sentences("the FSDP configuration becomes an FSDP2Config (Composer 0.32)", note),
        tier=Tier.NATIVE,
        safety=safety,
        edits=edits,
        imports=[Import("composer.utils", "FSDP2Config")],
    )


# ---------------------------------------------------------------------- what is configured
def _find(module: Module, node: ast.expr, name: str, facts: Facts) -> Arguments | None:
    """The FSDP part of what a Trainer is given; None if it is FSDP2's, or there is none.

    Raises:
        _Manual: it isn't written out.
    """
    node = _written(module, node, facts)
    if name == "fsdp_config":
        return _setting(module, node, facts)
    inner: ast.expr | None
    if isinstance(node, ast.Dict) and all(_word(key) is not None for key in node.keys):
        inner = next(
            (v for k, v in zip(node.keys, node.values, strict=True) if _word(k) == "fsdp"), None
        )
    elif isinstance(node, ast.Call) and symbols(facts.value(node.func)) & set(WHOLE):
        words = {k.arg: k.value for k in node.keywords}
        if "fsdp2" in words:
            return None
        if "fsdp" in words and not node.args and None not in words:
            raise _Manual(f"{BY_HAND}; in a ParallelismConfig(...) it is the argument fsdp2")
        inner = None
    else:
        raise _Manual(f"the configuration is put together at run time; {BY_HAND}")
    if inner is None or not facts.value(inner) - NONE:
        return None
    return _setting(module, _written(module, inner, facts), facts)


def _written(module: Module, node: ast.expr, facts: Facts) -> ast.expr:
    """`node`, or what the variable that it names was given, if nothing else reads that."""
    if isinstance(node, ast.Name):
        found = definition(module, node)
        if found is not None and removable(facts.solver, module, found, {node}):
            return found.value
    return node


def _setting(module: Module, node: ast.expr, facts: Facts) -> Arguments | None:
    if isinstance(node, ast.Call) and symbols(facts.value(node.func)) & set(NEW):
        return None
    if isinstance(node, ast.Dict) or (
        isinstance(node, ast.Call)
        and (
            symbols(facts.value(node.func)) & set(OLD)
            or facts.value(node.func) == {Symbol("builtins.dict")}
        )
    ):
        items = Arguments(module, node)
        if all(item.name is not None for item in items.items):
            return items
    raise _Manual(f"the configuration is put together at run time; {BY_HAND}")


def _word(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


# ---------------------------------------------------------------------- what becomes of it
def _configure(items: Arguments, facts: Facts) -> tuple[Safety, str]:
    """Turn the settings into those of an FSDP2Config; what that changes.

    Raises:
        _Manual: it can't express them.
    """
    names = [str(item.name) for item in items.items]
    for name in names:
        known = constants(facts.value(items.value(name)))
        if name in IDLE:
            if known is None or set(known) != {IDLE[name]}:
                raise _Manual(_why(name))
        elif name == "auto_wrap" and known != [True]:
            raise _Manual("FSDP2 of Composer always wraps the children; leave auto_wrap out")
        elif name not in KEPT and name not in DROPPED:
            raise _Manual(f"`{name}` is no setting of FSDP2Config; {BY_HAND}")
    precision = constants(facts.value(items.value("mixed_precision")))
    if "mixed_precision" in names and not all(isinstance(p, str) for p in precision or [None]):
        raise _Manual("FSDP2Config takes mixed_precision by name: 'DEFAULT', 'PURE' or 'FULL'")
    strategy = items.value("sharding_strategy")
    reshards = strategy is None or _reshards(strategy, facts)
    items.make_call("FSDP2Config")
    if not reshards:
        items.put("reshard_after_forward", "False", instead_of="sharding_strategy")
    for name in names:
        if name not in KEPT:
            items.drop(name)
    if "state_dict_type" not in names:
        items.put("state_dict_type", f"{items.quote}full{items.quote}")
    if precision in (["FULL"], ["full"]):
        return Safety.SAFE, ""
    return Safety.UNSAFE, frameworks.BUFFERS


def _reshards(node: ast.expr, facts: Facts) -> bool:
    known = constants(facts.value(node))
    members = {frameworks.strategy(value) for value in known or [None]}
    member = members.pop() if len(members) == 1 else None
    if member == "NO_SHARD":
        raise _Manual(
            "NO_SHARD is plain data parallelism, which FSDP2Config has not; leave the FSDP "
            "configuration out, and Composer uses DistributedDataParallel"
        )
    if member in frameworks.HYBRID:
        raise _Manual(_why("data_parallel_replicate_degree"))
    if member is None:
        raise _Manual(f"the sharding strategy is known only at run time; {BY_HAND}")
    return frameworks.RESHARD[member]


def _why(name: str) -> str:
    if name == "data_parallel_replicate_degree":
        return (
            "hybrid sharding: Composer's Trainer puts a mesh of one dimension in the place of "
            "FSDP2Config's; shard the model by composer.distributed's parallelize_model with a "
            "mesh of two dimensions before you make the Trainer, or stay with FSDP1 here"
        )
    return f"FSDP2Config has nothing like `{name}`; leave it out if you can do without"


RULE = Rule(
    code="FSDP604",
    name="composer-config",
    summary="Composer's FSDP configuration becomes an `FSDP2Config`",
    why=(
        "A plain dict, or an FSDPConfig, is FSDP1 to Composer.  What it does with one under "
        "FSDP_VERSION=2 loses the sharding strategy and changes the kind of checkpoint."
    ),
    fix_safety=(
        "Unsafe under mixed precision, for buffers keep their dtype.  Units, parameters and "
        "checkpoints are the same; the settings left out are about speed, or flat parameters."
    ),
    check=check,
    symbols=TRAINERS,
    references=("https://docs.mosaicml.com/projects/composer/en/stable/notes/fsdp2.html",),
    examples=(
        Example(
            before="""\
from composer import Trainer

fsdp_config = {
    "sharding_strategy": "SHARD_GRAD_OP",
    "mixed_precision": "PURE",
    "forward_prefetch": True,
}
trainer = Trainer(model=model, parallelism_config={"fsdp": fsdp_config})
""",
            after="""\
from composer import Trainer
from composer.utils import FSDP2Config

fsdp_config = FSDP2Config(
    reshard_after_forward=False,
    mixed_precision="PURE",
    state_dict_type="full",
)
trainer = Trainer(model=model, parallelism_config={"fsdp": fsdp_config})
""",
        ),
    ),
)
