"""`model.rank`, `model.compute_device` and the like: what FSDP1's constructor kept on the model."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import Kept, Name, Part, attribute, code, either
from fsdp_migrate.findings.edits import InsertStatements, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.kept_ranks import (
    ASKED,
    kept,
    kept_as,
    plans_of,
    wrap_statement,
)
from fsdp_migrate.rule.queries.model_attributes import (
    ADVICE,
    AskedByName,
    asked_by_name,
    ends_distributed,
    is_of_inner,
    is_repeatable,
    own_attributes,
    value_now,
)
from fsdp_migrate.rule.queries.parameters import attributes
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.rule.rule import Example, Rule, finding, finding_at
from fsdp_migrate.syntax.fsdp1_members import ATTRIBUTES
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.span import Site

CODE = "FSDP410"
OWN = tuple(name for name, account in ATTRIBUTES.items() if account.rule == CODE)
FSDP_MODULE = Name(ROOT, "FSDPModule")


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Replace what is read by where the value comes from, or say that it is gone."""
    assert use.receiver is not None
    if not use.wraps or is_of_inner(facts, use.module, use.receiver):
        return
    node, _ = _whole(use)
    new = _in_place(use, facts)
    if new is None:
        name = _kept_as(use, facts)
        if name is None:
            yield _lost(use, facts)
        if name in (None, use.name):
            return
        new = _either(use, facts, attribute(Kept(use.module.span(use.receiver)), name))
    yield finding(
        RULE,
        use,
        f"FSDP2's models have no {use.name}: the value comes from where FSDP1 had it from",
        tier=Tier.NATIVE,
        edits=[ReplaceExpression(use.module.span(node), new)],
        models=facts.models(use.wraps),
    )


def _in_place(use: Use, facts: Facts) -> Part | None:
    """What takes the place of an attribute, where the program can say it there."""
    assert use.receiver is not None
    node, path = _whole(use)
    new = _value(facts, use, node, path)
    if new is None or (_others(use, facts) and not use.others):
        return None
    return _either(use, facts, new)


def _others(use: Use, facts: Facts) -> frozenset[object]:
    """What else is asked, and may have the attribute itself."""
    assert use.receiver is not None
    return own_attributes(facts, facts.value(use.receiver) - use.wraps, use.name)


def _either(use: Use, facts: Facts, new: Part) -> Part:
    """`new` for FSDP2's models, and what stands there for what else may be asked."""
    assert use.receiver is not None
    if not _others(use, facts):
        return new
    return code(
        "{value} if isinstance({model}, {fsdp}) else {as_it_was}",
        value=new,
        model=Kept(use.module.span(use.receiver)),
        fsdp=FSDP_MODULE,
        as_it_was=_as_it_was(use, _whole(use)[1]),
    )


def _kept_as(use: Use, facts: Facts) -> str | None:
    """What is read is called on the model, if it can be set where that is sharded."""
    assert use.receiver is not None
    if not isinstance(use.node.ctx, ast.Load) or not is_repeatable(use.receiver):
        return None
    return kept_as(facts, use.module, use.receiver, use.wraps, use.name)


def _whole(use: Use) -> tuple[ast.expr, tuple[str, ...]]:
    """The expression that reads the attribute, or a field of it, and the names in it."""
    parent = use.module.parents[use.node]
    if isinstance(parent, ast.Attribute) and use.name in ("mixed_precision", "cpu_offload"):
        return parent, (use.name, parent.attr)
    return use.node, (use.name,)


def _as_it_was(use: Use, path: tuple[str, ...]) -> Part:
    assert use.receiver is not None
    part: Part = Kept(use.module.span(use.receiver))
    for name in path:
        part = attribute(part, name)
    return part


def _value(facts: Facts, use: Use, node: ast.expr, path: tuple[str, ...]) -> Part | None:
    """The new code, where the model needn't be asked and the answer is known."""
    assert use.receiver is not None
    if not isinstance(node.ctx, ast.Load):  # type: ignore[attr-defined]
        return None
    if not is_repeatable(use.receiver):
        return None
    if use.name in ASKED and ends_distributed(facts, use.module, node):
        return None
    return value_now(facts, use.module, node, use.wraps, path)


def _lost(use: Use, facts: Facts) -> Finding:
    return finding(
        RULE,
        use,
        _message(use.name),
        tier=Tier.MANUAL,
        models=facts.models(use.wraps),
    )


def _message(name: str) -> str:
    return f"FSDP2's models have no {name}: {ADVICE[name]}"


