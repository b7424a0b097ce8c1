"""What proves that a value is an FSDP1 model: that FSDP1's own functions are given it.

`FSDP.state_dict_type(model, ...)` says what `model` is, wherever it comes from.  It says so of the
variable (or `self.net`, or `job.models["actor"]`) in the whole scope where that lives, unless the
call stands in one branch of an `if`: then it says so there, and "maybe" elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

# FSDP1's functions, and the parameter that is the model: by position, and by name.
PROVING: Mapping[str, tuple[int, str]] = {
    f"{FSDP1}.{name}": place
    for name, place in {
        "state_dict_type": (0, "module"),
        "set_state_dict_type": (0, "module"),
        "get_state_dict_type": (0, "module"),
        "summon_full_params": (0, "module"),
        "fsdp_modules": (0, "module"),
        "optim_state_dict": (0, "model"),
        "optim_state_dict_to_load": (0, "model"),
        "full_optim_state_dict": (0, "model"),
        "sharded_optim_state_dict": (0, "model"),
        "shard_full_optim_state_dict": (1, "model"),
        "flatten_sharded_optim_state_dict": (1, "model"),
        "scatter_full_optim_state_dict": (1, "model"),
        "rekey_optim_state_dict": (2, "model"),
        "clip_grad_norm_": (0, "self"),
        "no_sync": (0, "self"),
        "check_is_root": (0, "self"),
        "register_comm_hook": (0, "self"),
    }.items()
}

RETURN = "return"  # the text of what a function gives back

Lines: TypeAlias = tuple[int, int]
"""The first and the last line of some code."""

Owner: TypeAlias = "Site | str"
"""Where a name lives: a function or class by its place, a module by its name."""


@dataclass(frozen=True)
class Region:
    """The lines of a function where a proof holds: all (None), or those of one branch."""

    module: str
    branch: Lines | None = None
    others: tuple[Lines, ...] = ()  # branches that run instead, perhaps for other models

    def holds(self, module: str, node: ast.AST) -> bool:
        """Whether the proof is one for `node`; if not, it says that `node` may be a model."""
        if module != self.module:
            return self.branch is None
        if any(_within(node, lines) for lines in self.others):
            return False
        return self.branch is None or _within(node, self.branch)


def _within(node: ast.AST, lines: Lines) -> bool:
    return lines[0] <= getattr(node, "lineno", 0) <= lines[1]


@dataclass(frozen=True)
class Proofs:
    """What is proven, by where the expression lives and its text."""

    known: dict[tuple[Owner, str], frozenset[Region]] = field(default_factory=dict)
    _owners: set[Owner] = field(default_factory=set)

    def add(self, owner: Owner, text: str, region: Region) -> bool:
        """Note a proof; whether it is new."""
        found = self.known.get((owner, text), frozenset())
        self.known[owner, text] = found | {region}
        self._owners.add(owner)
        return region not in found

    def has(self, owner: Owner) -> bool:
        """Whether something that lives in `owner` is proven."""
        return owner in self._owners

    def of(self, owner: Owner, text: str, module: str, node: ast.AST) -> bool | None:
        """Whether `node` of `module` is proven to be a model; None if it may be one."""
        regions = self.known.get((owner, text))
        if regions is None:
            return False
        return True if any(region.holds(module, node) for region in regions) else None


def model_given(call: ast.Call, function: str) -> ast.expr | None:
    """The argument of a call of FSDP1's `function` that has to be a model."""
    index, name = PROVING[function]
    for keyword in call.keywords:
        if keyword.arg in (name, "model"):
            return keyword.value
    if any(isinstance(argument, ast.Starred) for argument in call.args[: index + 1]):
        return None
    return call.args[index] if len(call.args) > index else None


def root_of(node: ast.AST) -> ast.Name | None:
    """The variable that `a.b["c"][i]` starts at, or None if it is anything else."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript) and not _is_plain(node.slice):
            return None
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _is_plain(index: ast.expr) -> bool:
    return isinstance(index, ast.Constant) or root_of(index) is not None


def name_of(node: ast.AST) -> str:
    """One name for each expression that `root_of` has an answer for."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{name_of(node.value)}.{node.attr}"
        case ast.Subscript():
            return f"{name_of(node.value)}[{name_of(node.slice)}]"
        case ast.Constant():
            return repr(node.value)
        case _:
            return ""


# ---------------------------------------------------------------------- where a proof holds
def region_of(module: Module, node: ast.AST) -> Region:
    """Where what the call at `node` proves holds, in the function around it."""
    branch: Lines | None = None
    others: list[Lines] = []
    child = node
    for parent in module.ancestors(node):
        if branch is None:
            branch = _branch(parent, child)
        others.extend(_other_branch(parent, child))
        if isinstance(child, ast.stmt):
            others.extend(_left_before(module.block(child), child))
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            break
        child = parent
    return Region(module.name, branch, tuple(others))


def _branch(parent: ast.AST, child: ast.AST) -> Lines | None:
    """The lines of the branch of `parent` that `child` is in, if its kind decides on it."""
    match parent:
        case ast.If() if child is not parent.test and _asks_for_kind(parent.test):
            return _lines(parent.body if child in parent.body else parent.orelse)
        case ast.IfExp() if child is not parent.test and _asks_for_kind(parent.test):
            return _lines([child])
        case ast.BoolOp() if child is not parent.values[0]:
            return _lines([child])
        case ast.ExceptHandler() | ast.match_case():
            return _lines(parent.body)
        case _:
            return None


def _other_branch(parent: ast.AST, child: ast.AST) -> Iterator[Lines]:
    """The branch of `parent` that runs where the one with `child` doesn't."""
    if isinstance(parent, ast.If) and child is not parent.test and _asks_for_kind(parent.test):
        other = parent.orelse if child in parent.body else parent.body
        if other:
            yield _lines(other)


def _lines(nodes: list[ast.stmt] | list[ast.AST]) -> Lines:
    return getattr(nodes[0], "lineno", 0), getattr(nodes[-1], "end_lineno", 0) or 0


def _asks_for_kind(test: ast.expr) -> bool:
    """Whether a condition may tell FSDP from something else: not one of counting steps or ranks."""
    match test:
        case ast.BoolOp():
            return any(map(_asks_for_kind, test.values))
        case ast.UnaryOp(op=ast.Not()):
            return _asks_for_kind(test.operand)
        case ast.BinOp():
            return False
        case ast.Compare(left=left, comparators=[right]):
            sides = (left, right)
            return not any(isinstance(s, ast.BinOp) or _is_number(s) for s in sides)
        case _:
            return True


def _is_number(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    )


def _left_before(block: object, child: ast.AST) -> Iterator[Lines]:
    """The branches above `child` that leave the function, so that it runs for others only."""
    for statement in block if isinstance(block, list) else []:
        if statement is child:
            return
        if isinstance(statement, ast.If) and _asks_for_kind(statement.test):
            for body in (statement.body, statement.orelse):
                if body and isinstance(body[-1], ast.Return | ast.Raise):
                    yield _lines(body)
