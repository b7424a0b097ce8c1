"""Accelerate's `FullyShardedDataParallelPlugin`, from FSDP1's arguments to FSDP2's.

https://huggingface.co/docs/accelerate/concept_guides/fsdp1_vs_fsdp2
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import Keyword, Literal, Name, call, code
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.conversion import ByHand, Conversion

FSDP = "torch.distributed.fsdp"
POLICY = Name(FSDP, "MixedPrecisionPolicy")
BY_CLASSES = Literal("transformer_based_wrap")
# Arguments that are the same for FSDP2.
AS_THEY_ARE = (
    "activation_checkpointing",
    "activation_checkpointing_offload",
    "cpu_ram_efficient_loading",
    "ignored_modules",
    "min_num_params",
    "transformer_cls_names_to_wrap",
)
STRATEGY = ("sharding_strategy", "reshard_after_forward")  # the second took the first's values
HYBRID = (
    "hybrid sharding is a ParallelismConfig(dp_replicate_size=<nodes>, dp_shard_size=<devices per "
    "node>) of the Accelerator in Accelerate's FSDP2; pass one where the Accelerator is made, and "
    "reshard_after_forward here"
)
LATE_POLICY = (
    "Accelerate's FSDP2 leaves a wrap policy that is a function out of account and shards the "
    "model as one unit; name the layer classes in transformer_cls_names_to_wrap (FSDP2 needs no "
    "units of their own for LoRA)"
)


def convert(plan: Conversion) -> None:
    """Give a plugin the arguments of FSDP2.

    Raises:
        ByHand: a person has to decide.
    """
    if not plan.arguments.all_named:
        raise ByHand(
            "arguments come in by position or through `**`; pass them by name, so that what "
            "FSDP2 has not can be left out"
        )
    version = plan.arguments.value("fsdp_version")
    if version is not None and plan.values.literals(version) not in ([None], [1]):
        raise ByHand("`fsdp_version` is known only at run time; decide for 2")
    for name in plan.arguments.names:
        if name not in STEPS:
            raise ByHand(
                f"`{name}` is no argument of FullyShardedDataParallelPlugin that is known here; "
                "leave it out, or see what FSDP2 makes of it",
                plan.arguments.value(name),
            )
        STEPS[name](plan, name)
    _reshard(plan)
    _state_dict_type(plan)
    if plan.flag("activation_checkpointing") is not False:
        plan.unsafe(settings.RANDOM_STATE)


def strategy(plan: Conversion) -> str | None:
    """The sharding strategy that a plugin is given, None if the launcher says it.

    Raises:
        ByHand: only the run knows it.
    """
    given = [name for name in STRATEGY if name in plan.arguments]
    if not given:
        return None
    node = plan.arguments.value(given[0])
    member = plan.values.strategy(node)
    if member is None:
        raise ByHand(
            f"`{given[0]}` is known only at run time; pass reshard_after_forward=True for "
            "FULL_SHARD, False for SHARD_GRAD_OP; hybrid sharding takes a ParallelismConfig "
            "of the Accelerator as well, NO_SHARD no fsdp_plugin at all",
            paths=plan.values.homes(node),
        )
    return member


def _reshard(plan: Conversion) -> None:
    member = strategy(plan)
    if member is None:
        plan.note(
            "what it leaves out comes from the launcher's FSDP_* variables: migrate its "
            "configuration file too"
        )
        return
    if member == "NO_SHARD":
        raise ByHand(
            "Accelerate's FSDP2 has no NO_SHARD, which is plain data parallelism; make the "
            "Accelerator without an fsdp_plugin, and it uses DistributedDataParallel"
        )
    reshards = Literal(settings.RESHARD[member])
    plan.write("reshard_after_forward", reshards, instead_of="sharding_strategy")
    plan.drop("sharding_strategy")


# ---------------------------------------------------------------------- one argument
def _keep(plan: Conversion, name: str) -> None:
    node = plan.arguments.value(name)
    if plan.values.takes_fsdp1(node):
        raise ByHand(f"`{name}` takes something of FSDP1's", paths=plan.values.homes(node))


def _drop(plan: Conversion, name: str) -> None:
    plan.drop(name)


def _drop_config(plan: Conversion, name: str) -> None:
    _source(plan, name)
    plan.drop(name)


def _later(plan: Conversion, name: str) -> None:
    """The strategy, the state dicts and the version are dealt with when all else is."""


def _source(plan: Conversion, name: str) -> ast.expr:
    """What is passed as `name`; what a variable was given, if it is FSDP1's and only read here."""
    node = plan.arguments.value(name)
    assert node is not None
    found = plan.values.definition(node)
    if found is None or not plan.values.takes_fsdp1(found.value):
        return node
    plan.followed.append(found)
    return found.value


def _sync_module_states(plan: Conversion, name: str) -> None:
    if plan.flag(name) is not False and plan.flag("cpu_ram_efficient_loading") is not True:
        plan.unsafe(settings.BROADCAST)
    plan.drop(name)


