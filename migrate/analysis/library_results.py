"""What the program does with a thing that a library made: what tells an optimizer from others.

PyTorch's optimizers are known by their names.  What calls of other libraries give is known by
what the program asks of it: an optimizer steps, or is handed to a scheduler or to a scaler.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Cls,
    Func,
    Instance,
    Method,
    Result,
    Symbol,
    symbols,
)
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module

OPTIMIZERS = ("torch.optim", "torch.distributed.optim")
SCHEDULERS = "torch.optim.lr_scheduler"
NO_OPTIMIZERS = (SCHEDULERS, "torch.optim.swa_utils")
# Libraries whose functions are known to keep nothing of the parameters that they are given.
KNOWN = frozenset({"torch", "builtins", *sys.stdlib_module_names})
STEP = "step"
ASKED_OF_OPTIMIZERS = frozenset({STEP, "add_param_group", "param_groups"})
ASKED_OF_NUMBERS = frozenset(
    {"cpu", "cuda", "detach", "device", "dtype", "float", "item", "numpy", "sqrt", "to", "tolist"}
)
TAKE_OPTIMIZERS = frozenset(
    {
        f"{FSDP1}.{name}"
        for name in (
            "optim_state_dict", "full_optim_state_dict", "sharded_optim_state_dict",
            "optim_state_dict_to_load",
        )
    }
)  # fmt: skip
_AROUND = (
    ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Starred, ast.keyword, ast.IfExp, ast.BoolOp,
    ast.NamedExpr, ast.Await,
)  # fmt: skip


class Role(Enum):
    """What a thing does with the parameters that its maker was given."""

    OPTIMIZER = "updates them"
    KEEPS = "may keep them: it is used in ways that aren't followed"
    NONE = "has nothing to do with them any more"


def is_below(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of `modules`, or of something in them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def is_optimizer_name(name: str) -> bool:
    """Whether a library's name is of PyTorch's optimizers."""
    return is_below(name, OPTIMIZERS) and not is_below(name, NO_OPTIMIZERS)


class LibraryResults:
    """Tells what the objects are that libraries make."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._roles: dict[Atom, Role] = {}

    def known_role(self, atom: Atom) -> Role | None:
        """What `atom` is by the library's name alone; None if that says nothing."""
        if isinstance(atom, Result):
            names = {atom.symbol}
        elif isinstance(atom, Instance):
            names = self.analysis.library_bases(atom.cls)
        else:
            return Role.NONE
        if any(map(is_optimizer_name, names)):
            return Role.OPTIMIZER
        return Role.NONE if all(n.partition(".")[0] in KNOWN for n in names) else None

    def role(self, atom: Atom) -> Role:
        """What `atom` is, by the library's name or by what the program does with it."""
        known = self.known_role(atom)
        if known is not None:
            return known
        if atom not in self._roles:
            self._roles[atom] = self._by_use(atom)
        return self._roles[atom]

    def _by_use(self, atom: Atom) -> Role:
        if isinstance(atom, Instance) and self.analysis.method(atom.cls, STEP) is not None:
            return Role.OPTIMIZER
        roles = {self._role_at(module, node) for module, node in self._places[atom]}
        return next((r for r in (Role.OPTIMIZER, Role.KEEPS) if r in roles), Role.NONE)

    @cached_property
    def _places(self) -> dict[Atom, list[tuple[Module, ast.expr]]]:
        """Where each of the libraries' objects is used."""
        found: dict[Atom, list[tuple[Module, ast.expr]]] = defaultdict(list)
        for module in self.analysis.project.modules.values():
            for node in module.parents:
                if isinstance(node, ast.expr):
                    for atom in self.analysis.value(node):
                        if isinstance(atom, Result | Instance):
                            found[atom].append((module, node))
        return found

    def _role_at(self, module: Module, node: ast.AST) -> Role:
        """What the use of an object at `node` says about it."""
        parent = module.parents[node]
        while isinstance(parent, _AROUND):
            node, parent = parent, module.parents[parent]
        if isinstance(parent, ast.Attribute):
            if parent.attr in ASKED_OF_OPTIMIZERS:
                return Role.OPTIMIZER
            return Role.NONE if parent.attr in ASKED_OF_NUMBERS else Role.KEEPS
        if isinstance(parent, ast.Call) and node is not parent.func:
            return self._role_of_argument(parent)
        if isinstance(parent, ast.Return):
            function = module.function(parent)
            is_entry = function is None or not self.analysis.call_graph.runs_of(
                module.site(function)
            )
            return Role.KEEPS if is_entry else Role.NONE
        if isinstance(parent, ast.Assign):
            stored = any(isinstance(t, ast.Attribute | ast.Subscript) for t in parent.targets)
            return Role.KEEPS if stored else Role.NONE
        return Role.NONE

    def _role_of_argument(self, call: ast.Call) -> Role:
        """What it says about an object that `call` is given it."""
        callee = self.analysis.value(call.func)
        names = symbols(callee)
        steps = any(isinstance(a, Method) and a.name == STEP for a in callee)
        if steps or names & TAKE_OPTIMIZERS or any(is_below(n, (SCHEDULERS,)) for n in names):
            return Role.OPTIMIZER
        followed = all(
            isinstance(a, Func | Bound | Cls)
            or (isinstance(a, Symbol) and a.name.partition(".")[0] in KNOWN)
            for a in callee
        )
        return Role.NONE if followed else Role.KEEPS


def parts_given(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call, positional and by keyword."""
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)
