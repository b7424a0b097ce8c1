"""`model.apply(fn)`: FSDP1 gathered the parameters for it, FSDP2 hands `fn` the shards.

Constants come out the same, random numbers and anything that looks at a whole weight do not.
The call goes into the shim's `summon_full_params`, which gathers them as FSDP1 did.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import Bound, Func, Method, Symbol, Unknown
from fsdp_migrate.findings.finding import Finding, ReplaceStatement, Tier
from fsdp_migrate.rule.queries.parameters import is_summoned
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding, runtime

TOUCHING = frozenset(
    {
        "bias", "data", "fill_", "init", "kaiming_normal_", "kaiming_uniform_", "named_parameters",
        "normal_", "orthogonal_", "parameters", "reset_parameters", "trunc_normal_", "uniform_",
        "weight", "xavier_normal_", "xavier_uniform_", "zero_", "_init_weights", "init_weights",
    }
)  # fmt: skip


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Gather the parameters for one call, if its function can have to do with them."""
    call = use.call
    if call is None or not use.wraps or len(call.args) + len(call.keywords) != 1:
        return
    function = call.args[0] if call.args else call.keywords[0].value
    if not _touches(facts, function) or is_summoned(facts, use.module, use.node):
        return
    assert use.receiver is not None
    span = use.module.span
    statement = use.module.parents[call]
    holes = (span(use.receiver), span(function))
    target = ""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = f"{use.module.text(statement.targets[0])} = "
    elif not isinstance(statement, ast.Expr):
        yield finding(
            RULE,
            use,
            "FSDP1 gathered the parameters for apply, FSDP2 hands it the shards: make it a "
            "statement inside summon_full_params of fsdp_migrate.runtime, or do it before "
            "fully_shard",
            tier=Tier.MANUAL,
            units=facts.units(use.wraps),
        )
        return
    template = f"with summon_full_params({{0}}):\n    {target}{{0}}.apply({{1}})"
    yield finding(
        RULE,
        use,
        "apply is given whole parameters by the shim, as FSDP1 did",
        tier=Tier.SHIM,
        edits=[ReplaceStatement(span(statement), template, holes)],
        imports=[runtime("summon_full_params")],
        units=facts.units(use.wraps),
    )


def _touches(facts: Facts, function: ast.expr) -> bool:
    """Whether a function that is applied to modules may look at their parameters."""
    value = facts.value(function)
    for atom in value:
        if isinstance(atom, Symbol):
            if atom.name.startswith(("torch.nn.init.", "builtins.")):
                return True
        elif isinstance(atom, Func | Bound):
            site = atom.func.site if isinstance(atom, Bound) else atom.site
            if facts.effects.mentions(facts.solver.functions[site].node, TOUCHING):
                return True
        elif isinstance(atom, Method | Unknown):
            return True
    return not value


RULE = Rule(
    code="FSDP408",
    name="apply-method",
    summary="`model.apply(init)` goes into the shim's `summon_full_params`",
    why="FSDP1's `apply` gathered each unit's parameters; FSDP2's is the plain module's.",
    fix_safety="Safe: the function sees whole parameters and its edits are kept, as before.",
    check=check,
    methods=("apply",),
    surfaces=(
        Surface(
            "FullyShardedDataParallel.apply",
            "`summon_full_params` of the shim around it",
            (Tier.SHIM,),
        ),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/fsdp.html",
        "torch/distributed/fsdp/fully_sharded_data_parallel.py",
    ),
    examples=(
        Example(
            before="""\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def init(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)


def build(model):
    model = FSDP(model)
    model.apply(init)
    return model
""",
            after="""\
from torch import nn
from fsdp_migrate.runtime import summon_full_params
from torch.distributed.fsdp import fully_shard


def init(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)


def build(model):
    fully_shard(model)
    with summon_full_params(model):
        model.apply(init)
    return model
""",
        ),
    ),
)
