"""`p.numel()`, `p.ndim` and the like, asked of the parameters of an FSDP model.

FSDP1 answered for this rank's flat shard, FSDP2 answers for the whole parameter.  Sums over the
ranks would count every parameter once per rank.  Groups by `p.ndim` begin to mean something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import NOTHING
from fsdp_migrate.findings.edits import Edit, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.collectives import collective, is_sum
from fsdp_migrate.rule.queries.counts import is_split_evenly, only_counts
from fsdp_migrate.rule.queries.parameters import (
    attributes,
    called,
    derived,
    feeds,
    is_certain,
)
from fsdp_migrate.rule.queries.sizes_read import decides, is_shown
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

COUNTS = frozenset({"numel", "nelement"})
RANKS = frozenset({"dim", "ndim", "ndimension"})
SHAPES = frozenset({"shape", "size"})
PRODUCTS = frozenset({"math.prod", "numpy.prod"})
SUMMING = frozenset({"all_reduce", "reduce"})
DECIDED = ", and what is decided by it here may come out otherwise"


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what is asked of parameters, function by function."""
    counts: dict[tuple[Module, ast.AST], list[ast.Attribute]] = {}
    for module, node in attributes(facts, COUNTS | RANKS | SHAPES):
        is_rank = node.attr in RANKS or _is_length_of_shape(facts, module, node)
        is_count = node.attr in COUNTS or _is_product_of_shape(facts, module, node)
        if not facts.sharded.models(module, node.value):
            continue
        if is_rank:
            yield _by_rank(facts, module, node)
        elif not is_count:
            yield from _by_shape(facts, module, node)
        else:
            counts.setdefault((module, module.scope(node)), []).append(node)
    for (module, scope), nodes in counts.items():
        yield from _count(facts, module, scope, nodes)


def _models(facts: Facts, module: Module, node: ast.Attribute) -> frozenset[str]:
    """The models whose sharded tensors are asked for the attribute."""
    return facts.models(facts.sharded.models(module, node.value))


# ---------------------------------------------------------------------- p.ndim
def _is_length_of_shape(facts: Facts, module: Module, node: ast.Attribute) -> bool:
    """Whether `node` is the shape in `len(p.shape)` or `len(p.size())`."""
    if node.attr not in SHAPES:
        return False
    asked = module.parents[node]
    if node.attr == "size":
        asked = module.parents[asked]
    return isinstance(asked, ast.Call) and called(facts, asked) == {"builtins.len"}


def _is_product_of_shape(facts: Facts, module: Module, node: ast.Attribute) -> bool:
    """Whether `node` is the shape in `math.prod(p.shape)`, or in `p.size().numel()`."""
    if node.attr not in SHAPES:
        return False
    asked = module.parents[node]
    if isinstance(asked, ast.Call) and asked.func is node and not asked.args:
        asked = module.parents[asked]
    if isinstance(asked, ast.Attribute):
        return asked.attr == "numel"
    return isinstance(asked, ast.Call) and bool(called(facts, asked) & PRODUCTS)


def _by_rank(facts: Facts, module: Module, node: ast.Attribute) -> Finding:
    return finding_at(
        RULE,
        module,
        node,
        "asked of FSDP1's parameters, which are one-dimensional shards, this was always 1; FSDP2's "
        "have their own dimensions.  A weight decay for matrices only decayed nothing before, and "
        "decays them now",
        tier=Tier.NOTE,
        safety=Safety.UNSAFE,
        models=_models(facts, module, node),
    )


def _by_shape(facts: Facts, module: Module, node: ast.Attribute) -> Iterator[Finding]:
    """A shape that is compared or printed, and not what another tensor is made by."""
    scope = module.scope(node)
    is_compared = decides(scope, {node}, set())
    if is_compared or is_shown(facts, module, node):
        yield finding_at(
            RULE,
            module,
            node,
            "FSDP1's parameters had the shape of this rank's flat shard, or none in it; FSDP2's "
            f"have their own{DECIDED if is_compared else ''}",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE if is_compared else Safety.SAFE,
            models=_models(facts, module, node),
        )


