"""`p.numel()`, `p.ndim` and the like, asked of the parameters of an FSDP model.

FSDP1 answered for this rank's flat shard, FSDP2 answers for the whole parameter.  Sums over the
ranks would count every parameter once per rank.  Groups by `p.ndim` begin to mean something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.findings.finding import Edit, Finding, ReplaceStatement, Safety, Tier
from fsdp_migrate.lowering.wrap_plan import HYBRID
from fsdp_migrate.rule.queries.parameters import (
    called,
    derived,
    feeds,
    is_certain,
    is_summoned,
    modules,
    owners,
)
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

COUNTS = frozenset({"numel", "nelement"})
RANKS = frozenset({"dim", "ndimension"})
SUMMING = frozenset({"all_reduce", "reduce"})
ADDING = frozenset({"int", "float", "sum", "tensor", "numel", "nelement", "as_tensor"})


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at what is asked of parameters, function by function."""
    for module in modules(facts, "numel(", "nelement(", "dim", "len("):
        counts: dict[ast.AST, list[ast.AST]] = {}
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Attribute) or not owners(facts, node.value):
                continue
            if _is_rank(module, node):
                if not is_summoned(facts, module, node):
                    yield _by_rank(facts, module, node)
            elif node.attr in COUNTS and not is_summoned(facts, module, node):
                counts.setdefault(module.scope(node), []).append(node)
        for scope, nodes in counts.items():
            yield from _count(facts, module, scope, nodes)


# ---------------------------------------------------------------------- p.ndim
def _is_rank(module: Module, node: ast.Attribute) -> bool:
    if node.attr == "ndim" or node.attr in RANKS:
        return True
    if node.attr not in {"shape", "size"}:
        return False
    asked = module.parents[node]
    if node.attr == "size":
        asked = module.parents[asked]
    return isinstance(asked, ast.Call) and path_of(asked.func) == "len"


def _by_rank(facts: Facts, module: Module, node: ast.Attribute) -> Finding:
    model = owners(facts, node.value)
    return finding_at(
        RULE,
        module,
        node,
        "asked of FSDP1's parameters, which are one-dimensional shards, this was always 1; FSDP2's "
        "have their own dimensions.  A weight decay for matrices only decayed nothing before, and "
        "decays them now (loss 4e-4, parameters 1e-2 apart after three steps)",
        tier=Tier.NOTE,
        safety=Safety.UNSAFE,
        units=facts.units(model),
    )


# ---------------------------------------------------------------------- p.numel()
def _count(facts: Facts, module: Module, scope: ast.AST, nodes: list[ast.AST]) -> Iterator[Finding]:
    seeds = set(nodes)
    names = derived(scope, seeds)
    first = nodes[0]
    assert isinstance(first, ast.Attribute)
    units = facts.units(owners(facts, first.value))
    reduced = [
        call
        for call in ast.walk(scope)
        if isinstance(call, ast.Call)
        and any(n.startswith("torch.distributed.") for n in called(facts, call))
        and path_of(call.func) is not None
        and (path_of(call.func) or "").rpartition(".")[2] in SUMMING
        and call.args
        and feeds(call.args[0], seeds, names)
    ]
    for call in reduced:
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
            units=units,
        )
    if not reduced:
        yield finding_at(
            RULE,
            module,
            first,
            "counts the whole model; FSDP1's parameters counted this rank's part of it",
            tier=Tier.NOTE,
            units=units,
        )


def _without_sum(facts: Facts, module: Module, call: ast.Call, nodes: list[ast.AST]) -> Edit | None:
    """The edit that drops the sum, if it sums nothing but counts over all ranks."""
    statement = module.parents[call]
    if not isinstance(statement, ast.Expr) or len(call.args) != 1:
        return None
    if (path_of(call.func) or "").rpartition(".")[2] != "all_reduce":
        return None
    if any(k.arg != "op" or not (path_of(k.value) or "").endswith("SUM") for k in call.keywords):
        return None
    if not all(isinstance(n, ast.Attribute) and is_certain(facts, n.value) for n in nodes):
        return None
    for node in nodes:
        assert isinstance(node, ast.Attribute)
        for wrapped in owners(facts, node.value):
            plan = facts.plan(wrapped)
            if plan is None or not plan.members or plan.members & {*HYBRID, "NO_SHARD"}:
                return None
            if plan.has_ignored or "process_group" in plan.fact.arguments:
                return None
    if not _only_counts(module, call.args[0], set(nodes), 0):
        return None
    return ReplaceStatement(module.span(statement), "")


def _only_counts(module: Module, node: ast.expr, seeds: set[ast.AST], depth: int) -> bool:
    """Whether `node` is a count of parameters, made a tensor or not."""
    if isinstance(node, ast.Name) and depth < 4:
        found = definition(module, node)
        return found is not None and _only_counts(module, found.value, seeds, depth + 1)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else path_of(node.func)
        if node.func in seeds:
            return True
        return (
            name in ADDING
            and bool(node.args)
            and all(_only_counts(module, a, seeds, depth) for a in node.args[:1])
        )
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _only_counts(module, node.elt, seeds, depth)
    if isinstance(node, ast.List):
        return all(_only_counts(module, item, seeds, depth) for item in node.elts)
    return False


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
