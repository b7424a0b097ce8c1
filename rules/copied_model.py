"""`copy.deepcopy(model.module)`: FSDP2's modules refuse to be copied, and to be pickled.

Under FSDP1 it was the wrapper that couldn't be copied; the module inside of it could, whole inside
of `summon_full_params`.  The two are one object now.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts
from fsdp_migrate.rule.queries.bare_modules import may_be_bare
from fsdp_migrate.rule.queries.models import models_at, wrapped_above
from fsdp_migrate.rule.queries.parameters import called, calls, is_summoned
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses

COPY = Name(RUNTIME, "copy_module")
COPYING = frozenset({"copy.deepcopy"})
PICKLING = frozenset(
    {"cloudpickle.dumps", "dill.dumps", "pickle.dump", "pickle.dumps", "torch.save"}
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look for copies of what is inside of a wrapper."""
    for module, call in calls(facts):
        names = called(facts, call)
        if not names & (COPYING | PICKLING) or not call.args:
            continue
        given = call.args[0]
        models = models_at(facts, given) or wrapped_above(facts, module, given)
        if not models or not may_be_bare(facts, module, given):
            continue
        if names & COPYING and len(call.args) == 1 and is_summoned(facts, module, call):
            yield finding_at(
                RULE,
                module,
                call,
                "FSDP2's modules refuse to be copied; the copy is made by the shim, of the module "
                "as it was before it was sharded",
                tier=Tier.SHIM,
                edits=[ReplaceExpression(module.span(call.func), COPY)],
                models=facts.models(models),
            )
            continue
        done = "copied" if names & COPYING else "pickled"
        yield finding_at(
            RULE,
            module,
            call,
            f"the module inside of an FSDP1 model could be {done}; it is FSDP2's model now, which "
            "refuses that.  Make the module once more, and load what get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True)) gives on every rank; or copy the "
            "module before it is sharded",
            tier=Tier.MANUAL,
            models=facts.models(models),
        )


RULE = Rule(
    code="FSDP521",
    name="copied-model",
    summary="the module inside of the wrapper is copied or pickled",
    why=(
        "`fully_shard` gives the module itself another class, whose objects can't be copied.  "
        "FSDP1 put a wrapper around it, and left it a plain module."
    ),
    left=(
        "A copy outside of summon_full_params.  Copy the module before it is sharded, or make "
        "it once more and load what get_model_state_dict gives with full_state_dict=True."
    ),
    by_hand=("copy the module before it is sharded, and shard the copy as well"),
    fix_safety=(
        "Safe where the model is summoned: the copy has the same whole parameters, buffers and "
        "hooks.  Elsewhere there is no fix: how the module is made is for a person to say."
    ),
    needs=("the model is summoned where it is copied",),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fully_shard.py",
    ),
    examples=(
        Example(
            before="""\
import copy

from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def plain_copy(net):
    model = FSDP(net)
    with FSDP.summon_full_params(model, writeback=False):
        return copy.deepcopy(model.module)
""",
            after="""\
from fsdp_migrate.runtime import copy_module, summon_full_params
from torch.distributed.fsdp import fully_shard


def plain_copy(net):
    model = fully_shard(net)
    with summon_full_params(model, writeback=False):
        return copy_module(model)
""",
        ),
    ),
)
