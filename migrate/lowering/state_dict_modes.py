"""Which kind of state dict each call means: `state_dict_type` contexts, resolved.

Under FSDP1 `model.state_dict()` depends on a mode that a context manager sets around it, in
this function or in a caller.  FSDP2 has no mode: the options stand at the call.  A context can
go when every call that runs inside it is known and has its options written out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Definition, definition
from fsdp_migrate.analysis.values import NONE, NOTHING, Const, Result, Symbol, Value
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT, short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

CONTEXT = f"{FSDP1}.state_dict_type"
SETTER = f"{FSDP1}.set_state_dict_type"
KINDS = {
    f"{ROOT}.StateDictType.FULL_STATE_DICT": "FULL",
    f"{ROOT}.StateDictType.SHARDED_STATE_DICT": "SHARDED",
}
PARAMETERS = ("module", "state_dict_type", "state_dict_config", "optim_state_dict_config")


@dataclass(frozen=True)
class Setting:
    """A mode of FSDP1's state dicts, its flags included.

    The optimizer's defaults are FSDP1's: on the CPU, on all ranks.  `optim_given` tells a flag
    that the program states from a default that it may not even know of.
    """

    kind: str = "FULL"
    offload: bool = False
    rank0: bool = False
    optim_offload: bool = True
    optim_rank0: bool = False
    optim_given: bool = False


@dataclass
class ContextPlan:
    """One `state_dict_type(...)` call."""

    module: Module
    call: ast.Call
    setting: Setting | None
    statement: ast.With | ast.Expr | None  # the `with` that the call is an item of, or the call
    native: bool = False
    absorbed: list[Definition] = field(default_factory=list)


@dataclass
class Contexts:
    """All contexts of a program."""

    plans: Mapping[Site, ContextPlan]
    has_setter: bool
    default: Setting | None = Setting()  # outside all contexts; None if only the run knows

    def setting(self, ambient: frozenset[Site | None]) -> Setting | None:
        """The one setting that holds in all of `ambient`, or None if only the run knows."""
        found = {self.plans[s].setting if s is not None else self.default for s in ambient}
        return found.pop() if len(found) == 1 else None

    def setters(self) -> list[ContextPlan]:
        """The calls that set the mode for good."""
        return [plan for plan in self.plans.values() if isinstance(plan.statement, ast.Expr)]

    def is_native(self, ambient: frozenset[Site | None]) -> bool:
        """Whether calls made in `ambient` have their options written out."""
        if self.has_setter and None in ambient:
            if self.default is None or not all(plan.native for plan in self.setters()):
                return False
        return all(site is None or self.plans[site].native for site in ambient)


def find_contexts(solver: Analysis) -> Contexts:
    """The contexts of the program, not planned yet."""
    plans: dict[Site, ContextPlan] = {}
    has_setter = False
    for site, call in solver.call_nodes.items():
        callee = {short_context(a) for a in solver.value(call.func)}
        if callee & {CONTEXT, SETTER}:
            has_setter = has_setter or SETTER in callee
            module = solver.project.modules[site.module]
            plan = ContextPlan(module, call, None, _statement_of(module, call))
            plan.setting = _setting(solver, plan)
            plans[site] = plan
    contexts = Contexts(plans, has_setter)
    if has_setter:
        contexts.default = _set_at_once(solver, contexts)
    return contexts


def _set_at_once(solver: Analysis, contexts: Contexts) -> Setting | None:
    """The mode that every model gets right where it is wrapped, or None."""
    setters = contexts.setters()
    found = {plan.setting for plan in setters}
    for fact in solver.wraps.values():
        statement = fact.module.statement(fact.node)
        block = fact.module.block(statement)
        below = block[block.index(statement) + 1 :] if statement in block else []
        name = ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""
        if not any(
            plan.statement in below and ast.unparse(plan.call.args[0]) == name
            for plan in setters
            if plan.module is fact.module and plan.call.args
        ):
            return None
    return found.pop() if len(found) == 1 else None


def short_context(atom: object) -> str:
    """The canonical name of a symbol, or of the static method that a model forwards."""
    if isinstance(atom, Symbol):
        return atom.name
    name = getattr(atom, "name", "")
    return f"{FSDP1}.{name}" if type(atom).__name__ == "Method" else ""


def settle(contexts: Contexts, uses: Iterable[tuple[frozenset[Site | None], bool]]) -> None:
    """Decide which contexts can go, given the ambient and nativeness of every call in them."""
    calls = list(uses)
    outside = any(None in ambient for ambient, _ in calls)
    setters = {p.setting for p in contexts.plans.values() if isinstance(p.statement, ast.Expr)}
    for plan in contexts.plans.values():
        plan.native = plan.setting is not None and plan.statement is not None
        if isinstance(plan.statement, ast.Expr) and contexts.default is None:
            if outside or len(setters) > 1:
                plan.native = False  # a mode that calls elsewhere may depend on
    changed = True
    while changed:
        changed = False
        for ambient, lowerable in calls:
            if lowerable and contexts.is_native(ambient):
                continue
            held = [contexts.plans[site] for site in ambient if site is not None]
            held += contexts.setters() if None in ambient else []
            for plan in held:
                changed = changed or plan.native
                plan.native = False


def _statement_of(module: Module, call: ast.Call) -> ast.With | ast.Expr | None:
    item = module.parents.get(call)
    if isinstance(item, ast.Expr):
        return item
    if isinstance(item, ast.withitem) and item.optional_vars is None:
        statement = module.parents[item]
        if isinstance(statement, ast.With):
            return statement
    return None


def _setting(solver: Analysis, plan: ContextPlan) -> Setting | None:
    call = plan.call
    if any(isinstance(a, ast.Starred) for a in call.args) or any(
        k.arg is None for k in call.keywords
    ):
        return None
    given: dict[str, ast.expr] = dict(zip(PARAMETERS, call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords if k.arg}
    kind = _kind(solver.value(given.get("state_dict_type")))
    if kind is None:
        return None
    for node in given.values():
        if isinstance(node, ast.Name) and node is not given.get("module"):
            found = definition(plan.module, node)
            if found is not None:
                plan.absorbed.append(found)
    model = _config(solver, given.get("state_dict_config"))
    optim = _config(solver, given.get("optim_state_dict_config"))
    if model is None or optim is None:
        return None
    return Setting(
        kind,
        model.get("offload_to_cpu", False),
        model.get("rank0_only", False),
        optim.get("offload_to_cpu", True),
        optim.get("rank0_only", False),
        bool(optim) or "optim_state_dict_config" in given,
    )


def _kind(value: Value) -> str | None:
    kinds = {KINDS.get(a.name) if isinstance(a, Symbol) else None for a in value}
    return kinds.pop() if len(kinds) == 1 else None


def _config(solver: Analysis, node: ast.expr | None) -> dict[str, bool] | None:
    """The flags of a configuration object; None if they can't be known."""
    value = solver.value(node)
    if node is None or value == NONE:
        return {}
    if len(value) != 1:
        return None
    (atom,) = value
    if not isinstance(atom, Result) or not short(atom.symbol).endswith("StateDictConfig"):
        return None
    args, kwargs = solver.calls[atom.site]
    named = dict(zip(("offload_to_cpu", "rank0_only"), args, strict=False)) | kwargs
    if short(atom.symbol).startswith("Sharded"):
        named.pop("_use_dtensor", None)
    flags: dict[str, bool] = {}
    for name, flag in named.items():
        if name not in ("offload_to_cpu", "rank0_only") or len(flag) != 1:
            return None
        (known,) = flag or NOTHING
        if not isinstance(known, Const) or not isinstance(known.value, bool):
            return None
        flags[name] = known.value
    return flags
