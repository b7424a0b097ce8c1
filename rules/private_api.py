"""FSDP1's private names: flat parameters, handles, initialisation, `torch.distributed.fsdp._*`.

FSDP2 keeps no flat parameters and no handles.  What a program wanted of them mostly has a plain
spelling now; the finding says which.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import NOTHING, Kept, Name, both, code, loop_variable
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.flat_updates import FLAT, is_flat_update
from fsdp_migrate.rule.queries.handles import Reshard, freed_at, reshard_at
from fsdp_migrate.rule.queries.models import models_at
from fsdp_migrate.rule.queries.parameters import attributes, owners
from fsdp_migrate.rule.queries.private_names import ADVICE, INIT
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding, finding_at
from fsdp_migrate.syntax.fsdp1_members import ATTRIBUTES, PRIVATE
from fsdp_migrate.syntax.fsdp1_names import ROOT, short

MODULES = (
    "_common_utils", "_debug_utils", "_dynamo_utils", "_exec_order_utils", "_flat_param",
    "_fsdp_extensions", "_init_utils", "_limiter_utils", "_optim_utils", "_runtime_utils",
    "_shard_utils", "_state_dict_utils", "_symbolic_trace", "_trace_utils", "_traversal_utils",
    "_unshard_param_utils", "_utils", "_wrap_utils", "flat_param", "flatten_params_wrapper",
)  # fmt: skip
CODE = "FSDP406"
DTENSOR = Name("torch.distributed.tensor", "DTensor")
# Attributes of an FSDP1 model that nothing else has by accident.
ATTRIBUTES_OF_MODELS = tuple(
    name for name, account in {**ATTRIBUTES, **PRIVATE}.items() if account.rule == CODE
)
OF_HANDLES = frozenset({"flat_param", "needs_unshard", "reshard", "unshard"})
OF_PARAMETERS = frozenset(
    {"_fqns", "_param_infos", "_shapes", "_numels", "_local_shard", "_full_param_padded"}
)


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop or replace the few that have a plain form, and name the way for the others."""
    if use.receiver is not None and use.others and not use.wraps:
        yield from _of_unknown(use)
        return
    if use.node in facts.removed.get(use.module.name, ()):
        return  # it goes with what it was for
    name, units = short(use.name), facts.models(use.wraps)
    resharding = reshard_at(facts, use.module, use.node)
    freeing = freed_at(facts, use.module, use.node)
    if resharding is not None:
        yield from _reshards(use, facts, resharding)
        return
    if freeing is not None:
        message = "the model is deleted next, and its shards with it: there is nothing to free"
        gone = ReplaceStatement(use.module.span(freeing), NOTHING)
        yield finding(RULE, use, message, tier=Tier.NATIVE, edits=[gone], models=units)
        return
    if name in {"_get_fsdp_handles", FLAT} and is_flat_update(facts, use.module, use.node):
        yield from _flat(use, facts)
        return
    statement = use.module.statement(use.node)
    is_whole = isinstance(statement, ast.Expr) and statement.value is use.call
    if name in {"_lazy_init", "_reset_lazy_init"} and is_whole:
        gone = ReplaceStatement(use.module.span(statement), NOTHING)
        message = f"{name} goes: {INIT}"
        yield finding(RULE, use, message, tier=Tier.NATIVE, edits=[gone], models=units)
    elif name == "clean_tensor_name" and use.call is not None and len(use.call.args) == 1:
        cleaned = code(
            '{name}.replace("_checkpoint_wrapped_module.", "")',
            name=Kept(use.module.span(use.call.args[0])),
        )
        yield finding(
            RULE,
            use,
            "clean_tensor_name becomes the one replacement that is still needed",
            tier=Tier.NATIVE,
            edits=[ReplaceExpression(use.module.span(use.call), cleaned)],
        )
    else:
        yield finding(RULE, use, _message(name), tier=Tier.MANUAL, models=units)


