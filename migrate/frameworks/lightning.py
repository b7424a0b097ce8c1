"""Lightning's `FSDPStrategy`: what is written instead of it for `ModelParallelStrategy`.

https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from fsdp_migrate.findings.arguments import Arguments
from fsdp_migrate.frameworks import settings
from fsdp_migrate.frameworks.conversion import Values
from fsdp_migrate.syntax.module import Module

# The words for a strategy that stand for FSDP1, and whether they offload parameters.
WORDS: Mapping[str, bool] = {
    "fsdp": False,
    "fsdp_cpu_offload": True,
    "fsdp_native": False,
    "fsdp_native_full_shard_offload": False,
}
PRECISION_PLUGIN = (
    "ModelParallelStrategy takes no FSDP precision plugin; give fully_shard a "
    "MixedPrecisionPolicy as mp_policy"
)
REFERENCE = "FSDPStrategy becomes ModelParallelStrategy, and so does this reference to it"
CHECKPOINTING = ("activation_checkpointing", "activation_checkpointing_policy")
# The arguments of FSDPStrategy; what else it gets it hands on to FSDP's constructor.
ARGUMENTS = frozenset(
    {
        "accelerator",
        "auto_wrap_policy",
        "checkpoint_io",
        "cluster_environment",
        "cpu_offload",
        "device_mesh",
        "mixed_precision",
        "parallel_devices",
        "precision",
        "precision_plugin",
        "process_group_backend",
        "sharding_strategy",
        "state_dict_type",
        "timeout",
        *CHECKPOINTING,
    }
)
OF_FSDP = frozenset(
    {
        "backward_prefetch",
        "device_id",
        "forward_prefetch",
        "ignored_modules",
        "ignored_parameters",
        "ignored_states",
        "limit_all_gathers",
        "param_init_fn",
        "process_group",
        "sync_module_states",
        "use_orig_params",
    }
)


def unknown(arguments: Arguments) -> list[str]:
    """The arguments that neither FSDPStrategy nor FSDP has."""
    return [name for name in arguments.names if name not in ARGUMENTS | OF_FSDP]


def named(word: str, *, fabric: bool) -> str:
    """What to write instead of a strategy that is given by name."""
    extra = "give fully_shard offload_policy=CPUOffloadPolicy()" if WORDS[word] else ""
    return settings.sentences(f'strategy="{word}" is FSDP1', _form(fabric, not fabric), extra)


def advice(arguments: Arguments, values: Values, *, fabric: bool) -> str:
    """What to write instead of a strategy, as far as its arguments say it."""
    node = arguments.value("sharding_strategy")
    member = values.strategy(node) if node is not None else "FULL_SHARD"
    if member == "NO_SHARD":
        return 'NO_SHARD is plain data parallelism; use strategy="ddp"'
    kinds = values.literals(arguments.value("state_dict_type"))
    full = kinds == ["full"] or (kinds is None and not fabric)
    parts = [_form(fabric, full), _sharding(member)]
    policy = arguments.value("auto_wrap_policy")
    if policy is not None:
        parts.append(f"the units are those of {_shown(arguments.module, policy)}")
    if _passed(arguments, values, "mixed_precision"):
        parts.append("the precision goes into mp_policy=MixedPrecisionPolicy(...)")
    if _passed(arguments, values, "cpu_offload"):
        parts.append("offload_policy=CPUOffloadPolicy() offloads")
    if any(_passed(arguments, values, name) for name in CHECKPOINTING):
        parts.append("checkpoint activations with apply_activation_checkpointing before sharding")
    if fabric:
        parts.append("set up the model, then make the optimizer and set it up on its own")
    return settings.sentences(*parts)


def strategy_advice(member: str | None, fabric: bool) -> str:
    """What to write instead of a strategy of which no more is known than how it shards."""
    if member == "NO_SHARD":
        return 'NO_SHARD is plain data parallelism; use strategy="ddp"'
    return settings.sentences(_form(fabric, not fabric), _sharding(member))


def _form(fabric: bool, full: bool) -> str:
    """The strategy to write, and where the sharding goes."""
    arguments = ["data_parallel_size=<devices * nodes>", "tensor_parallel_size=1"]
    if fabric:
        arguments.insert(0, "parallelize_fn=shard")
    if full:
        arguments.append("save_distributed_checkpoint=False")
    where = "shard(model, device_mesh)" if fabric else "configure_model()"
    mesh = "device_mesh" if fabric else "self.device_mesh"
    return (
        f"Lightning's FSDP2 is ModelParallelStrategy({', '.join(arguments)}), where {where} calls "
        f'fully_shard(..., mesh={mesh}["data_parallel"]) on the units and then on the model'
    )


def _sharding(member: str | None) -> str:
    if member is None:
        return (
            "SHARD_GRAD_OP is reshard_after_forward=False, HYBRID_SHARD a mesh of "
            '("replicate", "shard"), NO_SHARD strategy="ddp"'
        )
    parts = []
    if member in settings.HYBRID:
        parts.append(
            'for hybrid sharding give fully_shard init_device_mesh("cuda", (<nodes>, <devices>), '
            'mesh_dim_names=("replicate", "shard")) as mesh'
        )
    if not settings.RESHARD[member]:
        parts.append("pass reshard_after_forward=False to it")
    return settings.sentences(*parts)


def _passed(arguments: Arguments, values: Values, name: str) -> bool:
    """Whether an argument is there and not None or False."""
    node = arguments.value(name)
    return values.is_given(node) and values.flag(node) is not False


def _shown(module: Module, node: ast.expr) -> str:
    text = " ".join(module.segment(node).split())
    return text if len(text) <= 60 else "auto_wrap_policy"
