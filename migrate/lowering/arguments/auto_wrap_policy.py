"""`auto_wrap_policy=`: which submodules are units of their own."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.definitions import Definition
from fsdp_migrate.analysis.values import NONE
from fsdp_migrate.analysis.wraps import Argument
from fsdp_migrate.findings.code import Code, Part, code, variable
from fsdp_migrate.lowering.absence import says_none
from fsdp_migrate.lowering.born_values import Stays
from fsdp_migrate.lowering.born_wrap_policies import FAMILY, PolicyForm
from fsdp_migrate.lowering.condition import UNIT, Condition
from fsdp_migrate.lowering.followed import followed, is_same
from fsdp_migrate.lowering.policy_births import born_policy, tuple_of_classes
from fsdp_migrate.lowering.size_policy import (
    BySize,
    attention_of,
    by_size,
    by_size_function,
    is_by_size,
    looks_always,
)
from fsdp_migrate.lowering.unit_functions import (
    BY_POLICY,
    BY_RECURSING,
    UNITS_BY_POLICY,
    UNITS_BY_RECURSING,
    UNITS_BY_SIZE,
)
from fsdp_migrate.lowering.user_policy import predicate_of, questions
from fsdp_migrate.lowering.wrap_plan import ModelCall, Parts, Units
from fsdp_migrate.lowering.wrap_policy import lower_policy
from fsdp_migrate.lowering.wrap_site import NotNative, WrapSite, resolve
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds_names, path_of

CLASSES, POLICY = variable("unit_classes"), variable("policy", "wrap_policy")
COUNTS_IGNORED = "a policy that counts parameters doesn't count those of ignored modules"
MAY_LOOK = "whether FSDP1 looks into all modules depends on a precision that may be None"


def lower_auto_wrap_policy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A condition on modules becomes that of a loop; other policies list the units.

    Raises:
        NotNative: which modules are units is not to be seen, or FSDP1's call shape is wanted.
    """
    if says_none(site, argument, "policy"):
        return parts
    absorbed: list[Definition] = []
    condition = _condition(site, argument, absorbed)
    if condition is not None:
        units = Units(condition, condition.may_hold_for(site.analysis, site.fact.inner))
        return replace(parts, units=units, absorbed=(*parts.absorbed, *absorbed))
    found = _by_size(site, argument)
    if found is not None:
        function = _by_size_function(site)
        listed = ModelCall(UNITS_BY_SIZE, (found.keyword(site.module),))
        attention = attention_of(site.analysis, site.fact, function)
        return _with_list(
            site, parts, Units(listed=listed, attention=attention), function, found.through
        )
    return (
        _by_classes(site, argument, parts)
        or _by_value(site, argument, parts)
        or _by_policy(site, argument, parts)
    )


def _by_classes(site: WrapSite, argument: Argument, parts: Parts) -> Parts | None:
    """Classes that an expression gives, which is evaluated once; None if it is no such policy."""
    node = argument.node
    if site.style == "shim" or not isinstance(node, ast.Call):
        return None
    born = born_policy(site.analysis, site.module, node)
    if born is None or born.listed is None or born.classes or binds_names(born.listed):
        return None
    condition = Condition(
        code("isinstance({unit}, {classes})", unit=UNIT, classes=CLASSES),
        nested=True,
        open=True,
        is_class_test=True,
    )
    listed = tuple_of_classes(site.module, born.listed)
    return replace(parts, units=Units(condition, True, policy=(CLASSES, listed)))


def _by_value(site: WrapSite, argument: Argument, parts: Parts) -> Parts | None:
    """A policy that has become another value where it was made, or None if it hasn't."""
    group = site.born.of(site.module, argument.value, FAMILY)
    if isinstance(group, Stays):
        raise NotNative(group.words)
    if group is None or argument.node is None:
        return None
    form = group.form
    assert isinstance(form, PolicyForm)
    kept = site.kept(argument.node)
    named = path_of(argument.node) is not None
    name = CLASSES if form.kind == "classes" else POLICY
    policy: Part = kept if named else name
    bound = None if named else (name, kept)
    if form.kind == "units":
        if any(site.value(ignored) - NONE for ignored in ("ignored_modules", "ignored_states")):
            raise NotNative(COUNTS_IGNORED)
        listed = ModelCall(policy, may_be_none=form.may_be_none)
        attention = attention_of(site.analysis, site.fact, form.by_size) if form.by_size else ""
        return replace(parts, units=Units(listed=listed, policy=bound, attention=attention))
    condition = Condition(
        _test(policy, form),
        form.nested,
        form.classes,
        form.libraries,
        open=form.open,
        is_class_test=form.kind == "classes",
    )
    matches = condition.may_hold_for(site.analysis, site.fact.inner)
    return replace(parts, units=Units(condition, matches, policy=bound))


