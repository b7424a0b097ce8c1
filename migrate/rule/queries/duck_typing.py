"""`hasattr(model, "no_sync")` and `getattr(model, "clip_grad_norm_", None)`.

Such code asks for FSDP1 by a method that FSDP2's models do not have, and goes another way when
it is missing: silently, and not the way it went.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from fsdp_migrate.analysis.values import Method, Unknown, Wrapped
from fsdp_migrate.findings.code import Code, Kept, Name, Part, call, code, either
from fsdp_migrate.findings.edits import Define, Edit, ReplaceExpression
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import RUNTIME, Facts
from fsdp_migrate.rule.queries.method_calls import PARTIAL
from fsdp_migrate.rule.queries.parameters import calls
from fsdp_migrate.rule.queries.values import library_name, literals
from fsdp_migrate.rule.rule import Rule, finding_at
from fsdp_migrate.rule.uses import others_with, split
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module

HASATTR = "builtins.hasattr"
GETATTR = "builtins.getattr"
FSDP_MODULE = Name(ROOT, "FSDPModule")


# A function of the file's own that is the method of a model: its definition, and what binds it.
Bind = Callable[[Module, frozenset[Wrapped], Part], tuple[Code, Part] | None]


def asked_by_name(rule: Rule, facts: Facts, method: str, bind: Bind) -> Iterator[Finding]:
    """What becomes of the places that ask objects for `method`, which is also the shim's name.

    Where the file can have a function of its own instead of the shim's, `bind` gives it.
    """
    for module, asking in calls(facts):
        if len(asking.args) < 2 or asking.keywords:
            continue
        if library_name(facts.value(asking.func)) not in {HASATTR, GETATTR}:
            continue
        if literals(facts.value(asking.args[1])) == [method]:
            yield from _asked(rule, facts, module, asking, Name(RUNTIME, method), bind)


def _asked(
    rule: Rule, facts: Facts, module: Module, asking: ast.Call, method: Name, bind: Bind
) -> Iterator[Finding]:
    value = facts.value(asking.args[0])
    wraps, others = split(facts.analysis, value)
    if not wraps and not any(isinstance(atom, Unknown | Method) for atom in value):
        return
    certain = bool(wraps) and not others_with(facts.analysis, others, method.name)
    takes = library_name(facts.value(asking.func)) == GETATTR
    arguments = tuple(Kept(module.span(argument)) for argument in asking.args)
    span = module.span(asking)
    own = bind(module, wraps, arguments[0]) if takes and wraps else None
    edits: list[Edit] = [Define(span, own[0])] if own is not None else []
    bound = own[1] if own is not None else call(PARTIAL, method, arguments[0])
    alone = bool(value) and all(isinstance(atom, Wrapped) for atom in value)
    new = _taken(arguments, bound, certain, alone) if takes else _tested(arguments, certain)
    yield finding_at(
        rule,
        module,
        asking,
        f"FSDP2's models have no {method.name}: they are known by their class",
        tier=Tier.SHIM if takes and own is None else Tier.NATIVE,
        edits=[*edits, ReplaceExpression(span, new)],
        models=facts.models(wraps),
    )


def _tested(arguments: tuple[Part, ...], certain: bool) -> Part:
    """`hasattr(model, "no_sync")` as a test of the class, or of both where it may be another."""
    is_fsdp = _is_fsdp(arguments[0])
    return is_fsdp if certain else either(is_fsdp, code("hasattr({all})", all=arguments))


def _taken(arguments: tuple[Part, ...], bound: Part, certain: bool, alone: bool) -> Part:
    """`getattr(model, "no_sync")` as a function that is bound to the model.

    Where nothing else has it (`certain`), a model that is not sharded gets the default.
    """
    has_default = len(arguments) == 3
    if alone or (certain and not has_default):
        return bound
    other = arguments[2] if certain else code("getattr({all})", all=arguments)
    return code(
        "{bound} if {is_fsdp} else {other}",
        bound=bound,
        is_fsdp=_is_fsdp(arguments[0]),
        other=other,
    )


def _is_fsdp(model: Part) -> Part:
    return code("isinstance({model}, {fsdp})", model=model, fsdp=FSDP_MODULE)
