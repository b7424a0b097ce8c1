"""Parameters that are read after a forward pass without a backward pass.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

A forward leaves the root's parameters gathered until the backward.  FSDP2 shows them as plain
tensors that long: an optimizer that is built then holds those, and never updates the shards; a
state dict that is loaded has other shapes; `zero_grad` misses the gradients of the shards.
`reshard()` where the evaluation ends puts the sharded parameters back.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdp_migrate.findings.code import Code, Kept, Name, block, code, qualified, variable
from fsdp_migrate.findings.edits import Edit, InsertStatements, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.evaluation_ends import (
    After,
    Ending,
    Named,
    Place,
    WithinReturn,
    endings,
)
from fsdp_migrate.rule.queries.gathered import walk
from fsdp_migrate.rule.queries.models import has_models
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

MODULE = Name(ROOT, "FSDPModule")
NN_MODULE = qualified("torch.nn.Module")
UNIT = variable("module", "fsdp_module")
RESULT = variable("result", "evaluated")
STALE = (
    ".  They are also written before the next forward pass: FSDP1 ran that with the root's weights "
    "from before, FSDP2 now gathers the new ones"
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Follow the program from forward passes to what reads parameters."""
    if not has_models(facts) and not facts.uses:
        return
    for ending in endings(facts, walk(facts)):
        home, read = ending.first_read
        line = home.statement(read).lineno
        where = f"line {line}" if home is ending.module else f"{home.path}:{line}"
        fixed = bool(ending.places)
        more = STALE if fixed and ending.is_written else ""
        yield finding_at(
            RULE,
            ending.module,
            ending.anchor,
            f"a forward pass leaves parameters gathered until a backward pass, as plain tensors, "
            f"and {where}{_and_more(ending)} them: "
            + (
                "they are resharded first, and the next forward gathers them again"
                if fixed
                else "call `model.reshard()` in between"
            )
            + more,
            tier=Tier.NATIVE if fixed else Tier.MANUAL,
            safety=Safety.UNSAFE if more else Safety.SAFE,
            edits=list(_edits(ending, facts)) if fixed else [],
            models=facts.models(ending.models),
        )


def _and_more(ending: Ending) -> str:
    """The rest of what reads the parameters, where that is all one finding."""
    count = len(ending.more)
    if not count:
        return " reads"
    return f" and {count} other place{'s' if count > 1 else ''} read"


def _edits(ending: Ending, facts: Facts) -> Iterable[Edit]:
    reshard = block(*(_reshard(ending.module, named, facts) for named in ending.named))
    return [_edit(ending.module, place, reshard) for place in ending.places]


def _edit(module: Module, place: Place, reshard: Code) -> Edit:
    span = module.span(place.statement)
    if isinstance(place, WithinReturn):
        last = code(
            "{result} = {value}\n{reshard}\nreturn {result}",
            result=RESULT,
            value=Kept(module.span(place.value)),
            reshard=reshard,
        )
        return ReplaceStatement(span, last)
    return InsertStatements(span, reshard, after=isinstance(place, After))


def _reshard(module: Module, named: Named, facts: Facts) -> Code:
    """What puts the shards back: of the root, or of all units where those may be gathered."""
    model = Kept(module.span(named.node))
    plans = [facts.plan(wrapped) for wrapped in named.models]
    root_only = all(plan is not None and plan.keeps_unsharded is False for plan in plans)
    if root_only and (named.is_root or (named.may_be_no_module and named.is_itself)):
        reshard = code("{model}.reshard()", model=model)
    else:
        reshard = code(
            """\
for {unit} in {model}.modules():
    if isinstance({unit}, {fsdp_module}):
        {unit}.reshard()""",
            unit=UNIT,
            model=model,
            fsdp_module=MODULE,
        )
    if not named.may_be_no_module:
        return reshard
    return code(
        "if isinstance({model}, {cls}):\n    {reshard}",
        model=model,
        cls=MODULE if named.is_itself else NN_MODULE,
        reshard=reshard,
    )


RULE = Rule(
    code="FSDP510",
    name="gathered-parameters",
    summary="an evaluation puts the shards back where it ends, if something reads them later",
    why=(
        "FSDP2 keeps the root's parameters gathered from a forward to the next backward, as plain "
        "tensors in the place of the sharded ones."
    ),
    fix_safety=(
        "Safe: the next forward gathers what is resharded, as it would have.  The models are those "
        "that the forward is known to run; where they may be something else, only FSDP2's modules "
        "are resharded.  Unsafe where parameters are written between two forward passes without a "
        "backward pass: FSDP1 ran the second with what it had gathered for the first."
    ),
    left=(
        "Where it can't be told which model was run: call reshard() on the units after the "
        "evaluation, before parameters are read."
    ),
    needs=(
        "the model that is resharded is migrated",
        "nothing is written into parameters between two forward passes without a backward pass",
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py",
    ),
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build(model, batch):
    model = FSDP(model, use_orig_params=True)
    with torch.no_grad():
        print(model(batch).mean())
    return model, torch.optim.AdamW(model.parameters())
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def build(model, batch):
    fully_shard(model)
    with torch.no_grad():
        print(model(batch).mean())
    model.reshard()
    return model, torch.optim.AdamW(model.parameters())
""",
        ),
    ),
)
