"""In which dtype gradients of microbatches are added up, before and after the migration.

Inside `no_sync` FSDP1 adds them up in the dtype of the unsharded parameters, FSDP2 in that of the
reduction: torch/distributed/fsdp/_fully_shard/_fsdp_param.py, `to_accumulated_grad_if_needed`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from fsdp_migrate.analysis.values import Const, Result, Symbol, Value, Wrapped
from fsdp_migrate.lowering.nesting import Nesting
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.low_parameters import may_be_low
from fsdp_migrate.rule.queries.parameters import MIXED_PRECISION, dtypes
from fsdp_migrate.rule.queries.values import from_elsewhere

LOW = frozenset({"bfloat16", "float16"})
ALIASES = {"double": "float64", "float": "float32", "half": "float16"}
NO_PRECISION = Const.of(None)


def changed_sums(facts: Facts, wraps: Iterable[Wrapped]) -> Iterator[str]:
    """How the sums change, in words, for the pairs of dtypes that the models are known to have."""
    pairs = {pair for unit in _units(facts, wraps) for pair in dtypes(facts, unit)}
    named = {(ALIASES.get(p or "", p), ALIASES.get(r or "", r)) for p, r in pairs}
    better = {(p, r) for p, r in named if p in LOW and r is not None and r != p}
    worse = {(p, r) for p, r in named if p not in LOW and r in LOW}
    if better:
        yield (
            f"{_which(better)}FSDP1 added microbatches up in {_either(p for p, _ in better)}, "
            f"FSDP2 adds them up in {_either(r for _, r in better)}: the better sum, and not the "
            "same one (and twice the memory for the sums)"
        )
    if worse:
        yield (
            f"FSDP1 added microbatches up in float32, FSDP2 adds them up in "
            f"{_either(r for _, r in worse)}: leave reduce_dtype out, or reduce after each "
            "microbatch, to keep the precision"
        )


def _which(pairs: Collection[tuple[str | None, str | None]]) -> str:
    """What to say first of dtypes that are chosen at run time: they may be the same."""
    params, reduces = {p for p, _ in pairs}, {r for _, r in pairs}
    return "where these differ, " if params & reduces else ""


def _either(names: Iterable[str | None]) -> str:
    *first, last = sorted({name for name in names if name is not None})
    return f"{', '.join(first)} or {last}" if first else last


def sums_are_kept(facts: Facts, use: Use) -> bool:
    """Whether what `use` is asked of is proven to add microbatches up as before.

    What may come from elsewhere may hold a model, of which nothing is known.
    """
    return (
        bool(use.wraps)
        and not from_elsewhere(use.others)
        and all(_is_known(facts, unit) for unit in _units(facts, use.wraps))
        and not any(True for _ in changed_sums(facts, use.wraps))
    )


def _units(facts: Facts, wraps: Iterable[Wrapped]) -> set[Wrapped]:
    """The models, and those that other wraps make inside of them."""
    nesting = Nesting(facts.analysis)
    found = set(wraps)
    for wrapped in wraps:
        fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
        if fact is not None:
            found |= {atom for atom in nesting.reach(fact) if isinstance(atom, Wrapped)}
    return found


def _is_known(facts: Facts, wrapped: Wrapped) -> bool:
    """Whether all dtypes that a model can be wrapped with have been seen."""
    fact = facts.analysis.wraps.get(wrapped.site) if wrapped.site is not None else None
    if fact is None or fact.opaque:
        return False
    argument = fact.arguments.get("mixed_precision")
    if argument is None:
        return True
    if any(param is None and reduce is not None for param, reduce in dtypes(facts, wrapped)):
        # The sums were in the dtype that the parameters have themselves.
        if from_elsewhere(fact.inner) or may_be_low(facts, {wrapped}):
            return False
    return all(_is_plain(facts, atom) for atom in argument.value)


def _is_plain(facts: Facts, atom: object) -> bool:
    """Whether a `mixed_precision` is None, or made with dtypes that are named in the program."""
    if atom == NO_PRECISION:
        return True
    if not isinstance(atom, Result) or atom.symbol != MIXED_PRECISION:
        return False
    args, kwargs = facts.analysis.calls[atom.site]
    given = dict(zip(("param_dtype", "reduce_dtype"), args, strict=False)) | kwargs
    return all(map(_is_named, (given.get("param_dtype"), given.get("reduce_dtype"))))


def _is_named(dtype: Value | None) -> bool:
    return dtype is None or all(isinstance(a, Symbol) or a == NO_PRECISION for a in dtype)
