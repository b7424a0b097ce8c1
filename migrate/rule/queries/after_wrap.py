"""Whether code may run when a model is sharded, or has run for the last time before that."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.analysis.values import Bound, Func, Method, Symbol, Value, Wrapped
from fsdp_migrate.lowering.running_order import is_passed_in
from fsdp_migrate.lowering.steps import Step, steps_outwards
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.running import FUNCTIONS, callers
from fsdp_migrate.rule.queries.values import models
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.fsdp1_names import ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

# Functions that call what they are given while they run, and don't keep it.
CALL_AT_ONCE = frozenset(
    f"builtins.{name}" for name in ("all", "any", "filter", "map", "max", "min", "sorted", "sum")
) | {
    "functools.reduce",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.apply_activation_checkpointing",
}
WALKS = frozenset({"modules", "named_modules"})
METHODS_AT_ONCE = frozenset({"apply"})
POLICY = {"module", "recurse", "nonwrapped_numel"}
PARTIAL = Symbol("functools.partial")


@dataclass(frozen=True, eq=False)
class Running:
    """When code runs, seen from the wraps of a program."""

    facts: Facts

    @cached_property
    def _named(self) -> Mapping[Site, list[tuple[Module, ast.expr]]]:
        """The places that name a function without calling it."""
        found: dict[Site, list[tuple[Module, ast.expr]]] = defaultdict(list)
        for module in self.facts.analysis.project.modules.values():
            for node, parent in module.parents.items():
                if not isinstance(node, ast.Name | ast.Attribute):
                    continue
                if isinstance(parent, ast.Call) and parent.func is node:
                    continue
                for atom in self.facts.value(node):
                    if isinstance(atom, Bound):
                        atom = atom.func
                    if isinstance(atom, Func):
                        found[atom.site].append((module, node))
        return found

    @cached_property
    def _wrapping(self) -> Mapping[Site, list[Step]]:
        """The statements that lead to each wrap."""
        calls = self.facts.analysis.call_graph
        return {
            site: list(steps_outwards(calls, fact.module, fact.node, frozenset()))
            for site, fact in self.facts.analysis.wraps.items()
        }

    def may_be_sharded(self, module: Module, node: ast.AST) -> bool:
        """Whether a model of the program may be sharded when `node` runs.

        One that the program doesn't make, and is given, is sharded from the beginning.
        """
        analysis = self.facts.analysis
        program = analysis.project.program_of(module.name)
        made = [site for site, fact in analysis.wraps.items() if fact.module.name in program]
        if not made:
            return analysis.has_models
        return not all(self._is_before(module, node, site) for site in made)

    def given(self, module: Module, function: ast.AST) -> list[tuple[Module, ast.expr]]:
        """The places that hand on a function as a value."""
        given = list(self._named.get(module.site(function), ()))
        if isinstance(function, ast.Lambda):
            if not isinstance(module.parents[function], ast.Assign):
                given.append((module, function))
        return given

    def _is_before(self, module: Module, node: ast.AST, wrap: Site) -> bool:
        """Whether `node` has run for the last time when a wrap begins."""
        wrapping = self._wrapping[wrap]
        queue: list[tuple[Module, ast.AST]] = [(module, node)]
        seen: set[ast.AST] = set()
        while queue:
            home, place = queue.pop()
            if place in seen:
                continue
            seen.add(place)
            steps = [s for s in wrapping if s.module is home and s.scope is home.scope(place)]
            if any(_precedes(home, place, step) for step in steps):
                continue
            function = home.function(place)
            leads = self._leads(home, function) if function is not None and not steps else None
            if leads is None:
                return False
            queue += leads
        return True

    def _leads(self, module: Module, function: ast.AST) -> list[tuple[Module, ast.AST]] | None:
        """The places that run a function; None where others may run it too, at any time."""
        facts = self.facts
        found: list[tuple[Module, ast.AST]] = [*callers(facts, module, function)]
        given = self.given(module, function)
        if not found and not given and not is_policy(facts, module, function):
            return None
        for home, name in given:
            if _is_called_at_once(facts, home, name):
                found.append((home, name))
            elif not _is_in_policy(facts, home, name):
                return None
        return found


def _precedes(module: Module, place: ast.AST, step: Step) -> bool:
    statement = module.statement(place)
    if statement is step.statement:
        return is_passed_in(module, place, step)
    return common_block(module, statement, step.statement) is not None


def _is_called_at_once(facts: Facts, module: Module, function: ast.AST) -> bool:
    """Whether a function is given to something that calls it right there."""
    call = given_to(module, function)
    if call is None:
        return False
    for atom in facts.value(call.func):
        if isinstance(atom, Symbol) and atom.name in CALL_AT_ONCE:
            return True
        if isinstance(atom, Method) and atom.name in METHODS_AT_ONCE:
            return True
    return isinstance(call.func, ast.Attribute) and call.func.attr in METHODS_AT_ONCE


def given_to(module: Module, argument: ast.AST) -> ast.Call | None:
    """The call that an expression is an argument of."""
    parent = module.parents[argument]
    if isinstance(parent, ast.keyword):
        parent = module.parents[parent]
    return parent if isinstance(parent, ast.Call) and parent.func is not argument else None


# ---------------------------------------------------------------------- wrap policies
def is_policy(facts: Facts, module: Module, function: ast.AST) -> bool:
    """Whether a function is a wrap policy: it is asked about modules before they are sharded."""
    if isinstance(function, FUNCTIONS):
        names = {arg.arg for arg in nodes_in(function.args) if isinstance(arg, ast.arg)}
        if names >= POLICY:
            return True
    return _is_in_policy(facts, module, function)


def _is_in_policy(facts: Facts, module: Module, node: ast.AST) -> bool:
    """Whether `node` is given to something of FSDP1's that makes a policy, or to a wrap."""
    call = given_to(module, node)
    if call is None:
        return False
    callee = facts.value(call.func)
    if callee == {PARTIAL} and call.args:
        callee = facts.value(call.args[0])
    return any(isinstance(atom, Symbol) and atom.name.startswith(f"{ROOT}.") for atom in callee)


def walks_models(running: Running, module: Module, function: ast.AST) -> bool:
    """Whether a function is given, together with a model, to something that may call it.

    `model.apply(f)` and `apply_activation_checkpointing(model, check_fn=f)` hand it the modules.
    """
    for home, argument in running.given(module, function):
        call = given_to(home, argument)
        if call is None:
            continue
        others = [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(call.func, ast.Attribute):
            others.append(call.func.value)
        values = [running.facts.value(other) for other in others]
        if any(models(value) or _are_submodules(value) for value in values):
            return True
    return False


def _are_submodules(value: Value) -> bool:
    """Whether `value` is what `model.modules()` gives."""
    return any(
        isinstance(atom, Method) and isinstance(atom.receiver, Wrapped) and atom.name in WALKS
        for atom in value
    )