def _mixed_precision(plan: Conversion, name: str) -> None:
    node = _source(plan, name)
    if plan.values.is_none(node):
        return
    if isinstance(node, ast.Dict):
        _precision_items(plan, bind(plan.module, node))
    elif isinstance(node, ast.Call) and plan.values.calls(node, [f"{FSDP}.MixedPrecision"]):
        _precision_policy(plan, name, node)
    elif plan.values.literals(node) is None:
        raise ByHand(
            "the mixed precision is made elsewhere; Accelerate's FSDP2 takes torch's "
            "MixedPrecisionPolicy, which has no buffer_dtype",
            paths=plan.values.homes(node),
        )
    plan.unsafe(settings.BUFFERS)


def _precision_policy(plan: Conversion, name: str, node: ast.Call) -> None:
    fields = plan.values.precision(node)
    if fields is None:
        raise ByHand("this mixed precision has no FSDP2 form; write a MixedPrecisionPolicy")
    dtypes = [field for field in ("param_dtype", "reduce_dtype") if field in fields]
    kept = [Keyword(field, plan.kept(fields[field])) for field in dtypes]
    if plan.values.literals(fields.get("cast_root_forward_inputs")) == [False]:
        kept.append(Keyword("cast_forward_inputs", Literal(False)))
    plan.write(name, call(POLICY, *kept))


def _precision_items(plan: Conversion, items: Arguments) -> None:
    """A dict of dtypes: Accelerate asks for an output_dtype now, and knows no buffer_dtype."""
    if "buffer_dtype" not in items:
        return
    compute = items.value("param_dtype")
    if compute is None:
        raise ByHand("`mixed_precision_policy` has no param_dtype; Accelerate asks for one")
    items.put("output_dtype", plan.kept(compute), instead_of="buffer_dtype")
    items.drop("buffer_dtype")
    plan.inner.append(items)


def _cpu_offload(plan: Conversion, name: str) -> None:
    node = _source(plan, name)
    if isinstance(node, ast.Call) and plan.values.calls(node, [f"{FSDP}.CPUOffload"]):
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        plan.write(name, plan.kept(given[0]) if given else Literal(False))
    elif plan.values.takes_fsdp1(node):
        raise ByHand(
            "`cpu_offload` is made elsewhere; pass True or False", paths=plan.values.homes(node)
        )


def _wrap_policy(plan: Conversion, name: str) -> None:
    node = plan.arguments.value(name)
    assert node is not None
    named = plan.values.literals(node)
    if named is not None and len(named) == 1:
        _named_policy(plan, str(named[0]).upper())
        return
    if plan.values.names(node) == {f"{FSDP}.wrap.transformer_auto_wrap_policy"}:
        plan.write(name, BY_CLASSES)
        return
    policy = plan.values.policy_classes(node)
    if policy is None:
        raise ByHand(
            "Accelerate's FSDP2 takes no wrap policy that is a function, it would shard the "
            'model as one unit; pass auto_wrap_policy="transformer_based_wrap" and the names '
            "of the layer classes as transformer_cls_names_to_wrap",
            paths=plan.values.homes(node),
        )
    classes, definitions = policy
    plan.followed += definitions
    plan.write(name, BY_CLASSES)
    listed = code("[{names}]", names=tuple(map(Literal, classes)))
    plan.arguments.put("transformer_cls_names_to_wrap", listed)


def _named_policy(plan: Conversion, word: str) -> None:
    least = plan.arguments.value("min_num_params")
    if word == "SIZE_BASED_WRAP" and plan.values.literals(least) != [0]:
        raise ByHand(settings.SIZE_BASED)
    if word == "NO_WRAP" and plan.flag("activation_checkpointing"):
        raise ByHand(settings.NO_WRAP_CHECKPOINTING)


def _param_init_fn(plan: Conversion, name: str) -> None:
    if plan.values.is_given(plan.arguments.value(name)):
        raise ByHand(
            "Accelerate's FSDP2 never calls param_init_fn; use cpu_ram_efficient_loading, or "
            "put the weights in place before prepare()"
        )
    plan.drop(name)


def _state_dict_type(plan: Conversion) -> None:
    name = "state_dict_type"
    node = plan.arguments.value(name)
    if node is None:
        plan.arguments.put(name, Literal("FULL_STATE_DICT"))
        plan.note("the default of state_dict_type was FULL_STATE_DICT")
        return
    kinds = plan.values.state_dict_types(node)
    if "LOCAL_STATE_DICT" in kinds:
        raise ByHand(settings.LOCAL_STATE_DICT)
    if plan.values.names(node):
        kind = kinds.pop() if len(kinds) == 1 else None
        if kind is None:
            raise ByHand(
                "`state_dict_type` is known only at run time; pass its name as a string",
                paths=plan.values.homes(node),
            )
        plan.write(name, Literal(kind))


Step = Callable[[Conversion, str], None]
STEPS: Mapping[str, Step] = {
    **dict.fromkeys(AS_THEY_ARE, _keep),
    **dict.fromkeys(settings.DROPPED_SETTINGS, _drop),
    "auto_wrap_policy": _wrap_policy,
    "cpu_offload": _cpu_offload,
    "fsdp_version": _later,
    "mixed_precision_policy": _mixed_precision,
    "optim_state_dict_config": _drop_config,
    "param_init_fn": _param_init_fn,
    "reshard_after_forward": _later,
    "sharding_strategy": _later,
    "state_dict_config": _drop_config,
    "state_dict_type": _later,
    "sync_module_states": _sync_module_states,
}
