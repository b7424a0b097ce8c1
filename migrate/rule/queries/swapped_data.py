"""Copies of sharded parameters that a program keeps in a dict or list, to put them back later.

A moving average of the weights is kept so: `shadow[name] = p.data.clone()`, and `p.data =
shadow[name]` for an evaluation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from fsdp_migrate.analysis.values import Unknown, Wrapped
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.held_data import COMPUTING, SAME, keeps_data
from fsdp_migrate.rule.queries.parameters import called, is_summoned, owners, use_orig_params
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of

_DEPTH = 6
_EMPTY = frozenset({"builtins.dict", "builtins.list", "collections.OrderedDict"})
_READERS = ("builtins.", "torch.save", "torch._foreach")
_READING = frozenset({"clear", "get", "items", "keys", "pop", "popitem", "values"})


@dataclass(frozen=True)
class Copies:
    """What is kept under a name; `aliases` are stored values that share a parameter's memory."""

    aliases: tuple[ast.expr, ...]


@dataclass(frozen=True)
class PutBack:
    """A statement that puts kept copies into a model's parameters, or swaps the two (`pair`)."""

    models: frozenset[Wrapped]
    aliases: tuple[ast.expr, ...] = ()
    pair: tuple[ast.expr, ast.expr] | None = None


@dataclass
class _Keeper:
    """The stores into one dict or list, looked at one by one."""

    facts: Facts
    module: Module
    path: str
    aliases: list[ast.expr] = field(default_factory=list)
    filled: bool = False

    # ------------------------------------------------------------------ what a value is
    def kind(self, node: ast.expr, depth: int = 0) -> str:
        """`fresh` for a sharded tensor of its own, `alias` for a parameter's; else nothing."""
        if depth > _DEPTH:
            return ""
        if isinstance(node, ast.Attribute) and node.attr == "data":
            return self.kind(node.value, depth + 1)
        if isinstance(node, ast.Subscript) and path_of(node.value) == self.path:
            return "element"
        if isinstance(node, ast.BinOp):
            sides = [self.kind(node.left, depth + 1), self.kind(node.right, depth + 1)]
            rest = [n for n, k in zip((node.left, node.right), sides, strict=True) if not k]
            return "fresh" if any(sides) and all(map(_is_number, rest)) else ""
        if isinstance(node, ast.Name):
            found = self._definition(node)
            if found is not None:
                return self.kind(found, depth + 1)
            return "alias" if _is_sharded(self.facts, node) else ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = self.kind(node.func.value, depth + 1)
            if not of or any(not _is_number(a) and not self.kind(a, depth + 1) for a in node.args):
                return ""
            if node.func.attr in SAME:
                return of
            return "fresh" if node.func.attr in COMPUTING and not node.keywords else ""
        return ""

    def _definition(self, node: ast.Name) -> ast.expr | None:
        """The one value that a local variable is given."""
        scope = self.module.scope(node)
        bound = [
            n
            for n in nodes_in(scope)
            if isinstance(n, ast.Name) and n.id == node.id and not isinstance(n.ctx, ast.Load)
        ]
        parent = self.module.parents[bound[0]] if len(bound) == 1 else None
        return parent.value if isinstance(parent, ast.Assign) else None

    # ------------------------------------------------------------------ what is stored
    def stores(self, node: ast.expr) -> bool:
        """Whether all that a stored value holds are sharded copies."""
        if _is_empty(self.facts, node):
            return True
        if isinstance(node, ast.DictComp):
            return self.takes(node.value)
        if isinstance(node, ast.ListComp):
            return self.takes(node.elt)
        return False

    def takes(self, node: ast.expr) -> bool:
        """Whether one stored value is a sharded copy; one that shares memory is noted."""
        kind = self.kind(node)
        if kind == "alias":
            self.aliases.append(node)
        self.filled = self.filled or kind in ("alias", "fresh")
        return bool(kind)

    def use(self, node: ast.expr) -> bool:
        """Whether a place that names the dict or list keeps sharded copies in it."""
        parent = self.module.parents[node]
        if isinstance(parent, ast.Assign) and node in parent.targets:
            return self.stores(parent.value)
        if isinstance(parent, ast.AnnAssign) and parent.target is node:
            return parent.value is None or self.stores(parent.value)
        if isinstance(parent, ast.Subscript) and parent.value is node:
            around = self.module.parents[parent]
            if isinstance(around, ast.Assign) and parent in around.targets:
                return self.takes(around.value)
            return not isinstance(around, ast.AugAssign) or around.target is not parent
        if isinstance(parent, ast.Attribute):
            around = self.module.parents[parent]
            if isinstance(around, ast.Call) and parent.attr == "append" and len(around.args) == 1:
                return self.takes(around.args[0])
            return parent.attr in _READING
        if isinstance(parent, ast.Call) and node in parent.args:
            names = called(self.facts, parent)
            return bool(names) and all(n.startswith(_READERS) for n in names)
        return isinstance(parent, ast.For | ast.comprehension | ast.Compare | ast.If)


