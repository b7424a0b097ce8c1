"""`FullyShardedDataParallel(module, ...)` becomes `fully_shard(module, ...)`, units first.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

What the rule won't do natively: arguments that only the run knows (`**kwargs`, a strategy out of
a configuration), policies that count parameters, modules on the meta device.  There the call
becomes the runtime shim's `fully_shard_from_fsdp1`, which takes FSDP1's arguments as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.cpu_backends import has_cpu_backend
from fsdp_migrate.rule.queries.microbatches import reduced_each_time
from fsdp_migrate.rule.queries.values import is_none
from fsdp_migrate.rule.queries.wraps import WrapPlan, native_form, plan_of, types_inside
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding
from fsdp_migrate.syntax.fsdp1_names import FSDP1

FROM_FSDP1 = Name(RUNTIME, "fully_shard_from_fsdp1")

# What a person writes who knows the values, by the function that finds out when it runs.
PLAINLY = (
    "a loop that calls fully_shard(module, ...) on the units, the inner ones first, and "
    "fully_shard(model, ...) below it"
)
BY_HAND = {
    "sharding_kwargs": "`mesh=` and `reshard_after_forward=` as the strategy and its ranks are",
    "mp_policy_from_fsdp1": "a MixedPrecisionPolicy where the precision is made",
    "offload_policy_from_fsdp1": "CPUOffloadPolicy() or OffloadPolicy() where the offload is made",
    "units_from_policy": "the condition that makes a module a unit into the loop over the modules",
    "ignored_params_from_fsdp1": "the set of the parameters to leave alone as `ignored_params=`",
    "sync_module_states": "a broadcast of the first weights above each fully_shard call",
}

# What says to FSDP2 what an argument of FSDP1's says.
SAID_BY = {
    "process_group": "`mesh=`",
    "device_mesh": "`mesh=`",
    "sharding_strategy": "`reshard_after_forward=` and `mesh=`",
    "cpu_offload": "`offload_policy=`",
    "mixed_precision": "`mp_policy=`",
    "auto_wrap_policy": "a fully_shard call for each unit",
    "ignored_modules": "`ignored_params=`",
    "ignored_states": "`ignored_params=`",
    "param_init_fn": "memory and values for each unit before it is sharded",
    "sync_module_states": "a broadcast of the first rank's weights",
}

OFFLOADED_SUMS = (
    "; with CPU offload FSDP1's sums of microbatches that are reduced one by one are documented to "
    "be wrong, FSDP2's are right"
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace the constructor call that `use` is the callee of."""
    plan = plan_of(use, facts)
    if plan is None or use.name != FSDP1:
        return
    unit = facts.models(plan.models)
    shim = ReplaceExpression(use.module.span(use.node), FROM_FSDP1)
    if plan.unknown or "module" not in plan.fact.arguments:
        words = ", ".join(f"`{name}`" for name in plan.unknown) or "no module"
        yield finding(
            RULE,
            use,
            f"this FSDP call has {words} and can't run under FSDP1 either; correct or remove it",
            tier=Tier.SHIM,  # whose function refuses the call just as FSDP1 does
            models=unit,
            edits=[shim],
        )
        return
    if plan.native:
        edits = native_form(facts, plan)
        message, tier = "fully_shard(...)", Tier.NATIVE
        if plan.parts.residues:
            message, tier = f"fully_shard(...), {_left(plan)}", Tier.SHIM
            edits += types_inside(facts, plan)
    else:
        message, tier = f"fully_shard_from_fsdp1(...): {plan.reason}", Tier.SHIM
        edits = [shim, *types_inside(facts, plan)]
    if tier is Tier.SHIM and facts.options.runtime == "never":
        message += f".  Without the shim, write {_instead(plan)}"
    sums = _offloads(plan, facts) and reduced_each_time(facts)
    yield finding(
        RULE,
        use,
        f"FSDP(...) becomes {message}{OFFLOADED_SUMS if sums else ''}",
        tier=tier,
        edits=edits,
        safety=Safety.UNSAFE if sums else Safety.SAFE,
        models=unit,
    )
    for note in _notes(use, plan, facts):
        yield finding(RULE, use, note, tier=Tier.NOTE, models=unit)


def _left(plan: WrapPlan) -> str:
    """Which values only the run knows, and what says then what they mean."""
    left: dict[str, list[str]] = {}
    for residue in plan.parts.residues:
        words = f"`{residue.parameter}`: {residue.words}{residue.origin}"
        left.setdefault(residue.function, []).append(words)
    return "; ".join(f"with {name}() for {', '.join(all_)}" for name, all_ in left.items())


def _instead(plan: WrapPlan) -> str:
    """What to write by hand for the values that only the run knows, or for the whole call."""
    if not plan.native:
        return PLAINLY
    return "; ".join(dict.fromkeys(BY_HAND[residue.function] for residue in plan.parts.residues))


