"""Whether statements above a wrap can go below it without anything noticing."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.effects import KEEPS_PARAMETERS, Effects
from fsdp_migrate.analysis.library.modules import PARAMETERS, SUBMODULES
from fsdp_migrate.analysis.values import Bound, Const, Symbol, Value, Wrapped
from fsdp_migrate.lowering.before_wrap import keeps_model
from fsdp_migrate.syntax.blocks import shares_line
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, overlap, path_of, reads, touches

# Methods of a module that leave its parameters in place, in number and in order.
HARMLESS = frozenset(
    {
        "compile", "load_state_dict", "requires_grad_", "state_dict",
        "gradient_checkpointing_enable", "buffers", "named_buffers",
        *KEEPS_PARAMETERS, *PARAMETERS, *SUBMODULES,
    }
)  # fmt: skip
MUTATORS = frozenset(
    {"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "sort", "update"}
)
MOVABLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.If, ast.For)
LEAVES = (ast.Return, ast.Break, ast.Continue)
# What of a parameter is another thing below the wrap.
OWN = frozenset(
    {
        "backward_hooks", "data", "device", "grad", "grad_fn", "is_contiguous", "is_cuda",
        "is_leaf", "is_meta", "storage", "untyped_storage", "data_ptr",
    }
)  # fmt: skip
RENAMES = frozenset({"apply_activation_checkpointing", "checkpoint_wrapper", "compile"})
NAMES = frozenset({"named_parameters", *SUBMODULES})


class CannotMove(Exception):
    """Why a statement can't be moved."""


