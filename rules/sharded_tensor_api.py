"""ShardedTensor's methods on the values of sharded state dicts, which are DTensors now.

https://docs.pytorch.org/docs/stable/distributed.tensor.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, Part, code
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.parameters import called, calls, modules
from fsdp_migrate.rule.queries.sharded_tensor_api import (
    DTENSOR,
    asked,
    comes_of_state,
    every_model,
)
from fsdp_migrate.rule.queries.values import library_name, literals
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

CLASS = "torch.distributed._shard.sharded_tensor"
UNPROVEN = "; a value from elsewhere, of a file say, may be a ShardedTensor still"
INSTEAD = {
    "gather": "`value.full_tensor()` gives the whole on every rank",
    "local_shards": "`value.to_local()` is this rank's one shard, a tensor",
    "metadata": "`value.device_mesh`, `value.placements` and `value.shape` tell how it is cut",
    "remote_shards": "the other ranks have the other parts of `value.placements`",
    "sharding_spec": "`value.device_mesh` and `value.placements` tell how it is cut",
}


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at the methods, and at tests for the class."""
    for module in modules(facts):
        for found in asked(facts, module):
            instead = INSTEAD.get(found.method, "`value.to_local()` is this rank's part")
            yield finding_at(
                RULE,
                module,
                found.call,
                f"`.{found.method}()` is ShardedTensor's, and the values of state dicts are "
                f"DTensors now: {instead}"
                f"{UNPROVEN if found.edits is not None and not found.is_proven else ''}",
                tier=Tier.MANUAL if found.edits is None else Tier.NATIVE,
                safety=Safety.SAFE if found.is_proven else Safety.UNSAFE,
                edits=found.edits or (),
                models=every_model(facts),
            )
    for module, call in calls(facts):
        names = called(facts, call)
        if names == {"builtins.isinstance"} and len(call.args) == 2:
            for node in nodes_in(call.args[1]):
                if not isinstance(node, ast.expr):
                    continue
                name = library_name(facts.value(node))
                if name is not None and name.startswith(f"{CLASS}."):
                    yield _test(facts, module, node, call.args[0], DTENSOR)
        elif names == {"builtins.hasattr"} and len(call.args) == 2:
            if literals(facts.value(call.args[1])) == ["local_shards"]:
                value = Kept(module.span(call.args[0]))
                test = code("isinstance({value}, {dtensor})", value=value, dtensor=DTENSOR)
                yield _test(facts, module, call, call.args[0], test)


def _test(facts: Facts, module: Module, node: ast.expr, asked_of: ast.expr, new: Part) -> Finding:
    """A test for ShardedTensors, which becomes one for DTensors."""
    proven = comes_of_state(facts, module, asked_of)
    return finding_at(
        RULE,
        module,
        node,
        f"the values of sharded state dicts are DTensors now{'' if proven else UNPROVEN}",
        tier=Tier.NATIVE,
        safety=Safety.SAFE if proven else Safety.UNSAFE,
        edits=[ReplaceExpression(module.span(node), new)],
        models=every_model(facts),
    )


RULE = Rule(
    code="FSDP532",
    name="sharded-tensor-api",
    summary="`value.local_shards()` and the like of ShardedTensor become DTensor's",
    why=(
        "FSDP1's sharded state dicts had ShardedTensors, with a list of shards each.  FSDP2's have "
        "DTensors, of which a rank has one part."
    ),
    fix_safety=(
        "Safe: a rank has one shard at most, cut along the first dimension in both.  Where a rank "
        "has none, FSDP1's list was empty and the DTensor's part is an empty tensor.  Unsafe where "
        "the value isn't known to be of a migrated model's state dict: files that FSDP1 wrote have "
        "ShardedTensors."
    ),
    left=(
        "Methods that DTensor has nothing for: value.to_local() is this rank's part, "
        "value.full_tensor() the whole, and value.placements with value.device_mesh say how it "
        "is cut."
    ),
    needs=(
        "the value is of a migrated model's state dict",
        "what is tested is a value of a migrated model's state dict",
        "nothing but the tensor of the one shard is asked for",
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.tensor.html",
        "torch/distributed/_shard/sharded_tensor/api.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType


def shards(net):
    model = FSDP(net)
    FSDP.set_state_dict_type(model, StateDictType.SHARDED_STATE_DICT)
    return {k: v.local_shards()[0].tensor for k, v in model.state_dict().items()}
""",
            after="""\
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.fsdp import fully_shard


def shards(net):
    model = fully_shard(net)
    return {k: v.to_local() for k, v in get_model_state_dict(model).items()}
""",
        ),
    ),
)
