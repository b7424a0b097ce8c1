"""Norms and sums over gradients and parameters, computed by hand.

On FSDP1's flat shards every such number was this rank's own, until it was summed over the ranks.
DTensors know that they are parts: arithmetic on them gives the number of the whole, and there is
nothing to sum.  Only `.item()` straight on a norm still gives this rank's part.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Method, Params, Wrapped
from fsdp_migrate.findings.finding import Finding, ReplaceExpression, Safety, Tier
from fsdp_migrate.rule.queries.parameters import called, is_certain, is_summoned, modules
from fsdp_migrate.rule.rule import Example, Facts, Rule, finding_at, no_uses
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import own_nodes, path_of

ADDING = frozenset({"norm", "sum", "dot", "square", "pow", "vector_norm", "mean"})
REDUCING = ADDING | {"all", "amax", "amin", "any", "max", "median", "min", "prod", "std", "var"}
TENSORS = frozenset({"grad", "data", "main_grad"})
TO_PYTHON = frozenset({"item", "tolist", "float", "int", "bool", "tensor", "as_tensor"})
OVER_RANKS = frozenset({"all_reduce", "reduce", "all_gather", "all_gather_into_tensor"})


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at reductions of sharded tensors, function by function."""
    for module in modules(facts, "parameters(", ".grad"):
        scopes: dict[ast.AST, list[ast.Call]] = {}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and _name(node) in REDUCING:
                base = _base(facts, node)
                if base is not None and not is_summoned(facts, module, node):
                    scopes.setdefault(module.scope(node), []).append(node)
        for scope, seeds in scopes.items():
            yield from _settle(facts, module, scope, seeds)


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return path_of(call.func) or ""


def _base(facts: Facts, call: ast.Call) -> ast.expr | None:
    """The parameter or gradient that `call` reduces, or None if it is neither."""
    node: ast.expr = call
    while True:
        if isinstance(node, ast.Call):
            func = node.func
            library = any(n.startswith("torch.") for n in called(facts, node))
            if library and node.args:
                node = node.args[0]
            elif isinstance(func, ast.Attribute):
                node = func.value
            else:
                return None
        elif isinstance(node, ast.Attribute) and not _is_sharded(facts, node):
            node = node.value
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            return node if _is_sharded(facts, node) else None


def _is_sharded(facts: Facts, node: ast.expr) -> bool:
    return bool(_models(facts, node))