def survey(facts: Facts) -> Iterator[Finding]:
    """Attributes that are set, and those that are asked for by a name in a string."""
    for module, node in attributes(facts, OWN):
        found = models(facts.value(node.value))
        if found and not isinstance(node.ctx, ast.Load):
            yield finding_at(
                RULE,
                module,
                node,
                f"FSDP2 reads no {node.attr} of a model: what is set here has no effect",
                tier=Tier.MANUAL,
                models=facts.models(found),
            )
    for asked in asked_by_name(facts, OWN):
        yield _by_name(asked, facts)
    yield from _kept(facts)


def _kept(facts: Facts) -> Iterator[Finding]:
    """What is set on models for those that ask them, at each wrap."""
    asked: dict[Site, dict[str, Use]] = {}
    for use in facts.uses:
        if use.receiver is None or use.name not in ASKED or not use.wraps:
            continue
        if is_of_inner(facts, use.module, use.receiver) or _in_place(use, facts) is not None:
            continue
        name = _kept_as(use, facts)
        for plan in plans_of(facts, use.wraps) if name is not None else ():
            if plan is not None and name is not None:
                asked.setdefault(plan.fact.site, {}).setdefault(name, use)
    for site, names in asked.items():
        plan = facts.wraps[site]
        found = wrap_statement(plan)
        lines = kept(plan, {name: use.name for name, use in names.items()})
        if found is None or lines is None:
            continue
        read = next(iter(names.values()))
        place = f"{read.module.path.name}:{read.node.lineno}"
        yield finding_at(
            RULE,
            found.module,
            plan.fact.node,
            f"FSDP2's models have no {read.name}, which {place} reads: it is set below the wrap",
            tier=Tier.NATIVE,
            edits=[InsertStatements(found.module.span(found.statement), lines, after=True)],
            models=facts.models(plan.models),
        )


def _by_name(asked: AskedByName, facts: Facts) -> Finding:
    """`getattr(model, "rank", 0)` and `hasattr(model, "rank")`."""
    module, call, new = asked.module, asked.call, None
    if asked.function == "hasattr":
        new = _has(asked)
    elif asked.function == "getattr" and asked.is_only_name and not asked.others:
        if not (asked.name in ASKED and ends_distributed(facts, module, call)):
            new = value_now(facts, module, call, asked.wraps, (asked.name,))
    return finding_at(
        RULE,
        module,
        call,
        _message(asked.name) if new is None else f"FSDP2's models have no {asked.name}",
        tier=Tier.MANUAL if new is None else Tier.NATIVE,
        edits=[ReplaceExpression(module.span(call), new)] if new is not None else [],
        models=facts.models(asked.wraps),
    )


def _has(asked: AskedByName) -> Part | None:
    """The test that FSDP1's attribute stood for."""
    if not asked.is_only_name:
        return None
    model = Kept(asked.module.span(asked.call.args[0]))
    test = code("isinstance({model}, {fsdp})", model=model, fsdp=FSDP_MODULE)
    return either(test, Kept(asked.module.span(asked.call))) if asked.others else test


RULE = Rule(
    code=CODE,
    name="model-attributes",
    summary="`model.rank`, `model.process_group`, `model.compute_device` and other attributes",
    why=(
        "FSDP1's wrapper kept its group, its device and its settings as public attributes.  "
        "FSDP2 works on the module itself, which has none of them."
    ),
    fix_safety=(
        "Safe: the value is replaced where the constructor call is known to have given it (the "
        "default process group, a group or a mesh in a variable that is bound once, a flag that "
        "is a literal), for all models that can be meant.  Where the group has no name there, it "
        "is set on the model below the wrap, as the mesh of the sharded parameters has it.  What "
        "isn't known is left and reported."
    ),
    left=(
        "Values that the constructor call doesn't name: take the group and the rank from where "
        "you gave them, or from the mesh of a parameter (p.device_mesh), and settings from your"
        " own configuration."
    ),
    needs=(
        "the receiver is an FSDP1 model, and not the module inside",
        "what the constructor was given can be named at the place that reads it",
        "the process group is there when the rank is asked for",
        "nothing else that is meant has such an attribute, or it is still asked",
    ),
    check=check,
    survey=survey,
    methods=OWN,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_init_utils.py",
    ),
    examples=(
        Example(
            before="""\
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def mean(net, total):
    model = FSDP(net)
    dist.all_reduce(total, group=model.process_group)
    return total / model.world_size
""",
            after="""\
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard


def mean(net, total):
    model = fully_shard(net)
    dist.all_reduce(total, group=dist.group.WORLD)
    return total / dist.get_world_size()
""",
        ),
    ),
)