def put_back(facts: Facts, module: Module, node: ast.Assign) -> PutBack | None:
    """What a statement puts back, if it is known and nothing else keeps the parameters' memory."""
    if len(node.targets) != 1 or is_summoned(facts, module, node):
        return None
    target, pair = node.targets[0], swapped(facts, module, node)
    found: PutBack | None = None
    if pair is not None:
        models = frozenset(w for side in pair for w in _owners(facts, side))
        if all(use_orig_params(facts, wrapped) for wrapped in models):
            found = PutBack(models, pair=pair)
    elif isinstance(target, ast.Attribute) and target.attr == "data":
        copies = copies_of(facts, module, node.value)
        if copies is not None:
            found = PutBack(owners(facts, target.value), copies.aliases)
    if found is None or not found.models:
        return None
    return None if keeps_data(facts, module, but=copied_in(facts, module)) else found


def _owners(facts: Facts, side: ast.expr) -> frozenset[Wrapped]:
    return owners(facts, side.value) if isinstance(side, ast.Attribute) else frozenset()


def swapped(facts: Facts, module: Module, node: ast.Assign) -> tuple[ast.expr, ast.expr] | None:
    """The two sides of `p.data, s.data = s.data, p.data`, if `s` is a sharded copy that is kept."""
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        return None
    if len(target.elts) != 2 or len(value.elts) != 2:
        return None
    one, other = target.elts
    if [path_of(n) for n in value.elts] != [path_of(other), path_of(one)] or not path_of(one):
        return None
    kept = [side for side in (one, other) if copies_of(facts, module, side) is not None]
    return (one, other) if len(kept) == 1 else None


def copied_in(facts: Facts, module: Module) -> tuple[ast.expr, ...]:
    """The values that are copied where they were shared: those put back, and those kept for it."""
    found: dict[ast.expr, None] = {}
    for node in module.parents:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if swapped(facts, module, node) is not None:
                found[node.value] = None
            elif isinstance(target, ast.Attribute) and target.attr == "data":
                copies = copies_of(facts, module, node.value)
                if copies is not None:
                    found.update(dict.fromkeys((node.value, *copies.aliases)))
    return tuple(found)


def copies_of(facts: Facts, module: Module, value: ast.expr) -> Copies | None:
    """What is kept where `value` is taken from, if it is sharded copies and nothing else."""
    path = _kept_in(module, value)
    if path is None:
        return None
    keeper = _Keeper(facts, module, path)
    every = list(_named(facts, module, value, path))
    if any(other is not module for other, _ in every):
        return None
    if not all(keeper.use(node) for _, node in every) or not keeper.filled:
        return None
    return Copies(tuple(keeper.aliases))


def _kept_in(module: Module, value: ast.expr) -> str | None:
    """The dict or list that a value is taken from: `shadow[name]`, or `s` of `zip(p, shadow)`."""
    if isinstance(value, ast.Attribute) and value.attr == "data":
        value = value.value
    if isinstance(value, ast.Subscript):
        return path_of(value.value)
    if not isinstance(value, ast.Name):
        return None
    for around in module.ancestors(value):
        if isinstance(around, ast.For) and isinstance(around.target, ast.Tuple):
            every, targets = around.iter, around.target.elts
            at = next((i for i, t in enumerate(targets) if _is_name(t, value.id)), None)
            if at is None or not isinstance(every, ast.Call) or len(every.args) != len(targets):
                continue
            is_zip = isinstance(every.func, ast.Name) and every.func.id == "zip"
            return path_of(every.args[at]) if is_zip else None
    return None


def _named(
    facts: Facts, module: Module, value: ast.expr, path: str
) -> Iterator[tuple[Module, ast.expr]]:
    """Where the dict or list is named: a local variable in its function, an attribute anywhere."""
    first, _, last = path.rpartition(".")
    if not first:
        for node in nodes_in(module.scope(value)):
            if isinstance(node, ast.Name) and node.id == last:
                yield module, node
        return
    for other in facts.analysis.project.modules.values():
        for node in other.parents:
            if isinstance(node, ast.Attribute) and node.attr == last:
                yield other, node


def _is_sharded(facts: Facts, node: ast.expr) -> bool:
    """Whether all that `node` is known to be are parameters of FSDP1 models.

    What isn't known may be parameters of a plain model: copies of these can be put back as well.
    """
    found = facts.holders.params_in(facts.value(node))
    known = [owner for owner in found if not isinstance(owner, Unknown)]
    return bool(known) and all(isinstance(owner, Wrapped) for owner in known)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_number(node: ast.expr) -> bool:
    """Whether an operand is written as a number, or as a plain name for one."""
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, ast.Constant) or path_of(node) is not None


def _is_empty(facts: Facts, node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):
        return not node.keys
    if isinstance(node, ast.List):
        return not node.elts
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Call) and not node.args and called(facts, node) <= _EMPTY
