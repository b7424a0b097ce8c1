"""Lightning's `FSDPStrategy`: what to write for `ModelParallelStrategy`, its FSDP2.

https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html

Nothing is rewritten.  `FSDPStrategy` wraps the model itself; under `ModelParallelStrategy` the
user's own code shards it, in `configure_model()` of the LightningModule or in the function that
Fabric is given, on a mesh whose size and with a precision that are known where the Trainer or
Fabric is made.  The finding spells out that code as far as the arguments say it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import NONE, Const, Symbol, constants
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.frameworks import settings as frameworks
from fsdp_migrate.frameworks.settings import sentences
from fsdp_migrate.rule.rule import Facts, Rule, Use, finding
from fsdp_migrate.syntax.fsdp1_names import short

_TRAINER = ("lightning.pytorch", "pytorch_lightning")
_FABRIC = ("lightning.fabric", "lightning_fabric")
STRATEGIES = tuple(
    f"{home}.strategies{module}.{name}"
    for home in (*_TRAINER, *_FABRIC)
    for module, name in (
        ("", "FSDPStrategy"),
        (".fsdp", "FSDPStrategy"),
        ("", "DDPFullyShardedNativeStrategy"),
    )
)
PRECISIONS = tuple(
    f"{home}.plugins{module}.{name}"
    for home in (*_TRAINER, *_FABRIC)
    for module in ("", ".precision", ".precision.fsdp")
    for name in ("FSDPPrecision", "FSDPMixedPrecisionPlugin")
)
MAKERS = (
    "lightning.Trainer",
    "lightning.Fabric",
    *(f"{home}.Trainer" for home in _TRAINER),
    *(f"{home}.Fabric" for home in _FABRIC),
)
WORDS = frozenset({"fsdp", "fsdp_cpu_offload", "fsdp_native", "fsdp_native_full_shard_offload"})


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Say what becomes of a strategy, a precision plugin, or a strategy that is named."""
    if use.name in MAKERS:
        yield from _named(use, facts)
    elif use.name in PRECISIONS:
        yield finding(
            RULE,
            use,
            "ModelParallelStrategy takes no FSDP precision plugin; give fully_shard a "
            "MixedPrecisionPolicy as mp_policy",
            tier=Tier.MANUAL,
        )
    elif use.call is not None:
        fabric = use.name.startswith(_FABRIC)
        yield finding(RULE, use, _advice(use.call, facts, fabric), tier=Tier.MANUAL)
    else:
        yield finding(
            RULE,
            use,
            "FSDPStrategy becomes ModelParallelStrategy, and so does this reference to it",
            tier=Tier.MANUAL,
        )


def absorbs(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """What is written in the arguments: the finding about the strategy speaks of it."""
    if use.call is not None and use.name in STRATEGIES:
        for argument in [*use.call.args, *(k.value for k in use.call.keywords)]:
            yield from ast.walk(argument)


def _named(use: Use, facts: Facts) -> Iterable[Finding]:
    given = {k.arg: k.value for k in use.call.keywords} if use.call is not None else {}
    known = constants(facts.value(given.get("strategy"))) or []
    words = [word for word in known if isinstance(word, str) and word in WORDS]
    if words and use.call is not None:
        fabric = short(use.name) == "Fabric"
        extra = "give fully_shard offload_policy=CPUOffloadPolicy()" if "cpu" in words[0] else ""
        message = sentences(f'strategy="{words[0]}" is FSDP1', _form(fabric, not fabric), extra)
        yield finding(RULE, use, message, tier=Tier.MANUAL)


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


def _advice(call: ast.Call, facts: Facts, fabric: bool) -> str:
    given = {k.arg: k.value for k in call.keywords if k.arg}
    kinds = constants(facts.value(given.get("state_dict_type")))
    full = kinds == ["full"] or (kinds is None and not fabric)
    member = _member(given.get("sharding_strategy"), facts)
    if member == "NO_SHARD":
        return 'NO_SHARD is plain data parallelism; use strategy="ddp"'
    parts = [_form(fabric, full), _sharding(member)]
    if "auto_wrap_policy" in given:
        parts.append(f"the units are those of {_shown(given['auto_wrap_policy'])}")
    if _passed(given.get("mixed_precision"), facts):
        parts.append("the precision goes into mp_policy=MixedPrecisionPolicy(...)")
    if _passed(given.get("cpu_offload"), facts):
        parts.append("offload_policy=CPUOffloadPolicy() offloads")
    if any(_passed(node, facts) for name, node in given.items() if "checkpointing" in name):
        parts.append("checkpoint activations with apply_activation_checkpointing before sharding")
    if fabric:
        parts.append("set up the model, then make the optimizer and set it up on its own")
    return sentences(*parts)


def _member(node: ast.expr | None, facts: Facts) -> str | None:
    """The sharding strategy; None if only the run knows it."""
    if node is None:
        return "FULL_SHARD"
    atoms = facts.value(node)
    found = {
        frameworks.strategy(a.value if isinstance(a, Const) else short(a.name))
        for a in atoms
        if isinstance(a, Const | Symbol)
    }
    return found.pop() if len(found) == len(atoms) == 1 else None


def _sharding(member: str | None) -> str:
    if member is None:
        return (
            "SHARD_GRAD_OP is reshard_after_forward=False, HYBRID_SHARD a mesh of "
            '("replicate", "shard"), NO_SHARD strategy="ddp"'
        )
    parts = []
    if member in frameworks.HYBRID:
        parts.append(
            'for hybrid sharding give fully_shard init_device_mesh("cuda", (<nodes>, <devices>), '
            'mesh_dim_names=("replicate", "shard")) as mesh'
        )
    if not frameworks.RESHARD[member]:
        parts.append("pass reshard_after_forward=False to it")
    return sentences(*parts)


def _passed(node: ast.expr | None, facts: Facts) -> bool:
    """Whether an argument is there and not None or False."""
    value = facts.value(node) - NONE
    return node is not None and constants(value) != [False] and bool(value)


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else "auto_wrap_policy"


RULE = Rule(
    code="FSDP602",
    name="lightning-strategy",
    summary="Lightning's `FSDPStrategy` has to become `ModelParallelStrategy` by hand",
    why=(
        "`FSDPStrategy` is FSDP1.  Lightning's FSDP2 leaves the sharding to a function of yours, "
        "and has another precision plugin and another set-up of optimizers."
    ),
    fix_safety="There is no fix: see the finding for the code to write.",
    check=check,
    symbols=(*STRATEGIES, *PRECISIONS, *MAKERS),
    replaces=absorbs,
    references=(
        "https://lightning.ai/docs/pytorch/stable/advanced/model_parallel/tp_fsdp.html",
        "https://lightning.ai/docs/fabric/stable/advanced/model_parallel/tp_fsdp.html",
    ),
)
