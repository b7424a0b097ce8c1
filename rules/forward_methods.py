"""`model.forward(x)` becomes `model(x)`; other methods that run the model.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

FSDP2 gathers parameters in hooks of the module call.  FSDP1's wrapper had a `forward` of its own
that gathered them too.  Methods of the wrapped class ran without it, and failed wherever they
touched parameters of the root: FSDP2 can make them gather, one call a method.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from fsdp_migrate.findings.code import Kept, Literal, Part, call
from fsdp_migrate.findings.edits import InsertStatements, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.called_values import is_only_called
from fsdp_migrate.rule.queries.forward_methods import REGISTER, wrap_statement
from fsdp_migrate.rule.queries.method_calls import given
from fsdp_migrate.rule.queries.parameter_use import runs_beside_forward
from fsdp_migrate.rule.queries.parameters import called, calls, is_summoned
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, finding_at
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one `model.forward`."""
    assert use.receiver is not None
    if not use.wraps:
        return
    units = facts.models(use.wraps)
    model: Part = Kept(use.module.span(use.receiver))
    if use.call is None:
        if _is_plain(use) and is_only_called(facts, use.module, use.node):
            yield finding(
                RULE,
                use,
                "model.forward is only called: the model itself is, and gathers its parameters",
                tier=Tier.NATIVE,
                edits=[ReplaceExpression(use.module.span(use.node), model)],
                models=units,
            )
        elif not _asks_signature(use, facts):
            yield finding(
                RULE,
                use,
                "forward is taken as a value; FSDP2 gathers parameters when the model is called: "
                'use the model itself, or register_fsdp_forward_method(model, "forward")',
                tier=Tier.MANUAL,
                models=units,
            )
        return
    edit = ReplaceExpression(use.module.span(use.node), model)
    if not isinstance(use.node, ast.Attribute) or use.node.value is not use.receiver:
        # FSDP.forward(model, ...)
        edit = ReplaceExpression(use.module.span(use.call), call(model, *given(use)))
    yield finding(
        RULE,
        use,
        "model.forward(...) becomes model(...), which gathers the parameters",
        tier=Tier.NATIVE,
        edits=[edit],
        models=units,
    )


def _is_plain(use: Use) -> bool:
    """Whether it is written `model.forward`."""
    return isinstance(use.node, ast.Attribute) and use.node.value is use.receiver


def _asks_signature(use: Use, facts: Facts) -> bool:
    """Whether `model.forward` is given to a function that only looks at its signature."""
    parent = use.module.parents[use.node]
    return isinstance(parent, ast.Call) and any(
        name.startswith(("inspect.", "builtins.")) for name in called(facts, parent)
    )


def survey(facts: Facts) -> Iterator[Finding]:
    """Calls of methods of the wrapped class that use its parameters or submodules."""
    for module, method_call in calls(facts):
        func = method_call.func
        if not isinstance(func, ast.Attribute) or not models(facts.value(func.value)):
            continue
        if runs_beside_forward(facts, func) and not is_summoned(facts, module, method_call):
            yield _beside_forward(facts, module, method_call, func)


def _beside_forward(facts: Facts, module: Module, node: ast.Call, func: ast.Attribute) -> Finding:
    method = func.attr
    units = facts.models(models(facts.value(func.value)))
    wrap = wrap_statement(facts, func.value)
    if wrap is None or wrap.plan.members != {"NO_SHARD"}:
        return finding_at(
            RULE,
            module,
            node,
            f"{method} uses the model's parameters without calling the model: FSDP1 gathered "
            "none for it.  If it is to work under FSDP2, call "
            f'register_fsdp_forward_method(model, "{method}") after fully_shard(model)',
            tier=Tier.NOTE,
            models=units,
        )
    model = Kept(wrap.module.span(wrap.model))
    register = call(REGISTER, model, Literal(method))
    made = finding_at(
        RULE,
        wrap.module,
        node,
        f"{method} uses the model's parameters without calling the model, which NO_SHARD allowed: "
        f'register_fsdp_forward_method({path_of(wrap.model)}, "{method}"); gradients that come '
        "through it are reduced now",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE,
        edits=[InsertStatements(wrap.module.span(wrap.statement), register, after=True)],
        models=units,
    )
    span = module.span(node)
    return replace(made, path=module.path, line=span.line, col=span.col + 1)


RULE = Rule(
    code="FSDP407",
    name="forward-methods",
    summary="`model.forward(x)` becomes `model(x)`; methods beside `forward`",
    why=(
        "FSDP2 gathers parameters in the hooks of the module call, which a direct call of "
        "`forward` goes past."
    ),
    fix_safety=(
        "Safe: calling the model runs the same forward; its own hooks run as well.  Unsafe where "
        "a method is registered: FSDP1 did not reduce the gradients that came through it."
    ),
    left=(
        "Methods beside forward, and forward taken as a value: call "
        'register_fsdp_forward_method(model, "name") after fully_shard, or call the model '
        "itself."
    ),
    needs=("the receiver is an FSDP1 model",),
    check=check,
    survey=survey,
    methods=("forward",),
    surfaces=(
        Surface("FullyShardedDataParallel.forward", "`model(...)`", (Tier.NATIVE, Tier.MANUAL)),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fully_shard.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def step(model, batch):
    model = FSDP(model)
    return model.forward(batch)
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def step(model, batch):
    fully_shard(model)
    return model(batch)
""",
        ),
    ),
)