@dataclass
class Move:
    """An attempt to move `seeds`, and what depends on them, below the statement `below`."""

    analysis: Analysis
    effects: Effects  # what calls do
    module: Module
    seeds: Sequence[ast.stmt]
    below: ast.stmt
    path: str  # the model
    inner: Value  # what it is before the wrap
    filled: Mapping[ast.stmt, Collection[str]] = field(
        default_factory=dict
    )  # what statements make keep parameters

    def statements(self) -> list[ast.stmt]:
        """The statements that go, in their order.

        Raises:
            CannotMove: something would notice.
        """
        block = self.module.block(self.below)
        first = min(block.index(seed) for seed in self.seeds)
        moved: list[ast.stmt] = []
        passed: list[ast.stmt] = []
        for statement in block[first : block.index(self.below)]:
            if isinstance(statement, ast.FunctionDef) and not statement.decorator_list:
                self._defined(statement, moved)
                passed.append(statement)
            elif statement in self.seeds or touches(reads(statement), self._changed(moved)):
                self._movable(statement)
                moved.append(statement)
            else:
                passed.append(statement)
                self._passes(statement, moved)
        self._passes_wrap(moved)
        self._sees_the_same(moved, passed)
        return moved

    def _defined(self, function: ast.FunctionDef, moved: list[ast.stmt]) -> None:
        """A function that reads what moves may stay: it reads when it is called, if that is below.

        Raises:
            CannotMove: it is called, or handed on, before.
        """
        changed = self._changed(moved)
        defaults = [*function.args.defaults, *function.args.kw_defaults]
        if any(touches(reads(node), changed) for node in defaults if node is not None):
            raise CannotMove(f"line {function.lineno} uses it")
        if not touches(reads(function), changed):
            return
        block = self.module.block(self.below)
        for later in block[block.index(function) + 1 : block.index(self.below) + 1]:
            if function.name in reads(later):
                raise CannotMove(f"line {later.lineno} may call what uses it")

    def _movable(self, statement: ast.stmt) -> None:
        if not isinstance(statement, MOVABLE):
            raise CannotMove(f"line {statement.lineno} uses it")
        if shares_line(self.module, statement):
            raise CannotMove(f"line {statement.lineno} holds two statements")
        if not self.effects.quiet(statement):
            raise CannotMove(f"line {statement.lineno} may do more than build it")
        if self.effects.mentions(statement, OWN):
            raise CannotMove(f"line {statement.lineno} reads what the wrap changes")
        if any(overlap(path, self.path) for path in binds(statement)):
            raise CannotMove(f"line {statement.lineno} binds the model")

    def _passes(self, statement: ast.stmt, moved: list[ast.stmt]) -> None:
        """Whether `moved` may run after `statement`, which they precede."""
        for other in moved:
            changed = self._changed([statement])
            if keeps_model(self.analysis, statement, self.path):
                changed -= {self.path}
            if touches(changed, [*reads(other), *self._changed([other])]):
                raise CannotMove(f"line {statement.lineno} changes what it reads")
        if self._disturbs(statement, moved):
            raise CannotMove(f"line {statement.lineno} may change what it reads")

    def _passes_wrap(self, moved: list[ast.stmt]) -> None:
        for statement in moved:
            if touches(reads(self.below), self._changed([statement])):
                raise CannotMove("the statement that wraps the model reads it")
            others = {path for path in binds(self.below) if path != self.path}
            if touches(others, [*reads(statement), *binds(statement)]):
                raise CannotMove("the statement that wraps the model changes what it reads")
        if any(isinstance(node, LEAVES) for node in own_nodes(self.below)):
            raise CannotMove("the statement that wraps the model leaves the function or loop")

    def _changed(self, statements: Sequence[ast.stmt]) -> set[str]:
        """What `statements` bind, or fill."""
        filled = {
            path
            for statement in statements
            for inside in nodes_in(statement)
            if isinstance(inside, ast.stmt)
            for path in self.filled.get(inside, ())
        }
        return filled.union(*map(binds, statements))

    # ------------------------------------------------------------------ what a call may change
    def _disturbs(self, statement: ast.stmt, moved: list[ast.stmt]) -> bool:
        wanted = [path for m in moved for path in reads(m)]
        for node in own_nodes(statement):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "requires_grad"
                and not isinstance(node.ctx, ast.Load)
            ):
                if any(self.effects.mentions(m, {"requires_grad"}) for m in moved):
                    return True
            elif isinstance(node, ast.Call) and self._call_disturbs(node, wanted, moved):
                return True
        return False

    def _call_disturbs(self, call: ast.Call, wanted: list[str], moved: list[ast.stmt]) -> bool:
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        given = [*call.args, *(k.value for k in call.keywords), *([receiver] if receiver else [])]
        for node in (n for argument in given for n in own_nodes(argument)):
            path = path_of(node)
            if path is not None and touches([path], wanted):
                if self._argument_disturbs(call, node, path, wanted, moved):
                    return True
        return False

    def _argument_disturbs(
        self, call: ast.Call, node: ast.AST, path: str, wanted: list[str], moved: list[ast.stmt]
    ) -> bool:
        """Whether `call` may change something that is read by what moves, given `node`."""
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        is_receiver = isinstance(call.func, ast.Attribute) and node is call.func.value
        if path == self.path and is_receiver:
            return not self._harmless_method(method, moved)
        if path == self.path or self.path.startswith(f"{path}."):
            return not self._harmless_call(call)
        if overlap(path, self.path):
            return method not in HARMLESS and not self._harmless_call(call)
        if all(isinstance(a, Const | Symbol) for a in self.analysis.value(node)):
            return False
        mutates = is_receiver and method in MUTATORS
        return mutates or (not self.effects.quiet(call) and self._may_store(path, wanted))

    def _harmless_method(self, method: str, moved: list[ast.stmt]) -> bool:
        if method == "requires_grad_":
            return not any(self.effects.mentions(m, {"requires_grad"}) for m in moved)
        return method in HARMLESS

    def _harmless_call(self, call: ast.Call) -> bool:
        """Whether a call that is given the model leaves its parameters alone."""
        return all(
            (isinstance(atom, Symbol) and short(atom.name) in RENAMES) or self.effects.builds(call)
            for atom in self.analysis.value(call.func)
        )

    def _may_store(self, path: str, wanted: list[str]) -> bool:
        """Whether something below `path` that is wanted is stored anywhere in the program."""
        if "*" in self.effects.stored:
            return True
        for read in wanted:
            if read == path or path.startswith(f"{read}."):
                return True
            if read.startswith(f"{path}."):
                attributes = read[len(path) + 1 :].split(".")
                if self.effects.stored & set(attributes):
                    return True
        return False

    # ------------------------------------------------------------------ what is seen below
    def _sees_the_same(self, moved: list[ast.stmt], passed: list[ast.stmt]) -> None:
        printing = any(self.effects.prints(m) for m in moved)
        if printing and any(self.effects.prints(s) for s in [*passed, self.below]):
            raise CannotMove("lines would be printed in another order")
        if all(self._only_parameters(m) for m in moved):
            return
        after = self._model_after()
        if not after:
            raise CannotMove("below the wrap the model may be something else")
        renames = RENAMES - {"compile"} if all(map(self._in_methods, moved)) else RENAMES
        if any(self.effects.mentions(m, NAMES) for m in moved):
            between = [*passed, self.below]
            if any(self.effects.mentions(s, renames) for s in between):
                raise CannotMove("names of parameters change in between")

    def _in_methods(self, statement: ast.stmt) -> bool:
        """Whether the model is only asked for methods of the program's own, if for anything.

        A compiled model runs them on the module that it was made from.
        """
        return all(
            isinstance(parent := self.module.parents[node], ast.Attribute)
            and all(isinstance(a, Bound) for a in self.analysis.value(parent) or [None])
            for node in own_nodes(statement)
            if path_of(node) == self.path
        )

    def _only_parameters(self, statement: ast.stmt) -> bool:
        """Whether all that is asked of the model, if anything, is `parameters()`."""
        for node in own_nodes(statement):
            path = path_of(node)
            if path is None or not overlap(path, self.path):
                continue
            parent = self.module.parents[node]
            if self.path.startswith(f"{path}."):
                if not isinstance(parent, ast.Attribute):
                    return False
            elif path == self.path:
                if not isinstance(parent, ast.Attribute) or parent.attr != "parameters":
                    return False
            elif path != f"{self.path}.parameters" or not isinstance(parent, ast.Call):
                return False
        return True

    def _model_after(self) -> bool:
        """Whether the model's name stands for an FSDP model below, or for the bare model."""
        for node in own_nodes(self.below):
            if isinstance(node, ast.Assign) and any(
                path_of(target) == self.path for target in node.targets
            ):
                value = self.analysis.value(node.value)
                if not all(isinstance(a, Wrapped) or a in self.inner for a in value):
                    return False
        return True
