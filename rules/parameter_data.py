"""`p.data = ...` on a sharded parameter becomes `p.data.copy_(...)`.

FSDP2 keeps the shard in a buffer of its own and ignores an assignment to `.data`, without a
message.  Writing into the parameter works.  It is the same as the assignment as long as nothing
holds on to the old tensor: `old = p.data` before it would see the new values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.findings.code import Kept, code
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.held_data import (
    is_computed_from,
    is_gradient,
    is_parameter,
    keeps_data,
    sharded_owners,
)
from fsdp_migrate.rule.queries.moved_parameters import is_move
from fsdp_migrate.rule.queries.parameters import (
    called,
    is_summoned,
    model_of,
    modules,
    owners,
    use_orig_params,
)
from fsdp_migrate.rule.queries.sharded_copies import has_own_memory, is_sharded_copy
from fsdp_migrate.rule.queries.swapped_data import copied_in, put_back
from fsdp_migrate.rule.queries.values import literals
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module

# Functions that assign to the `.data` of the parameters that they are given.
FILLING = frozenset(
    {
        "torch.nn.utils.vector_to_parameters",
        "torch.nn.utils.convert_parameters.vector_to_parameters",
    }
)


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at assignments to `.data`, of parameters and of a model's attributes."""
    for module in modules(facts):
        for node in module.parents:
            if isinstance(node, ast.Assign):
                if is_move(facts, node) or put_back(facts, module, node) is not None:
                    continue
                for target in node.targets:
                    if isinstance(target, ast.Attribute):
                        yield from _assigned(facts, module, node, target)
                    elif isinstance(target, ast.Tuple | ast.List):
                        yield from _swapped(facts, module, node, target)
            elif isinstance(node, ast.Call):
                yield from _called(facts, module, node)


def _assigned(
    facts: Facts, module: Module, node: ast.Assign, target: ast.Attribute
) -> Iterable[Finding]:
    if target.attr == "data":
        models = sharded_owners(facts, module, target.value)
        if models and is_gradient(facts, module, target.value):
            yield _gradient(facts, module, node, target, facts.models(models))
        elif models and not is_summoned(facts, module, node):
            trained = all(use_orig_params(facts, wrapped) for wrapped in models)
            yield _data(facts, module, node, target, trained, facts.models(models))
    elif is_parameter(facts, node.value):
        models = model_of(facts, target)
        if models and not is_summoned(facts, module, node):
            yield finding_at(
                RULE,
                module,
                node,
                "FSDP2 goes on using the shard that it has, and ignores a parameter put in its "
                "place: do it before fully_shard, or write into the parameter that is there",
                tier=Tier.MANUAL,
                models=facts.models(models),
            )


def _swapped(
    facts: Facts, module: Module, node: ast.Assign, targets: ast.Tuple | ast.List
) -> Iterable[Finding]:
    """`p.data, q.data = q.data, p.data`."""
    models = [
        model
        for target in targets.elts
        if isinstance(target, ast.Attribute) and target.attr == "data"
        for model in sharded_owners(facts, module, target.value)
    ]
    if models and not is_summoned(facts, module, node):
        yield _by_hand(facts.models(models), module, node)


def _called(facts: Facts, module: Module, call: ast.Call) -> Iterable[Finding]:
    """Functions that assign: `setattr(p, "data", value)`, `vector_to_parameters`."""
    names = called(facts, call)
    if names & FILLING and len(call.args) == 2:
        models = owners(facts, call.args[1])
        if models and not is_summoned(facts, module, call):
            yield _by_hand(facts.models(models), module, call)
    if "builtins.setattr" not in names or len(call.args) != 3:
        return
    parameter, name, value = call.args
    models = sharded_owners(facts, module, parameter)
    if not models or literals(facts.value(name)) != ["data"] or is_summoned(facts, module, call):
        return
    units = facts.models(models)
    computed = is_computed_from(value, parameter) or (
        has_own_memory(value) and is_sharded_copy(facts, module, value)
    )
    if not computed or keeps_data(facts, module, but=copied_in(facts, module)):
        yield _by_hand(units, module, call)
        return
    copied = code(
        "{parameter}.data.copy_({value})",
        parameter=Kept(module.span(parameter)),
        value=Kept(module.span(value)),
    )
    yield finding_at(
        RULE,
        module,
        call,
        "an assignment to .data is ignored by FSDP2; the values are copied into it",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(module.span(call), copied)],
        models=units,
    )


def _gradient(
    facts: Facts, module: Module, node: ast.Assign, target: ast.Attribute, units: frozenset[str]
) -> Finding:
    """`p.grad.data = value`, which is `p.grad = value` for a value that is sharded like it."""
    if not is_computed_from(node.value, target.value) or len(node.targets) != 1:
        return _by_hand(units, module, node)
    span, kept = module.span(target), Kept(module.span(target.value))
    edit: Edit = ReplaceExpression(span, kept)
    if not isinstance(target.value, ast.Attribute):  # a variable would be bound, and nothing else
        value = Kept(module.span(node.value))
        copied = code("{gradient}.copy_({value})", gradient=kept, value=value)
        edit = ReplaceStatement(module.span(node), copied)
    return finding_at(
        RULE,
        module,
        node,
        "an assignment to .data leaves a DTensor as it is: the gradient itself is assigned",
        tier=Tier.NATIVE,
        edits=[edit],
        models=units,
    )


def _by_hand(units: frozenset[str], module: Module, node: ast.AST) -> Finding:
    return finding_at(
        RULE,
        module,
        node,
        "FSDP2 ignores an assignment to .data, without a message.  Write into the parameter: "
        "`p.data.copy_(value)` with a value that is sharded like it "
        "(`distribute_tensor(full, p.device_mesh, p.placements)`), after cloning what you mean "
        "to put back later",
        tier=Tier.MANUAL,
        models=units,
    )


def _data(
    facts: Facts,
    module: Module,
    node: ast.Assign,
    target: ast.Attribute,
    trained: bool,
    units: frozenset[str],
) -> Finding:
    computed = is_computed_from(node.value, target.value)
    known = len(node.targets) == 1 and (computed or is_sharded_copy(facts, module, node.value))
    if not known or keeps_data(facts, module, but=copied_in(facts, module)):
        return _by_hand(units, module, node)
    safety, more = Safety.SAFE, ""
    if not computed and not has_own_memory(node.value):
        safety = Safety.UNSAFE
        more = "; FSDP1 left the two one tensor until the next forward"
    if not trained:
        safety = Safety.UNSAFE
        more = "; FSDP1 without use_orig_params lost part of what was assigned"
    copied = code(
        "{data}.copy_({value})",
        data=Kept(module.span(target)),
        value=Kept(module.span(node.value)),
    )
    return finding_at(
        RULE,
        module,
        node,
        f"an assignment to .data is ignored by FSDP2; the values are copied into it{more}",
        tier=Tier.NATIVE,
        safety=safety,
        edits=[ReplaceStatement(module.span(node), copied)],
        models=units,
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
        "Safe with `use_orig_params=True`: the same values at the same time, bit for bit, where "
        "what is assigned is computed from the parameter, or is proven to be copied from "
        "parameters of the model.  Unsafe without it, where FSDP1 lost part of what was assigned, "
        "and where the value may be a tensor that something else goes on changing."
    ),
    left=(
        "Where the value isn't known to be sharded like the parameter: write "
        "p.data.copy_(distribute_tensor(full, p.device_mesh, p.placements)), or put it there "
        "before fully_shard."
    ),
    needs=(
        "FSDP1 kept the parameters that it was given (`use_orig_params=True`)",
        "the value is sharded like the parameter",
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
