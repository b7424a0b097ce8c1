"""Where a wrap policy is made: what the call says of the units."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Assignment, removable
from fsdp_migrate.analysis.values import Cls, Symbol
from fsdp_migrate.findings.code import Kept, Part, Starred, code
from fsdp_migrate.lowering.followed import followed
from fsdp_migrate.lowering.policy_lists import listed_policies, union_of_classes
from fsdp_migrate.lowering.policy_unions import asked_policies
from fsdp_migrate.lowering.predicates import gives_no_arguments
from fsdp_migrate.lowering.size_policy import BySize, by_size
from fsdp_migrate.lowering.wrap_policy import (
    ALWAYS,
    CUSTOM,
    LAMBDA,
    MODULE_FUNCTION,
    MODULE_WRAP,
    TRANSFORMER,
    only_argument,
    unpacked,
)
from fsdp_migrate.syntax.module import Module

BY_CLASS = {TRANSFORMER: "transformer_layer_cls", MODULE_FUNCTION: "module_classes"}
_DISPLAYS = (ast.Set, ast.Tuple, ast.List)


@dataclass(frozen=True)
class Born:
    """A policy: the classes of the units, what tells one, the least size, or all modules."""

    listed: ast.expr | None = None
    predicate: ast.expr | None = None
    by_size: BySize | None = None
    always: bool = False
    through: tuple[Assignment, ...] = ()  # where parts of it are written, for nothing else
    parts: tuple[Born, ...] = ()  # it holds where one of these does
    union: ast.Call | None = None  # it holds where a policy of a list does that is made elsewhere

    @property
    def classes(self) -> tuple[ast.expr, ...]:
        """The classes, as far as they are written out."""
        if self.parts:
            return tuple(item for part in self.parts for item in part.classes)
        return tuple(self.listed.elts) if isinstance(self.listed, _DISPLAYS) else ()

    @property
    def by_classes(self) -> bool:
        """Whether classes are all that it asks for; those of a list are as the others are."""
        if self.parts:
            return all(part.by_classes for part in self.parts)
        return self.listed is not None or self.union is not None

    def is_open(self, analysis: Analysis) -> bool:
        """Whether modules of other classes than those written out may be units."""
        if self.parts:
            return any(part.is_open(analysis) for part in self.parts)
        if self.union is not None:
            return False
        values = [analysis.value(c) for c in self.classes]
        known = all(
            len(v) == 1 and all(isinstance(atom, Cls | Symbol) for atom in v) for v in values
        )
        return not values or not known


def born_policy(analysis: Analysis, module: Module, node: ast.expr) -> Born | None:
    """What the policy made at `node` says, or None if that isn't seen."""
    if analysis.value(node) == {Symbol(ALWAYS)}:
        return Born(always=True)
    if not isinstance(node, ast.Call) or analysis.value(node.func) == {Symbol("functools.partial")}:
        sized = by_size(analysis, module, node)
        if sized is not None:
            return Born(by_size=sized) if not sized.through else None
    return _made(analysis, module, node) if isinstance(node, ast.Call) else None


def _made(analysis: Analysis, module: Module, node: ast.Call) -> Born | None:
    callee = analysis.value(node.func)
    if callee == {Symbol(MODULE_WRAP)}:
        return _of_classes(analysis, module, only_argument(node, "module_classes"))
    if callee == {Symbol(CUSTOM)}:
        predicate = only_argument(node, "lambda_fn")
        if predicate is None or not gives_no_arguments(analysis, predicate):
            return None
        return Born(predicate=predicate)
    if callee != {Symbol("functools.partial")} or len(node.args) != 1 or len(node.keywords) != 1:
        return None
    (given,) = node.keywords
    for name, parameter in BY_CLASS.items():
        if analysis.value(node.args[0]) == {Symbol(name)} and given.arg == parameter:
            return _of_classes(analysis, module, given.value)
    if analysis.value(node.args[0]) == {Symbol(LAMBDA)} and given.arg == "lambda_fn":
        return Born(predicate=given.value)
    found = _of_policies(analysis, module, node)
    if found is None and listed_policies(analysis, node) is not None:
        return Born(union=node)
    return found


def is_union_of_list(analysis: Analysis, module: Module, node: ast.expr) -> bool:
    """Whether `node` makes a policy that asks those of a list, which are made elsewhere."""
    if listed_policies(analysis, node) is None:
        return False
    born = born_policy(analysis, module, node)
    return born is not None and born.union is not None


def _of_policies(analysis: Analysis, module: Module, node: ast.Call) -> Born | None:
    asked = asked_policies(analysis, module, node)
    if asked is None:
        return None
    born = [born_policy(analysis, module, made) for made in asked.made]
    known = (part for part in born if part is not None and part.union is None)
    parts = tuple(part for part in known if part.by_size is None)
    if not parts or len(parts) != len(born):
        return None
    inner = (gone for part in parts for gone in part.through)
    return Born(parts=parts, through=(*asked.through, *inner))


def _of_classes(analysis: Analysis, module: Module, node: ast.expr | None) -> Born | None:
    written = unpacked(analysis, node) if node is not None else None
    found = followed(module, written) if isinstance(written, ast.Name) else None
    if found is not None and isinstance(unpacked(analysis, found.value), _DISPLAYS):
        alone = removable(analysis, module, found, {written} if written is not None else set())
        made = _of_classes(analysis, module, found.value)
        return replace(made, through=(found,)) if made is not None and alone else made
    if written is None or (isinstance(written, _DISPLAYS) and not written.elts):
        return None
    return Born(listed=written)


def classes_of(module: Module, policy: Born) -> Part:
    """The classes of a policy, which asks for nothing else, as a tuple."""
    if policy.union is not None:
        return union_of_classes(module, policy.union)
    if policy.parts:
        each = [classes_of(module, part) for part in policy.parts]
        if all(_is_plain(part) for part in policy.parts):
            items = tuple(Kept(module.span(item)) for item in policy.classes)
            return code("({classes},)", classes=items)
        return code("({classes},)", classes=tuple(Starred(part) for part in each))
    assert policy.listed is not None
    return tuple_of_classes(module, policy.listed)


def _is_plain(policy: Born) -> bool:
    """Whether the classes of a policy are written out one by one."""
    if policy.parts:
        return all(map(_is_plain, policy.parts))
    starred = any(isinstance(item, ast.Starred) for item in policy.classes)
    return bool(policy.classes) and not starred


def tuple_of_classes(module: Module, listed: ast.expr) -> Part:
    """The classes as a tuple, which `isinstance` takes."""
    if isinstance(listed, _DISPLAYS) and not any(isinstance(e, ast.Starred) for e in listed.elts):
        items = tuple(Kept(module.span(item)) for item in listed.elts)
        return code("({classes},)", classes=items)
    if isinstance(listed, _DISPLAYS) and isinstance(listed, ast.Tuple):
        return Kept(module.span(listed))
    return code("tuple({classes})", classes=Kept(module.span(listed)))
