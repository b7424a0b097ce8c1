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

from fsdp_migrate.analysis.library.fsdp1 import FSDP_METHODS
from fsdp_migrate.analysis.values import Bound, Instance, Symbol, Wrapped
from fsdp_migrate.findings.finding import (
    Finding,
    Import,
    InsertStatements,
    ReplaceExpression,
    Safety,
    Tier,
)
from fsdp_migrate.rule.queries.parameters import is_summoned
from fsdp_migrate.rule.rule import (
    Example,
    Facts,
    Rule,
    Surface,
    Use,
    call_parts,
    finding,
    finding_at,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site, Span


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace one `model.forward`."""
    assert use.receiver is not None
    units = facts.units(use.wraps)
    if not use.wraps:
        return
    if use.call is None:
        parent = use.module.parents[use.node]
        if isinstance(parent, ast.Call) and _asks_signature(facts, parent):
            return
        yield finding(
            RULE,
            use,
            "forward is taken as a value; FSDP2 gathers parameters when the model is called: "
            'use the model itself, or register_fsdp_forward_method(model, "forward")',
            tier=Tier.MANUAL,
            units=units,
        )
        return
    span, text = use.module.span(use.node), "{0}"
    holes: tuple[Span, ...] = (use.module.span(use.receiver),)
    if use.unbound:
        given, holes = call_parts(use.module, use, use.receiver)  # FSDP.forward(model, ...)
        span, text = use.module.span(use.call), f"{{0}}({given})"
    yield finding(
        RULE,
        use,
        "model.forward(...) becomes model(...), which gathers the parameters",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(span, text, holes)],
        units=units,
    )


def _asks_signature(facts: Facts, call: ast.Call) -> bool:
    return any(
        isinstance(a, Symbol) and a.name.startswith(("inspect.", "builtins."))
        for a in facts.value(call.func)
    )


def survey(facts: Facts) -> Iterator[Finding]:
    """Calls of methods of the wrapped class that use its parameters or submodules."""
    if not facts.solver.wraps:
        return
    for site, call in facts.solver.call_nodes.items():
        module = facts.solver.project.modules[site.module]
        func = call.func
        if not module.rewrite or not isinstance(func, ast.Attribute):
            continue
        wraps = facts.solver.wrapped(facts.value(func.value))
        if not wraps or func.attr in FSDP_METHODS or func.attr.startswith("__"):
            continue
        methods = {
            atom.func.site
            for atom in facts.value(func)
            if isinstance(atom, Bound) and isinstance(atom.receiver, Instance)
        }
        if not any(_runs_model(facts, method) for method in methods):
            continue
        if is_summoned(facts, module, call):
            continue
        place = _after_wrap(facts, wraps)
        if place is not None:
            home, statement, model = place
            register = f'register_fsdp_forward_method({model}, "{func.attr}")'
            made = finding_at(
                RULE,
                home,
                call,
                f"{func.attr} uses the model's parameters without calling the model, which "
                f"NO_SHARD allowed: {register}; gradients that come through it are reduced now",
                tier=Tier.NATIVE,
                safety=Safety.UNSAFE,
                edits=[InsertStatements(home.span(statement), register, after=True)],
                imports=[Import(ROOT, "register_fsdp_forward_method")],
                units=facts.units(wraps),
            )
            span = module.span(call)
            yield replace(made, path=module.path, line=span.line, col=span.col + 1)
            continue
        yield finding_at(
            RULE,
            module,
            call,
            f"{func.attr} uses the model's parameters without calling the model: FSDP1 gathered "
            "none for it.  If it is to work under FSDP2, call "
            f'register_fsdp_forward_method(model, "{func.attr}") after fully_shard(model)',
            tier=Tier.NOTE,
            units=facts.units(wraps),
        )


def _after_wrap(facts: Facts, wraps: set[Wrapped]) -> tuple[Module, ast.stmt, str] | None:
    """Where to register methods of an unsharded model, and what it is called there."""
    if len(wraps) != 1:
        return None
    plan = facts.plan(next(iter(wraps)))
    if plan is None or plan.members != {"NO_SHARD"} or plan.shape != "assign":
        return None
    module = plan.fact.module
    statement = module.statement(plan.fact.node)
    if not module.rewrite or not isinstance(statement, ast.Assign):
        return None
    return module, statement, path_of(statement.targets[0]) or ""


def _runs_model(facts: Facts, method: Site) -> bool:
    """Whether a method calls submodules or reads parameters of its own object."""
    info = facts.solver.functions[method]
    names = [*info.node.args.posonlyargs, *info.node.args.args]
    if not names or isinstance(info.node, ast.Lambda) or "staticmethod" in info.decorators:
        return False
    for node in ast.walk(info.node):
        if not isinstance(node, ast.Attribute) or path_of(node.value) != names[0].arg:
            continue
        parent = info.module.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        for atom in facts.value(node):
            is_part = isinstance(atom, Instance | Wrapped) and (
                isinstance(atom, Wrapped) or facts.solver.is_module(atom)
            )
            library = getattr(atom, "symbol", "")
            is_part = is_part or library.startswith("torch.nn.")
            if is_part and (called or library == "torch.nn.Parameter"):
                return True
    return False


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
