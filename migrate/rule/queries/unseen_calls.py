"""Calls inside a state-dict context that nobody here can look into, and that may take the state.

Under FSDP1 a library's `model.state_dict()` inside of `state_dict_type` gave what the context said.
FSDP2 keeps no mode, and the shim's reaches only code that asks the shim.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.library.fsdp1 import FSDP_METHODS
from fsdp_migrate.analysis.values import (
    Atom,
    Bound,
    Container,
    Instance,
    Method,
    Result,
    Super,
    Symbol,
    Unknown,
    Value,
    Wrapped,
    symbols,
)
from fsdp_migrate.lowering.state_dict_modes import ModePlan
from fsdp_migrate.lowering.state_dict_settings import given_to_mode
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.uses import held
from fsdp_migrate.syntax.fsdp1_names import ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Site

# Packages whose functions take no state dict of a model that they are given.
SEEN = frozenset({*sys.stdlib_module_names, "builtins", "numpy", "torch"})
LOCAL_STATE_DICT = f"{ROOT}.StateDictType.LOCAL_STATE_DICT"
STATE_METHODS = frozenset({"load_state_dict", "state_dict"})
# What every module has, besides what FSDP1 has a rule for.
MODULE_METHODS = FSDP_METHODS | {
    "add_module", "extra_repr", "get_buffer", "get_parameter", "get_submodule", "register_buffer",
    "register_module", "register_parameter", "zero_grad",
}  # fmt: skip


@dataclass(frozen=True)
class UnseenCall:
    """A call inside the context `plan`, and whether it is given the model."""

    module: Module
    call: ast.Call
    plan: ModePlan
    is_given: bool


def unseen_calls(facts: Facts) -> Iterator[UnseenCall]:
    """The calls that can take the state of a model in a way that no rule can rewrite.

    A mode that is set for good is about all that follows: of that only calls which are given the
    model count, and only where nothing that can be seen takes the state in this mode.
    """
    known = {use.call for use in facts.uses}
    used = {site for use in facts.uses for site in _modes_of(facts, use)}
    contexts = {
        site
        for site, plan in facts.modes.plans.items()
        if _counts(facts, plan) and not (plan.is_for_good and site in used)
    }
    for call, open_modes in facts.analysis.open_modes.items():
        module = facts.analysis.call_graph.module_of(call)
        for site in sorted(contexts & set(open_modes), key=_order):
            plan = facts.modes.plans[site]
            if call in known or call is plan.call or not _is_unseen(facts, call):
                continue
            if _has_state(facts, module, call):
                continue
            given = _is_given(facts, call)
            if given or not (plan.is_for_good or site in used):
                yield UnseenCall(module, call, plan, given)
                break


def _counts(facts: Facts, plan: ModePlan) -> bool:
    """Whether the mode is of interest; one of local state dicts is refused anyway."""
    kind = (given_to_mode(plan.call) or {}).get("state_dict_type")
    return LOCAL_STATE_DICT not in symbols(facts.value(kind))


def _order(site: Site | None) -> tuple[object, ...]:
    return () if site is None else (site.module, site.line, site.col)


def _modes_of(facts: Facts, use: Use) -> frozenset[Site | None]:
    """The modes around a use that takes or loads a state, which a rule rewrites."""
    if use.call is None:
        return frozenset()
    takes = use.name in STATE_METHODS or "optim" in short(use.name).split("_")
    return facts.analysis.modes_at(use.call) if takes else frozenset()


def model_given(found: UnseenCall) -> ast.expr | None:
    """The model whose mode the context sets."""
    return (given_to_mode(found.plan.call) or {}).get("module")


# ---------------------------------------------------------------------- what is called
def _is_unseen(facts: Facts, call: ast.Call) -> bool:
    """Whether `call` runs code that is not of the program, nor known not to take a state."""
    callee = facts.value(call.func)
    return not callee or any(_is_foreign(atom) for atom in callee)


def _is_foreign(atom: Atom) -> bool:
    match atom:
        case Symbol(name=name) | Result(symbol=name):
            return name.partition(".")[0] not in SEEN
        case Method(receiver=Wrapped(), name=name):
            return name not in MODULE_METHODS
        case Method(receiver=Result(symbol=name)):
            return name.partition(".")[0] not in SEEN
        case Method(receiver=Super(), name=name):
            return name in STATE_METHODS or name not in MODULE_METHODS
        case Method(receiver=Instance(), name=name):
            return name not in MODULE_METHODS
        case Unknown():
            return True
        case _:
            return False


def _has_state(facts: Facts, module: Module, call: ast.Call) -> bool:
    """Whether a call is handed the state, `state_dict=...`, which a rule has seen being taken."""
    taken = {use.call for use in facts.uses if use.name == "state_dict"}
    for keyword in call.keywords:
        if keyword.arg == "state_dict":
            given = keyword.value
            found = definition(module, given) if isinstance(given, ast.Name) else None
            return any(node in taken for node in nodes_in(found.value if found else given))
    return False


def _is_given(facts: Facts, call: ast.Call) -> bool:
    """Whether a call is given the model, or is a method of it."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    nodes = [node.value if isinstance(node, ast.Starred) else node for node in given]
    if any(_reaches(facts, facts.value(node)) for node in nodes):
        return True
    if isinstance(call.func, ast.Attribute):
        receiver = facts.value(call.func.value)
        if _is_model(receiver) or any(
            isinstance(a, Super) and _reaches(facts, frozenset({a.receiver})) for a in receiver
        ):
            return True
        nodes.append(call.func.value)
    module, parts = facts.analysis.call_graph.module_of(call), facts.parts
    return any(parts.owners(module, node) for node in nodes)


def _is_model(value: Value) -> bool:
    return any(isinstance(atom, Wrapped) for atom in value)


def _reaches(facts: Facts, value: Value) -> bool:
    """Whether a model is among `value`, or in an object or list that is."""
    if _is_model(value) or held(facts.analysis, value):
        return True
    for atom in value:
        if isinstance(atom, Container) and _is_model(facts.analysis.dict_values(atom)):
            return True
        if isinstance(atom, Instance) and _is_model(facts.analysis.parts(atom)):
            return True
        if isinstance(atom, Bound | Method) and _reaches(facts, frozenset({atom.receiver})):
            return True
    return False