# ---------------------------------------------------------------------- p.numel()
def _count(
    facts: Facts, module: Module, scope: ast.AST, nodes: list[ast.Attribute]
) -> Iterator[Finding]:
    counts: set[ast.AST] = set(nodes)
    names = derived(scope, counts)
    units = _models(facts, module, nodes[0])
    summed = [
        call
        for call in nodes_in(scope)
        if isinstance(call, ast.Call)
        and collective(facts, call) in SUMMING
        and call.args
        and feeds(call.args[0], counts, names)
    ]
    for call in summed:
        edit = _without_sum(facts, module, call, nodes)
        yield finding_at(
            RULE,
            module,
            call,
            "the sum over the ranks goes: numel() counts the whole model now"
            if edit is not None
            else "numel() counts the whole model now, and this sum would count it once per rank: "
            "take it out",
            tier=Tier.MANUAL if edit is None else Tier.NATIVE,
            edits=[edit] if edit is not None else [],
            models=units,
        )
    alone = _alone(scope, nodes, summed)
    deciding = [node for node in alone if decides(scope, {node}, derived(scope, {node}))]
    for node in deciding or alone[:1]:
        yield finding_at(
            RULE,
            module,
            node,
            "counts the whole model; FSDP1's parameters counted this rank's part of it"
            f"{DECIDED if deciding else ''}",
            tier=Tier.NOTE,
            safety=Safety.UNSAFE if deciding else Safety.SAFE,
            models=units,
        )


def _alone(
    scope: ast.AST, nodes: list[ast.Attribute], summed: list[ast.Call]
) -> list[ast.Attribute]:
    """The counts that the ranks don't add up."""
    found = []
    for node in nodes:
        own: set[ast.AST] = {node}
        names = derived(scope, own)
        if not any(feeds(call.args[0], own, names) for call in summed):
            found.append(node)
    return found


def _without_sum(
    facts: Facts, module: Module, call: ast.Call, nodes: list[ast.Attribute]
) -> Edit | None:
    """The edit that drops the sum, if it sums nothing but counts over all ranks."""
    statement = module.parents[call]
    if not isinstance(statement, ast.Expr) or len(call.args) != 1:
        return None
    if collective(facts, call) != "all_reduce":
        return None
    if any(k.arg != "op" or not is_sum(facts, k.value) for k in call.keywords):
        return None
    if not all(is_certain(facts, n.value) and is_split_evenly(facts, n.value) for n in nodes):
        return None
    if not only_counts(facts, module, call.args[0], set(nodes)):
        return None
    return ReplaceStatement(module.span(statement), NOTHING)


RULE = Rule(
    code="FSDP502",
    name="parameter-counts",
    summary="`p.numel()` counts whole parameters, `p.ndim` is their own",
    why=(
        "The parameters of an FSDP2 model are DTensors, which have the shape of the whole; those "
        "of FSDP1 were flat shards."
    ),
    fix_safety=(
        "Safe: a sum over all ranks goes where it sums nothing but counts of sharded parameters; "
        "the number is the same (but for FSDP1's padding, where its parameters were flat)."
    ),
    left=(
        "A sum over the ranks that adds up other things as well: take the counts out of it, for"
        " numel() counts the whole now."
    ),
    needs=("what is summed are counts of sharded parameters alone",),
    check=no_uses,
    survey=survey,
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.tensor.html",
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
    ),
    examples=(
        Example(
            before="""\
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def count(model):
    model = FSDP(model, use_orig_params=True)
    total = torch.tensor(sum(p.numel() for p in model.parameters()), device="cuda")
    dist.all_reduce(total)
    return total.item()
""",
            after="""\
import torch
from torch.distributed.fsdp import fully_shard


def count(model):
    fully_shard(model)
    total = torch.tensor(sum(p.numel() for p in model.parameters()), device="cuda")
    return total.item()
""",
        ),
    ),
)
