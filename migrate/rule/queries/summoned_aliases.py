"""Whether a body changes what it reads of parameters: through other names, containers and views.

    w = model.head.weight
    w.mul_(2)

A copy of the whole tensor would be changed, and not the parameter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from fsdp_migrate.analysis.values import symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

# Attributes and methods that give the same memory, of tensors and of what holds them.
SAME = frozenset(
    {
        "T", "as_strided", "copy", "data", "detach", "diagonal", "expand", "flatten", "get", "grad",
        "items", "mT", "narrow", "permute", "pop", "real", "requires_grad_", "reshape", "select",
        "setdefault", "squeeze", "t", "transpose", "unflatten", "unsqueeze", "values", "view",
        "view_as",
    }
)  # fmt: skip
FILLS = frozenset({"add", "append", "appendleft", "extend", "insert", "update"})
HANDS_ON = frozenset(
    f"builtins.{name}"
    for name in (
        "dict", "enumerate", "filter", "frozenset", "iter", "list", "map", "max", "min", "next",
        "reversed", "set", "sorted", "tuple", "zip",
    )
)  # fmt: skip
DISPLAYS = (ast.Dict, ast.IfExp, ast.List, ast.NamedExpr, ast.Set, ast.Starred, ast.Tuple)
COMPREHENSIONS = (ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp)


def change_by_another_name(
    facts: Facts, module: Module, body: Sequence[ast.stmt], sources: Iterable[ast.expr]
) -> ast.AST | None:
    """What in `body` writes to the memory of one of `sources`, if something does."""
    return _Aliases(facts, module, body).writing(list(sources))


class _Aliases:
    def __init__(self, facts: Facts, module: Module, body: Sequence[ast.stmt]) -> None:
        self.facts, self.module = facts, module
        self.nodes = [node for statement in body for node in nodes_in(statement)]
        self.names: set[str] = set()
        self.holders: set[str] = set()  # those of the names that are of containers
        self.found: ast.AST | None = None

    def writing(self, sources: Sequence[ast.expr]) -> ast.AST | None:
        """What writes to the memory of one of `sources`."""
        for source in sources:
            self._follow(source)
        known: tuple[int, int] = (-1, -1)
        while self.found is None and known != (len(self.names), len(self.holders)):
            known = len(self.names), len(self.holders)
            for node in self._named():
                self._follow(node)
        return self.found

    def _named(self) -> Iterator[ast.expr]:
        for node in self.nodes:
            if isinstance(node, ast.Name) and node.id in self.names:
                if isinstance(node.ctx, ast.Load) or self._is_augmented(node):
                    yield node

    def _is_augmented(self, node: ast.expr) -> bool:
        parent = self.module.parents[node]
        return isinstance(parent, ast.AugAssign) and parent.target is node

    # ------------------------------------------------------------------ one expression
    def _follow(self, node: ast.expr) -> None:
        """Follow what `node` gives to what takes it."""
        parent = self.module.parents[node]
        if isinstance(parent, ast.keyword):
            if parent.arg == "out":
                self.found = parent
            parent = self.module.parents[parent]
        if isinstance(parent, ast.Attribute):
            self._attribute(parent)
        elif isinstance(parent, ast.Subscript) and parent.value is node:
            self._item(node, parent)
        elif isinstance(parent, ast.AugAssign) and parent.target is node:
            self.found = parent
        elif isinstance(parent, ast.Call):
            self._given(parent)
        elif isinstance(parent, DISPLAYS):
            if isinstance(parent, ast.NamedExpr):
                self._bind(parent.target)
            self._follow(parent)
        elif isinstance(parent, ast.Assign):
            for target in parent.targets:
                self._bind(target, held=_is_display(node))
        elif isinstance(parent, ast.AnnAssign | ast.For | ast.comprehension):
            if node is not parent.target:
                self._bind(parent.target)
        elif isinstance(parent, COMPREHENSIONS):
            self._follow(parent)

    def _attribute(self, node: ast.Attribute) -> None:
        parent = self.module.parents[node]
        if isinstance(node.ctx, ast.Store):
            self.found = node
        elif isinstance(parent, ast.Call) and parent.func is node:
            if node.attr.endswith("_") and not node.attr.endswith("__"):
                self.found = parent
            elif node.attr in SAME:
                self._follow(parent)
        elif node.attr in SAME:
            self._follow(node)

    def _item(self, node: ast.expr, item: ast.Subscript) -> None:
        if isinstance(item.ctx, ast.Load) or self._is_augmented(item):
            self._follow(item)
        elif not (isinstance(node, ast.Name) and node.id in self.holders):
            self.found = item

    def _given(self, call: ast.Call) -> None:
        """What is given to a call: a container may take it, a function of a library write to it."""
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in FILLS:
            if isinstance(func.value, ast.Name):
                self._bind(func.value, held=True)
            return
        names = symbols(self.facts.value(func))
        if any(name.endswith("_") for name in names):
            self.found = call
        elif names & HANDS_ON or any(name.startswith("itertools.") for name in names):
            self._follow(call)

    def _bind(self, target: ast.expr, *, held: bool = False) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self._bind(part, held=held)
        elif isinstance(target, ast.Starred | ast.Subscript):
            self._bind(target.value, held=True)
        elif isinstance(target, ast.Name):
            self.names.add(target.id)
            if held:
                self.holders.add(target.id)


def _is_display(node: ast.expr) -> bool:
    return isinstance(node, (*COMPREHENSIONS, ast.Dict, ast.List, ast.Set, ast.Tuple))