def _flat(use: Use, facts: Facts) -> Iterator[Finding]:
    """The parameters in the place of the handles of flat ones."""
    span, new, found = use.module.span, None, use.wraps
    if use.call is not None and short(use.name) != FLAT:
        model = use.call.args[0]
        found = models_at(facts, model)
        new = code("list({model}.parameters())", model=Kept(span(model)))
        if any(plan is None or plan.has_ignored for plan in map(facts.plan, found)):
            new = code(
                "[{p} for {p} in {model}.parameters() if isinstance({p}, {dtensor})]",
                p=loop_variable("p"),
                model=Kept(span(model)),
                dtensor=DTENSOR,
            )
        edit = ReplaceExpression(span(use.call), new)
    else:
        assert isinstance(use.node, ast.Attribute)
        edit = ReplaceExpression(span(use.node), Kept(span(use.node.value)))
    yield finding(
        RULE,
        use,
        "what is done to flat parameters, element by element, is done to the parameters",
        tier=Tier.NATIVE,
        edits=[edit],
        models=facts.models(found),
    )


def _of_unknown(use: Use) -> Iterator[Finding]:
    """Handles and flat parameters of an object that may be a model: said, and nothing waits."""
    above = use.module.parents[use.node]
    is_handle = isinstance(above, ast.Attribute) and above.attr in OF_HANDLES
    if short(use.name) == "_handles" or is_handle:
        message = _message(short(use.name))
        yield finding(RULE, use, message, tier=Tier.MANUAL, blocking=False)


def _reshards(use: Use, facts: Facts, found: Reshard) -> Iterator[Finding]:
    """Free what a unit gathered by its own method; said once, where the call is."""
    func = found.call.func
    if use.call is not found.call and not (
        isinstance(func, ast.Attribute) and func.value is use.node
    ):
        return  # another part of the same idiom
    span = use.module.span
    model = Kept(span(found.model))
    edits: list[Edit] = [ReplaceStatement(span(found.statement), code("{m}.reshard()", m=model))]
    if found.guard is not None and found.rest:
        tests = [Kept(span(test)) for test in found.rest]
        edits.append(ReplaceExpression(span(found.guard.test), both(*tests)))
    yield finding(
        RULE,
        use,
        "freeing what a unit gathered is its own reshard()",
        tier=Tier.NATIVE,
        edits=edits,
        models=facts.models(models_at(facts, found.model)),
    )


def survey(facts: Facts) -> Iterator[Finding]:
    """What flat parameters have and other tensors don't, asked of a model's parameters."""
    for module, node in attributes(facts, OF_PARAMETERS):
        models = owners(facts, node.value)
        if models:
            units = facts.models(models)
            message = _message(node.attr)
            yield finding_at(RULE, module, node, message, tier=Tier.MANUAL, models=units)


def _message(name: str) -> str:
    advice = ADVICE.get(name, "FSDP2 has nothing of the kind; find another way to what it is for")
    return f"`{name}` is private to FSDP1: {advice}"


RULE = Rule(
    code=CODE,
    name="private-api",
    summary="FSDP1's private names: handles, flat parameters, `torch.distributed.fsdp._*`",
    why="FSDP2 shards every parameter by itself.  What these names stand for does not exist.",
    fix_safety=(
        "Safe: only calls that have nothing left to do are dropped, and flat parameters become the "
        "parameters where each element is treated alike; all else is left for a person."
    ),
    left=(
        "Nearly always: handles and flat parameters have no successor.  Go through "
        "model.parameters() and the FSDPModules among model.modules(); take shapes from the "
        "parameters, shards from p.to_local(), and units from fully_shard."
    ),
    needs=(
        "the call has nothing left to do",
        "what is done with flat parameters is done element by element",
    ),
    check=check,
    survey=survey,
    symbols=(
        *(f"{ROOT}.{name}" for name in MODULES),
        *(f"{ROOT}.{name}" for name in ("FlatParameter", "TrainingState", "FLAT_PARAM")),
        *(f"{ROOT}.{name}" for name in ("_get_param_to_fqn", "_get_fqn_to_param")),
    ),
    methods=ATTRIBUTES_OF_MODELS,
    surfaces=(
        Surface("FlatParameter", "no flat parameters: each parameter is a DTensor", (Tier.MANUAL,)),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_flat_param.py",
        "torch/distributed/fsdp/_fully_shard/_fsdp_state.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp._runtime_utils import _lazy_init


def prepare(model):
    model = FSDP(model)
    _lazy_init(model, model)
    return model
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def prepare(model):
    fully_shard(model)
    return model
""",
        ),
    ),
)
