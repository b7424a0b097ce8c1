"""Where a wrap policy is made: what the call says of the units."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Assignment, removable
from fsdp_migrate.analysis.values import Cls, Symbol
from fsdp_migrate.findings.code import Kept, Part, code
from fsdp_migrate.lowering.followed import followed
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

    @property
    def classes(self) -> tuple[ast.expr, ...]:
        """The classes, as far as they are written out."""
        if self.parts:
            return tuple(item for part in self.parts for item in part.classes)
        return tuple(self.listed.elts) if isinstance(self.listed, _DISPLAYS) else ()

    def is_open(self, analysis: Analysis) -> bool:
        """Whether modules of other classes than those written out may be units."""
        if self.parts:
            return any(part.is_open(analysis) for part in self.parts)
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
    return _of_policies(analysis, module, node)


def _of_policies(analysis: Analysis, module: Module, node: ast.Call) -> Born | None:
    asked = asked_policies(analysis, module, node)
    if asked is None:
        return None
    born = [born_policy(analysis, module, made) for made in asked.made]
    parts = tuple(part for part in born if part is not None and part.by_size is None)
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


def tuple_of_classes(module: Module, listed: ast.expr) -> Part:
    """The classes as a tuple, which `isinstance` takes."""
    if isinstance(listed, _DISPLAYS) and not any(isinstance(e, ast.Starred) for e in listed.elts):
        items = tuple(Kept(module.span(item)) for item in listed.elts)
        return code("({classes},)", classes=items)
    if isinstance(listed, _DISPLAYS) and isinstance(listed, ast.Tuple):
        return Kept(module.span(listed))
    return code("tuple({classes})", classes=Kept(module.span(listed)))
