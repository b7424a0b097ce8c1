"""Composer's FSDP configuration, from FSDP1's to an `FSDP2Config`.

https://docs.mosaicml.com/projects/composer/en/stable/notes/fsdp2.html
"""

from __future__ import annotations

import ast

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import Item, Literal, Name, dictionary
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.conversion import ByHand, Conversion

OLD = ("composer.utils.FSDPConfig", "composer.utils.parallelism.FSDPConfig", "builtins.dict")
NEW = ("composer.utils.FSDP2Config", "composer.utils.parallelism.FSDP2Config")
WHOLE = ("composer.utils.ParallelismConfig", "composer.utils.parallelism.ParallelismConfig")
FSDP2_CONFIG = Name("composer.utils", "FSDP2Config")
KEPT = (
    "activation_checkpointing",
    "activation_cpu_offload",
    "load_monolith_rank0_only",
    "mixed_precision",
    "reshard_after_forward",
    "state_dict_type",
    "verbose",
)
DROPPED = settings.DROPPED_SETTINGS.keys() | {
    "activation_checkpointing_reentrant",
    "auto_wrap",
    "backward_prefetch_limit",
    "data_parallel_shard_degree",
    "forward_prefetch_limit",
    "sharding_strategy",
}
# Settings that FSDP2Config doesn't have, and what they are when they do nothing.
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
RUN_TIME = f"the configuration is put together at run time; {BY_HAND}"


def convert(plan: Conversion) -> bool:
    """Give one Trainer its FSDP2Config; False if it has no FSDP1 configuration.

    Raises:
        ByHand: a person has to decide.
    """
    given = [name for name in ("fsdp_config", "parallelism_config") if name in plan.arguments]
    node = plan.arguments.value(given[0]) if given else None
    if node is None or not plan.values.is_given(node):
        return False
    old_name = given[0] == "fsdp_config"
    written = _written(plan, node)
    setting = _setting(plan, written) if old_name else _find(plan, written)
    if setting is None:
        return False
    _configure(plan, setting)
    plan.inner.append(setting)
    if old_name:
        whole = dictionary(Item(Literal("fsdp"), plan.kept(node)))
        plan.arguments.put("parallelism_config", whole, instead_of="fsdp_config")
    return True


# ---------------------------------------------------------------------- what is configured
def _find(plan: Conversion, node: ast.expr) -> Arguments | None:
    """The FSDP part of a parallelism_config; None if it is FSDP2's, or there is none."""
    if isinstance(node, ast.Call) and plan.values.names(node.func) & set(WHOLE):
        whole = bind(plan.module, node)
        if "fsdp" in whole and "fsdp2" not in whole and whole.all_named:
            raise ByHand(f"{BY_HAND}; in a ParallelismConfig(...) it is the argument fsdp2")
        return None
    if not isinstance(node, ast.Dict) or not bind(plan.module, node).all_named:
        raise ByHand(RUN_TIME)
    inner = bind(plan.module, node).value("fsdp")
    if inner is None or not plan.values.is_given(inner):
        return None
    return _setting(plan, _written(plan, inner))


def _written(plan: Conversion, node: ast.expr) -> ast.expr:
    """`node`, or what the variable that it names was given, if nothing else reads that."""
    found = plan.values.definition(node)
    return found.value if found is not None else node


def _setting(plan: Conversion, node: ast.expr) -> Arguments | None:
    if isinstance(node, ast.Call) and plan.values.names(node.func) & set(NEW):
        return None
    if isinstance(node, ast.Dict) or (
        isinstance(node, ast.Call) and plan.values.names(node.func) & set(OLD)
    ):
        items = bind(plan.module, node)
        if items.all_named:
            return items
    raise ByHand(RUN_TIME)


# ---------------------------------------------------------------------- what becomes of it
def _configure(plan: Conversion, items: Arguments) -> None:
    """Turn the settings into those of an FSDP2Config."""
    for name in items.names:
        _check(plan, name, items.value(name))
    precision = plan.values.literals(items.value("mixed_precision"))
    by_name = all(isinstance(word, str) for word in precision or [None])
    if "mixed_precision" in items and not by_name:
        raise ByHand("FSDP2Config takes mixed_precision by name: 'DEFAULT', 'PURE' or 'FULL'")
    strategy = items.value("sharding_strategy")
    items.callee = FSDP2_CONFIG
    if strategy is not None and not _reshards(plan, strategy):
        items.put("reshard_after_forward", Literal(False), instead_of="sharding_strategy")
    for name in items.names:
        if name not in KEPT:
            items.drop(name)
    if "state_dict_type" not in items:
        items.put("state_dict_type", Literal("full"))
    if precision not in (["FULL"], ["full"]):
        plan.unsafe(settings.BUFFERS)


def _check(plan: Conversion, name: str, node: ast.expr | None) -> None:
    known = plan.values.literals(node)
    if name in IDLE:
        if known is None or set(known) != {IDLE[name]}:
            raise ByHand(_why(name))
    elif name == "auto_wrap" and known != [True]:
        raise ByHand("FSDP2 of Composer always wraps the children; leave auto_wrap out")
    elif name not in KEPT and name not in DROPPED:
        raise ByHand(f"`{name}` is no setting of FSDP2Config; {BY_HAND}", node)


def _reshards(plan: Conversion, node: ast.expr) -> bool:
    member = plan.values.strategy(node)
    if member == "NO_SHARD":
        raise ByHand(
            "FSDP2Config has no NO_SHARD, which is plain data parallelism; leave the FSDP "
            "configuration out, and Composer uses DistributedDataParallel"
        )
    if member in settings.HYBRID:
        raise ByHand(_why("data_parallel_replicate_degree"))
    if member is None:
        raise ByHand(f"the sharding strategy is known only at run time; {BY_HAND}")
    return settings.RESHARD[member]


def _why(name: str) -> str:
    if name == "data_parallel_replicate_degree":
        return (
            "hybrid sharding: Composer's Trainer puts a mesh of one dimension in the place of "
            "FSDP2Config's; shard the model by composer.distributed's parallelize_model with a "
            "mesh of two dimensions before you make the Trainer, or stay with FSDP1 here"
        )
    return f"FSDP2Config has nothing like `{name}`; leave it out if you can do without"