def _test(policy: Part, form: PolicyForm) -> Part:
    """What asks whether a module is a unit."""
    if form.kind == "classes":
        classes = code("{policy} or ()", policy=policy) if form.may_be_none else policy
        return code("isinstance({unit}, {classes})", unit=UNIT, classes=classes)
    asked = code("{policy}({unit})", policy=policy, unit=UNIT)
    if form.may_be_none:
        return code("{policy} and {asked}", policy=policy, asked=asked)
    return asked


def _written(site: WrapSite, node: ast.expr) -> tuple[ast.expr, tuple[Definition, ...]]:
    """`node`, or what the one assignment of the variable that it names says, and that."""
    found = followed(site.module, node) if isinstance(node, ast.Name) else None
    return (found.value, (found,)) if found is not None else (node, ())


def _condition(site: WrapSite, argument: Argument, absorbed: list[Definition]) -> Condition | None:
    """The condition that a policy is."""
    if argument.node is None:
        return None
    written, through = _written(site, argument.node)
    for node, gone in ((argument.node, ()), (written, through)):
        made: list[Definition] = []
        found = lower_policy(site.analysis, site.module, node, made) or predicate_of(
            site.analysis, site.module, node, argument.node, made
        )
        if found is not None:
            absorbed += [*gone, *made]
            return found
    return None


def _by_size(site: WrapSite, argument: Argument) -> BySize | None:
    """What a policy says of sizes, if nothing else, in words that mean the same at the call."""
    node = argument.node
    if node is None:
        return None
    written, through = _written(site, node)
    for each, gone in ((node, ()), (written, through)):
        found = by_size(site.analysis, site.module, each)
        if found is not None and _is_same(site, found, node):
            return replace(found, through=(*gone, *found.through))
    return None


def _by_size_function(site: WrapSite) -> Code:
    """The one function of the file that lists units by their size."""
    facts = [
        fact
        for fact in site.analysis.wraps.values()
        if fact.module is site.module
        for policy in [fact.arguments.get("auto_wrap_policy")]
        if policy is not None and any(is_by_size(site.analysis, a) for a in policy.value)
    ]
    return by_size_function(site.analysis, facts)


def _is_same(site: WrapSite, found: BySize, at: ast.expr) -> bool:
    names = nodes_in(found.smallest) if found.smallest is not None else ()
    return all(is_same(site.module, n, at) for n in names if isinstance(n, ast.Name))


def _by_policy(site: WrapSite, argument: Argument, parts: Parts) -> Parts:
    """A function of the user's that counts parameters is asked by a function of the file."""
    found = questions(site.analysis, argument.value)
    if found is None or argument.node is None:
        resolve(site, argument.node)
        raise NotNative("the wrap policy is not a plain set of classes or a predicate")
    always = found.always_look or looks_always(site.fact)
    if always is None:
        raise NotNative(MAY_LOOK)
    name = UNITS_BY_POLICY if always else UNITS_BY_RECURSING
    listed = Units(listed=ModelCall(name, (site.kept(argument.node),)))
    return _with_list(site, parts, listed, BY_POLICY if always else BY_RECURSING)


def _with_list(
    site: WrapSite,
    parts: Parts,
    units: Units,
    function: Code,
    through: tuple[Definition, ...] = (),
) -> Parts:
    """`parts` with the units that a function lists, which is written into the file."""
    if site.style == "shim":
        raise NotNative("the wrap policy counts parameters")
    if any(site.value(name) - NONE for name in ("ignored_modules", "ignored_states")):
        raise NotNative(COUNTS_IGNORED)
    return replace(
        parts,
        units=units,
        defined=(*parts.defined, function),
        absorbed=(*parts.absorbed, *through),
    )
