"""One call that a framework's settings stand in, on its way from FSDP1 to FSDP2."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fsdp_migrate.findings.arguments import Arguments
from fsdp_migrate.findings.code import NOTHING, Kept, Part
from fsdp_migrate.findings.edits import Edit, ReplaceStatement
from fsdp_migrate.findings.finding import Safety
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


class ByHand(Exception):
    """Why a person has to decide: at a node, if it is not the whole call that stands in the way."""

    def __init__(
        self, message: str, at: ast.expr | None = None, paths: Iterable[Path] = ()
    ) -> None:
        super().__init__(message)
        self.at = at
        self.paths = frozenset(paths)  # other files that must not change without this one


class Values(Protocol):
    """What is known of the expressions that settings are given as; None is one not passed."""

    def is_given(self, node: ast.expr | None) -> bool:
        """Whether it is passed, and is or may be something else than None."""

    def is_none(self, node: ast.expr | None) -> bool:
        """Whether it is None, and nothing else."""

    def literals(self, node: ast.expr | None) -> list[object] | None:
        """The literals that it can be, or None if it can be something else."""

    def flag(self, node: ast.expr | None) -> bool | None:
        """What a flag says: False where it isn't passed; None if only the run knows."""

    def strategy(self, node: ast.expr | None) -> str | None:
        """The one sharding strategy that it is: by name, by number or FSDP1's own."""

    def resharding(self, node: ast.expr | None) -> str | None:
        """The same where True stands for FULL_SHARD and False for SHARD_GRAD_OP."""

    def state_dict_types(self, node: ast.expr | None) -> set[str | None]:
        """The kinds of state dict that it can be; None for what is not known."""

    def words(self, node: ast.expr) -> list[str] | None:
        """The words of Transformers' `fsdp`; None if only the run knows them."""

    def names(self, node: ast.expr | None) -> set[str]:
        """The things of libraries that it can be, by canonical name."""

    def calls(self, node: ast.expr | None, names: Iterable[str]) -> bool:
        """Whether it is a call of one of the functions or classes `names`, and of nothing else."""

    def takes_fsdp1(self, node: ast.expr | None) -> bool:
        """Whether it can be something of FSDP1's."""

    def homes(self, node: ast.expr | None) -> list[Path]:
        """The files that make what it can be."""

    def definition(self, node: ast.expr) -> ast.Assign | None:
        """What alone gives the variable its value, if nothing but `node` reads that."""

    def unread(self, statements: Iterable[ast.stmt], gone: set[ast.AST]) -> list[ast.stmt]:
        """Those of the definitions that nothing reads any more without the nodes in `gone`."""

    def precision(self, node: ast.Call) -> Mapping[str, ast.expr] | None:
        """The fields that a `MixedPrecision(...)` sets; None if FSDP2 has no form for them."""

    def policy_classes(self, node: ast.expr) -> tuple[Sequence[str], Sequence[ast.stmt]] | None:
        """The classes that are all that a wrap policy asks for, and the definitions it is in."""


@dataclass
class Conversion:
    """What becomes of a call, and what there is to say about it."""

    module: Module
    arguments: Arguments
    values: Values
    notes: list[str] = field(default_factory=list)
    remarks: list[tuple[ast.expr, str]] = field(default_factory=list)  # at places inside
    safety: Safety = Safety.SAFE
    inner: list[Arguments] = field(default_factory=list)  # calls and displays inside, changed too
    replaced: set[ast.AST] = field(default_factory=set)  # what the fix takes the place of
    followed: list[ast.stmt] = field(default_factory=list)  # definitions of what is replaced
    removed: list[ast.stmt] = field(default_factory=list)  # those of them that nothing else reads

    def flag(self, name: str) -> bool | None:
        """What a flag says; None if only the run knows."""
        return self.values.flag(self.arguments.value(name))

    def kept(self, node: ast.expr) -> Kept:
        """A part of the call, as it is written."""
        return Kept(self.module.span(node))

    def write(self, name: str, value: Part, *, instead_of: str | None = None) -> None:
        """Pass something else as an argument."""
        self._forget(name)
        self.arguments.put(name, value, instead_of=instead_of)

    def drop(self, name: str) -> None:
        """Leave an argument out."""
        self._forget(name)
        self.arguments.drop(name)

    def _forget(self, name: str) -> None:
        node = self.arguments.value(name)
        if node is not None:
            self.replaced |= set(nodes_in(node))

    def note(self, text: str) -> None:
        """Say something in the message, once."""
        if text not in self.notes:
            self.notes.append(text)

    def remark(self, node: ast.expr | None, text: str) -> None:
        """Say something about a part of the call, at its place."""
        if node is not None:
            self.remarks.append((node, text))

    def unsafe(self, text: str) -> None:
        """Say what a run does otherwise than before."""
        self.note(text)
        self.safety = Safety.UNSAFE

    def remove_unread(self) -> None:
        """Take out the definitions that nothing reads without what is replaced."""
        self.removed = self.values.unread(self.followed, self.replaced)
        self.replaced |= {node for statement in self.removed for node in nodes_in(statement)}

    def edits(self) -> list[Edit]:
        """The edits that make it so."""
        changed = [each for each in (*self.inner, self.arguments) if each.is_changed]
        removed = [ReplaceStatement(self.module.span(s), NOTHING) for s in self.removed]
        return [*(each.edit() for each in changed), *removed]
