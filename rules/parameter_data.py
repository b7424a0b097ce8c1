"""`p.data = ...` on a sharded parameter becomes `p.data.copy_(...)`.

FSDP2 keeps the shard in a buffer of its own and ignores an assignment to `.data`, without a
message.  Writing into the parameter works.  It is the same as the assignment as long as nothing
holds on to the old tensor: `old = p.data` before it would see the new values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import Const, Result, Wrapped, constants
from fsdp_migrate.findings.finding import Finding, ReplaceStatement, Safety, Tier
from fsdp_migrate.rule.queries.parameters import is_summoned, modules, own_path, owners
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

SAME = frozenset({"data", "detach"})  # what gives the parameter's own storage
COPIES = frozenset(
    {
        "abs", "clamp", "clip", "clone", "div", "exp", "maximum", "minimum", "mul", "neg", "pow",
        "round", "sign", "sqrt", "sub", "add", "lerp", "sigmoid", "tanh", "where", "zeros_like",
        "ones_like", "full_like", "randn_like", "rand_like", "nan_to_num",
    }
)  # fmt: skip


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at assignments to `.data`, of parameters and of a model's attributes."""
    for module in modules(facts, ".data = ", ".data=", "Parameter("):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if not isinstance(target, ast.Attribute):
                        continue
                    if target.attr == "data":
                        model = owners(facts, target.value) or _model_of(facts, target.value)
                        if model and not is_summoned(facts, module, node):
                            yield _settle(facts, module, node, target, model)
                    elif _is_parameter(facts, node.value):
                        model = _model_of(facts, target)
                        if model and not is_summoned(facts, module, node):
                            yield _replaced(facts, module, node, model)


def _is_parameter(facts: Facts, node: ast.expr) -> bool:
    return any(
        isinstance(a, Result) and a.symbol == "torch.nn.Parameter" for a in facts.value(node)
    )


def _replaced(facts: Facts, module: Module, node: ast.Assign, model: frozenset[Wrapped]) -> Finding:
    return finding_at(
        RULE,
        module,
        node,
        "FSDP2 goes on using the shard that it has, and ignores a parameter put in its place: do "
        "it before fully_shard, or write into the parameter that is there",
        tier=Tier.MANUAL,
        units=facts.units(model),
    )


def _model_of(facts: Facts, node: ast.expr) -> frozenset[Wrapped]:
    """The FSDP models that `model.layer.weight` is a parameter of."""
    while isinstance(node, ast.Attribute):
        node = node.value
        found = facts.solver.wrapped(facts.value(node))
        if found:
            return frozenset(found)
    return frozenset()


def _settle(
    facts: Facts,
    module: Module,
    node: ast.Assign,
    target: ast.Attribute,
    model: frozenset[Wrapped],
) -> Finding:
    units = facts.units(model)
    if len(node.targets) == 1 and _is_new(node.value, target) and not _is_held(facts, module):
        safety, more = Safety.SAFE, ""
        if not all(_keeps_parameters(facts, wrapped) for wrapped in model):
            safety = Safety.UNSAFE
            more = (
                "; FSDP1 without use_orig_params lost part of what was assigned "
                "(losses 1e-4 apart after four steps)"
            )
        return finding_at(
            RULE,
            module,
            node,
            f"an assignment to .data is ignored by FSDP2; the values are copied into it{more}",
            tier=Tier.NATIVE,
            safety=safety,
            edits=[
                ReplaceStatement(
                    module.span(node),
                    "{0}.copy_({1})",
                    (module.span(target), module.span(node.value)),
                )
            ],
            units=units,
        )
    return finding_at(
        RULE,
        module,
        node,
        "FSDP2 ignores an assignment to .data, without a message.  Write into the parameter: "
        "`p.data.copy_(value)` with a value that is sharded like it "
        "(`distribute_tensor(full, p.device_mesh, p.placements)`), after cloning what you mean to "
        "put back later",
        tier=Tier.MANUAL,
        units=units,
    )


def _keeps_parameters(facts: Facts, wrapped: Wrapped) -> bool:
    """Whether FSDP1 ran with `use_orig_params=True`, for sure."""
    plan = facts.plan(wrapped)
    argument = plan.fact.arguments.get("use_orig_params") if plan is not None else None
    return argument is not None and constants(argument.value) == [True]


def _is_new(value: ast.expr, target: ast.Attribute) -> bool:
    """Whether `value` is computed from the parameter, into a tensor of its own."""
    own = own_path(target.value)
    if not own or own not in {own_path(node) for node in ast.walk(value)}:
        return False
    if isinstance(value, ast.BinOp | ast.UnaryOp):
        return True
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else own_path(value.func)
    return name in COPIES


def _is_held(facts: Facts, module: Module) -> bool:
    """Whether something keeps the storage of a parameter: `old = p.data`."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if node.attr not in SAME or not owners(facts, node.value):
            continue
        value: ast.AST = node
        parent = module.parents[node]
        if node.attr == "detach" and isinstance(parent, ast.Call):
            value, parent = parent, module.parents[parent]
        if isinstance(parent, ast.Attribute | ast.BinOp | ast.UnaryOp | ast.Compare):
            continue
        if isinstance(parent, ast.Call) and parent.func is not value and _is_torch(facts, parent):
            continue
        if isinstance(parent, ast.AugAssign):
            continue
        return True
    return False


def _is_torch(facts: Facts, call: ast.Call) -> bool:
    """Whether `call` computes with its arguments, or copies them, and keeps none."""
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in COPIES or (call.func.attr.endswith("_") and call.args):
            return True
    value = facts.value(call.func) - {Const.of(None)}
    return bool(value) and all(
        str(getattr(atom, "name", "")).startswith(("torch.", "builtins.")) for atom in value
    )


RULE = Rule(
    code="FSDP503",
    name="parameter-data",
    summary="`p.data = ...` becomes `p.data.copy_(...)`",
    why=(
        "FSDP2 holds each shard in a buffer of its own.  An assignment to `.data` is ignored: no "
        "error, the value unchanged, the forward unchanged."
    ),
    fix_safety=(
        "Safe with `use_orig_params=True`: the same values at the same time, bit for bit.  Unsafe "
        "without it, where FSDP1 lost part of what was assigned."
    ),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_fully_shard/_fsdp_param.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def clamp(model, bound):
    model = FSDP(model, use_orig_params=True)
    for p in model.parameters():
        p.data = p.data.clamp(-bound, bound)
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def clamp(model, bound):
    fully_shard(model)
    for p in model.parameters():
        p.data.copy_(p.data.clamp(-bound, bound))
""",
        ),
    ),
)