def _models(facts: Facts, node: ast.expr) -> frozenset[Wrapped]:
    """The models of which `node` is a parameter, a gradient or the like."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return frozenset()
    found = {
        atom.receiver.owner
        for atom in facts.value(node)
        if isinstance(atom, Method) and atom.name in TENSORS and isinstance(atom.receiver, Params)
    }
    direct = {atom.owner for atom in facts.value(node) if isinstance(atom, Params)}
    return frozenset(owner for owner in found | direct if isinstance(owner, Wrapped))


# ---------------------------------------------------------------------- what becomes of them
def _settle(
    facts: Facts, module: Module, scope: ast.AST, seeds: list[ast.Call]
) -> Iterator[Finding]:
    tensors = _carried(scope, set(seeds), frozenset())
    numbers = _carried(scope, set(seeds), TO_PYTHON)
    bases = [base for seed in seeds if (base := _base(facts, seed)) is not None]
    units = facts.units({w for base in bases for w in _models(facts, base)})
    summed = False
    for call in own_nodes(scope):
        if not isinstance(call, ast.Call) or _name(call) not in OVER_RANKS or not call.args:
            continue
        if not any(n.startswith("torch.distributed.") for n in called(facts, call)):
            continue
        summed = summed or _reads(call, set(seeds), numbers | tensors, frozenset())
        if _reads(call, set(seeds), tensors, TO_PYTHON):
            yield _over_ranks(facts, module, call, seeds, bases, units)
    if not summed:
        into_plain = _into_plain(facts, scope, set(seeds), tensors)
        yield finding_at(
            RULE,
            module,
            seeds[0],
            _message(module, seeds[0]),
            tier=Tier.NATIVE if into_plain else Tier.NOTE,
            safety=Safety.UNSAFE if into_plain else Safety.SAFE,
            edits=[
                ReplaceExpression(module.span(seed), "{0}.full_tensor()", (module.span(seed),))
                for seed in seeds
                if not any(seed in ast.walk(other) for other in seeds if other is not seed)
            ],
            units=units,
        )


def _message(module: Module, seed: ast.Call) -> str:
    asked = module.parents[module.parents[seed]]
    if isinstance(asked, ast.Call) and _name(asked) in {"item", "tolist"}:
        return (
            "`.item()` straight on it gives this rank's part, as it did under FSDP1; "
            "`.full_tensor().item()` gives the whole"
        )
    return "this was one rank's number under FSDP1; DTensors give that of the whole"


def _into_plain(facts: Facts, scope: ast.AST, seeds: set[ast.Call], tensors: set[str]) -> bool:
    """Whether the numbers are added into a plain tensor, which takes no DTensors."""
    plain = {
        target.id
        for node in own_nodes(scope)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if called(facts, node.value) & {"torch.zeros", "torch.tensor", "torch.zeros_like"}
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return any(
        isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id in plain
        and _reads(node.value, seeds, tensors - plain, TO_PYTHON)
        for node in own_nodes(scope)
    )


def _carried(scope: ast.AST, seeds: set[ast.Call], through: frozenset[str]) -> set[str]:
    """The variables of `scope` that hold what is computed from `seeds`.

    As tensors; with `through`, also after the calls that it names.
    """
    stop = TO_PYTHON - through
    found: set[str] = set()
    while True:
        new = set(found)
        for node in own_nodes(scope):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                if node.value is not None and _reads(node.value, set(seeds), found, stop):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    new |= {t.id for t in targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.Call) and _name(node) == "append":
                listed = path_of(node.func.value) if isinstance(node.func, ast.Attribute) else None
                if listed and any(_reads(a, set(seeds), found, stop) for a in node.args):
                    new.add(listed)
        if new == found:
            return found
        found = new


def _reads(node: ast.AST, seeds: set[ast.Call], names: set[str], stop: frozenset[str]) -> bool:
    """Whether one of `seeds` or `names` is in `node`, not counting what is inside `stop` calls."""
    if isinstance(node, ast.Call):
        if _name(node) in stop:
            return False
        if node in seeds:
            return True
    if isinstance(node, ast.Name) and node.id in names:
        return isinstance(node.ctx, ast.Load)
    return any(_reads(child, seeds, names, stop) for child in ast.iter_child_nodes(node))


def _over_ranks(
    facts: Facts,
    module: Module,
    call: ast.Call,
    seeds: list[ast.Call],
    bases: list[ast.expr],
    units: frozenset[str],
) -> Finding:
    models = {w for base in bases for w in _models(facts, base)}
    plans = [facts.plan(w) for w in models]
    plain = all(_adds_up(seed) for seed in seeds)
    certain = all(is_certain(facts, _parameter(base)) for base in bases)
    ignored = any(plan is None or plan.has_ignored for plan in plans)
    if plain and certain and not ignored and _name(call) == "all_reduce":
        return finding_at(
            RULE,
            module,
            call,
            "a sum over the ranks wants this rank's shards: they are asked for by to_local()",
            tier=Tier.NATIVE,
            edits=[
                ReplaceExpression(module.span(base), "{0}.to_local()", (module.span(base),))
                for base in bases
            ],
            units=units,
        )
    return finding_at(
        RULE,
        module,
        call,
        "what is communicated here is a DTensor, which knows the other ranks' parts: drop the "
        "call and use `.full_tensor()`, or compute from `p.grad.to_local()`",
        tier=Tier.MANUAL,
        units=units,
    )


def _parameter(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Attribute) and node.attr in TENSORS:
        return node.value
    return node


def _adds_up(seed: ast.Call) -> bool:
    """Whether the parts of the ranks add up, and an empty shard has a part of zero."""
    return all(
        _name(node) in ADDING | {"detach", "float", "double", "abs", "flatten", "view", "reshape"}
        and _name(node) != "mean"
        for node in ast.walk(seed)
        if isinstance(node, ast.Call)
    )


RULE = Rule(
    code="FSDP504",
    name="local-values",
    summary="norms and sums over gradients, computed by hand",
    why=(
        "FSDP1's gradients were this rank's shards and nothing said so.  DTensors say so: "
        "computing with them gives the whole, and communicating them once more is an error."
    ),
    fix_safety=(
        "Safe: the same shards are summed over the same ranks; the parts are cut otherwise, which "
        "changes the order of the sum (1e-7 relative)."
    ),
    check=no_uses,
    survey=survey,
    references=("https://docs.pytorch.org/docs/stable/distributed.tensor.html",),
    examples=(
        Example(
            before="""\
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def gradient_norm(model):
    model = FSDP(model, use_orig_params=True)
    total = sum(p.grad.norm() ** 2 for p in model.parameters())
    dist.all_reduce(total)
    return total.sqrt()
""",
            after="""\
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard


def gradient_norm(model):
    fully_shard(model)
    total = sum(p.grad.to_local().norm() ** 2 for p in model.parameters())
    dist.all_reduce(total)
    return total.sqrt()
""",
        ),
    ),
)