def _left_out(use: Use, plan: WrapPlan) -> str:
    """What goes because of how the program is configured, and how FSDP2 would be told of it."""
    nodes = {name: plan.arguments[name].node for name in plan.left_out}
    gone = [f"`{name}={use.module.text(node)}`" for name, node in nodes.items() if node is not None]
    instead = ", ".join(dict.fromkeys(SAID_BY[name] for name in plan.left_out))
    return (
        f"nothing in the project turns on {', '.join(gone)}, and FSDP2 is not told of it: "
        f"for other values, write {instead}"
    )


def _offloads(plan: WrapPlan, facts: Facts) -> bool:
    """Whether parameters may be kept on the CPU."""
    given = plan.fact.arguments.get("cpu_offload")
    return given is not None and not is_none(given.value)


def _notes(use: Use, plan: WrapPlan, facts: Facts) -> Iterator[str]:
    if plan.members == {"NO_SHARD"}:
        yield (
            "NO_SHARD becomes a (world, 1) mesh, which trains the same; "
            "DistributedDataParallel is the leaner choice"
        )
    if plan.parts.offload is not None and not has_cpu_backend(facts):
        yield (
            "with CPU offload, clipping and full state dicts need a CPU backend too: "
            'init_process_group("cpu:gloo,cuda:nccl")'
        )
    if plan.left_out:
        yield _left_out(use, plan)
    precision = plan.parts.precision
    if plan.native and precision is not None and precision.saves_cast:
        yield (
            "if the model has persistent buffers, its state dicts hold them in the dtype that they "
            "are cast to; FSDP1 saved them in their own"
        )
    device = plan.parts.device
    if plan.native and device is not None and not plan.sets_device:
        yield (
            "FSDP2 shards onto the current device: call torch.cuda.set_device() with "
            f"`{use.module.text(device.node)}` first, if nothing does"
        )


EITHER = (Tier.NATIVE, Tier.SHIM)
PARAMETERS = {
    "module": ("the module, sharded in place", EITHER),
    "process_group": ("`mesh=DeviceMesh.from_group(...)`", EITHER),
    "sharding_strategy": ("`reshard_after_forward=` and `mesh=`", EITHER),
    "cpu_offload": ("`offload_policy=`", EITHER),
    "auto_wrap_policy": ("a `fully_shard` call a unit", EITHER),
    "backward_prefetch": ("nothing: the order is the same", EITHER),
    "mixed_precision": ("`mp_policy=`, and a cast of the buffers", EITHER),
    "ignored_modules": ("`ignored_params=`", EITHER),
    "param_init_fn": ("each unit is materialised before it is sharded", EITHER),
    "device_id": ("nothing: units go to the mesh's device", EITHER),
    "sync_module_states": ("a broadcast by `set_model_state_dict`", EITHER),
    "forward_prefetch": ("nothing: values are the same", EITHER),
    "limit_all_gathers": ("nothing: FSDP2 needs no limit", EITHER),
    "use_orig_params": ("nothing: parameters are the original ones", EITHER),
    "ignored_states": ("`ignored_params=`", (Tier.SHIM,)),
    "device_mesh": ("`mesh=`", EITHER),
}

RULE = Rule(
    code="FSDP101",
    name="constructor",
    summary="`FullyShardedDataParallel(...)` becomes `fully_shard(...)`, unit by unit",
    why="FSDP2 shards a module in place; units are sharded before the module that holds them.",
    fix_safety=(
        "Safe: the same units communicate the same parameters in the same order, so losses, "
        "gradients and parameters stay bit for bit the same on two ranks.  Unsafe with CPU offload "
        "where microbatches are reduced one by one.  Two things no program says: that all "
        "parameters of a unit take part in each step (FSDP1 gave the others gradients of zero, "
        "FSDP2 gives none), and for HYBRID_SHARD that a node has more than one GPU (FSDP1 reduced "
        "nothing over groups of one rank)."
    ),
    needs=(
        "no parameter is taken from the model before the wrap and used after it",
        "all that works on the model is migrated with it",
        "the wrapper is PyTorch's own class, not a subclass of it",
        "gradients of offloaded parameters aren't reduced more than once a step",
    ),
    check=check,
    symbols=(FSDP1,),
    surfaces=(
        Surface("FullyShardedDataParallel", "`fully_shard`", EITHER),
        *(
            Surface(f"FullyShardedDataParallel({name}=)", becomes, tiers)
            for name, (becomes, tiers) in PARAMETERS.items()
        ),
    ),
    references=("https://docs.pytorch.org/tutorials/intermediate/FSDP_tutorial.html",),
    examples=(
        Example(
            before="""\
import torch
from model import Block, Transformer
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

model = FSDP(
    Transformer(),
    auto_wrap_policy=ModuleWrapPolicy({Block}),
    device_id=torch.cuda.current_device(),
    limit_all_gathers=True,
)
""",
            after="""\
from model import Block, Transformer
from torch.distributed.fsdp import fully_shard

model = Transformer()
for module in model.modules():
    if isinstance(module, Block):
        fully_shard(module)
fully_shard(model)
""",
        ),
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def shard(model, config):
    return FSDP(model, **config.fsdp)
""",
            after="""\
from fsdp_migrate.runtime import fully_shard_from_fsdp1

def shard(model, config):
    return fully_shard_from_fsdp1(model, **config.fsdp)
""",
        ),
    ),
)
