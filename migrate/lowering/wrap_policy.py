"""Wrap policies that are a condition on the module: which submodules become FSDP units."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition, scope_of
from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.findings.code import Element, Kept, Part, Starred, code, parts_of, qualified
from fsdp_migrate.lowering.class_nesting import may_nest
from fsdp_migrate.lowering.condition import UNIT, Condition, any_of, named_classes
from fsdp_migrate.lowering.followed import followed, is_same
from fsdp_migrate.lowering.policy_functions import built_by, handed_on
from fsdp_migrate.lowering.predicates import (
    class_test,
    function_condition,
    gives_no_arguments,
    lambda_condition,
    parameter_of,
)
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds_names, path_of

_WRITTEN_OUT = (ast.Set, ast.Tuple, ast.List, ast.Lambda, ast.Call)
TRANSFORMER = f"{ROOT}.wrap.transformer_auto_wrap_policy"
LAMBDA = f"{ROOT}.wrap.lambda_auto_wrap_policy"
MODULE_FUNCTION = f"{ROOT}.wrap._module_wrap_policy"
OR = f"{ROOT}.wrap._or_policy"
MODULE_WRAP = f"{ROOT}.wrap.ModuleWrapPolicy"
CUSTOM = f"{ROOT}.wrap.CustomPolicy"
ALWAYS = f"{ROOT}.wrap.always_wrap_policy"


def lower_policy(
    analysis: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    """The condition that the policy written at `node` is, or None if it isn't one.

    Definitions that the policy was followed through are added to `absorbed`.
    """
    at, node = node, _follow(module, node, absorbed)
    if analysis.value(node) == {Symbol(ALWAYS)}:
        return ALL
    condition = _by_function(analysis, module, node, at, {}, absorbed)
    if condition is not None or not isinstance(node, ast.Call):
        return condition
    callee = analysis.value(node.func)
    if callee == {Symbol("functools.partial")} and len(node.args) == 1:
        given = {k.arg: k.value for k in node.keywords if k.arg is not None}
        if len(given) != len(node.keywords):
            return None
        kind = analysis.value(node.args[0])
        for name, parameter, lower in PARTIALS:
            if kind == {Symbol(name)} and set(given) == {parameter}:
                return lower(analysis, module, given[parameter], absorbed)
        return _by_function(analysis, module, node.args[0], at, given, absorbed)
    if callee == {Symbol(MODULE_WRAP)}:
        words = only_argument(node, "module_classes")
        return _classes(analysis, module, words, absorbed) if words is not None else None
    if callee == {Symbol(CUSTOM)}:
        words = only_argument(node, "lambda_fn")
        if words is None or not gives_no_arguments(analysis, words):
            return None
        return _predicate(analysis, module, words, absorbed)
    return _made_by_function(analysis, module, node, absorbed)


def only_argument(call: ast.Call, name: str) -> ast.expr | None:
    """The one argument of a call, by position or by its name."""
    words = [*call.args, *(k.value for k in call.keywords if k.arg == name)]
    if len(words) != 1 or len(call.args) + len(call.keywords) != 1:
        return None
    return words[0] if not isinstance(words[0], ast.Starred) else None


def _any(
    analysis: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    node = _follow(module, node, absorbed)
    if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
        return None
    parts = [lower_policy(analysis, module, item, absorbed) for item in node.elts]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return any_of(analysis, known)


def _by_function(
    analysis: Analysis,
    module: Module,
    node: ast.expr,
    at: ast.expr,
    more: dict[str, ast.expr],
    absorbed: list[Definition],
) -> Condition | None:
    """The condition that a function of the file hands on to, if it means the same `at` the wrap."""
    found = handed_on(analysis, module, node, more)
    if found is None:
        return None
    kind = analysis.value(found.policy)
    for symbol, parameter, lower in PARTIALS:
        if kind == {Symbol(symbol)} and found.name in (None, parameter):
            condition = lower(analysis, module, found.given, [])
            if condition is None or not _means_the_same(module, condition, at):
                return None
            if found.function is not None:
                absorbed.append(found.function)
            return condition
    return None


def _means_the_same(module: Module, condition: Condition, at: ast.expr) -> bool:
    """Whether the names that a condition keeps are those that stand for the same at a place."""
    kept = [part.span for part in parts_of(condition.test) if isinstance(part, Kept)]
    return all(
        is_same(module, node, at)
        for node in module.parents
        if isinstance(node, ast.Name) and any(span.contains(module.span(node)) for span in kept)
    )


def _made_by_function(
    analysis: Analysis, module: Module, call: ast.Call, absorbed: list[Definition]
) -> Condition | None:
    """What a small function of the same file, which only builds a policy, returns."""
    built = built_by(analysis, module, call)
    if built is None:
        return None
    function, made = built
    condition = lower_policy(analysis, module, made, [])
    if condition is None or _reads_locals(module, condition, function):
        return None
    absorbed.append(function)
    return condition


def _reads_locals(module: Module, condition: Condition, function: ast.FunctionDef) -> bool:
    """Whether what a condition keeps of `function` reads variables of that function."""
    kept = [part.span for part in parts_of(condition.test) if isinstance(part, Kept)]
    return any(
        isinstance(node, ast.Name)
        and any(span.contains(module.span(node)) for span in kept)
        and scope_of(module, node) is function
        for node in nodes_in(function)
    )


def _follow(module: Module, node: ast.expr, absorbed: list[Definition]) -> ast.expr:
    """`node`, or what the one assignment of the variable that it names says."""
    if isinstance(node, ast.Name):
        found = followed(module, node)
        if found is not None and isinstance(found.value, _WRITTEN_OUT):
            absorbed.append(found)
            return found.value
    return node


def _classes(
    analysis: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    """The condition that a module is of one of the classes that `node` lists."""
    through: list[Definition] = []
    written = unpacked(analysis, _follow(module, node, through))
    if not isinstance(written, ast.Set | ast.Tuple | ast.List):
        node = unpacked(analysis, node)
        if path_of(node) is None:
            return None
        classes = Kept(module.span(node))
        test = code("isinstance({unit}, tuple({classes}))", unit=UNIT, classes=classes)
        return Condition(test, nested=True, open=True, is_class_test=True)
    if not written.elts or any(binds_names(item) for item in written.elts):
        return None
    absorbed += through
    return _class_condition(analysis, module, written.elts)


def _class_condition(analysis: Analysis, module: Module, items: list[ast.expr]) -> Condition:
    """The condition that a module is of one of the classes `items`, which are written out."""
    atoms = [atom for item in items for atom in analysis.value(item)]
    own, libraries = named_classes(frozenset(atoms))
    known = len(own) + len(libraries) == len(atoms) == len(items)
    nested = not known or may_nest(analysis, own, libraries)
    if len(items) == 1 and not isinstance(items[0], ast.Starred):
        tested: Part = Kept(module.span(items[0]))
    else:
        tested = code("({classes},)", classes=_each(module, items))
    test = code("isinstance({unit}, {tested})", unit=UNIT, tested=tested)
    return Condition(test, nested, own, libraries, open=not known, is_class_test=True)


def _each(module: Module, items: list[ast.expr]) -> tuple[Element, ...]:
    return tuple(
        Starred(Kept(module.span(item.value)))
        if isinstance(item, ast.Starred)
        else Kept(module.span(item))
        for item in items
    )


def unpacked(analysis: Analysis, node: ast.expr) -> ast.expr:
    """What a call like `set(classes)` is given."""
    kinds = {Symbol(f"builtins.{name}") for name in ("set", "frozenset", "tuple", "list")}
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        if analysis.value(node.func) and analysis.value(node.func) <= kinds:
            return node.args[0]
    return node


def _predicate(
    analysis: Analysis, module: Module, node: ast.expr, absorbed: list[Definition]
) -> Condition | None:
    followed = _follow(module, node, absorbed)
    if isinstance(followed, ast.Name):
        return function_condition(analysis, module, followed)
    name = parameter_of(followed) if isinstance(followed, ast.Lambda) else None
    if not isinstance(followed, ast.Lambda) or name is None:
        return None
    classes = class_test(analysis, followed.body, name)
    if classes is None:
        return lambda_condition(analysis, module, followed)
    items = classes.elts if isinstance(classes, ast.Tuple) else [classes]
    return _class_condition(analysis, module, items)


# Every module but the root, and but those that fully_shard refuses: they hold nothing themselves.
ALL = Condition(
    code(
        "not isinstance({unit}, ({list}, {dict}))",
        unit=UNIT,
        list=qualified("torch.nn.ModuleList"),
        dict=qualified("torch.nn.ModuleDict"),
    ),
    nested=True,
    open=True,
)
# What `functools.partial` makes a policy of, and the one argument that says which.
PARTIALS = (
    (TRANSFORMER, "transformer_layer_cls", _classes),
    (MODULE_FUNCTION, "module_classes", _classes),
    (LAMBDA, "lambda_fn", _predicate),
    (OR, "policies", _any),
)
