"""Which kind of state dict each call means: FSDP1's state-dict modes, resolved.

Under FSDP1 `model.state_dict()` depends on a mode that `state_dict_type` sets around it, in this
function or in a caller, or that `set_state_dict_type` has set for good.  FSDP2 has no mode: the
options stand at the call.  A mode can go when every call that depends on it is known and has its
options written out.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import Assignment, Definition, definitions
from fsdp_migrate.analysis.values import Method, Symbol
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.carried_options import Carried, carried_by
from fsdp_migrate.lowering.context_choices import Ways
from fsdp_migrate.lowering.context_helpers import Entry, Helper, helper_of
from fsdp_migrate.lowering.context_trees import CONTEXT
from fsdp_migrate.lowering.local_state_dicts import asks_no_model
from fsdp_migrate.lowering.modes_for_good import models_asked, models_set_at_once
from fsdp_migrate.lowering.state_dict_settings import (
    LOCAL,
    Setting,
    given_to_mode,
    setting_of,
    tested_kind,
)
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import binds_names, path_of
from fsdp_migrate.syntax.span import Site

UNSET = ""  # no mode at all, in a program that sets some for good for other models
SETTER = f"{FSDP1}.set_state_dict_type"
# The modes that can be open where a call runs, by the calls that set them; for none of them, the
# program that the call is in: one of its modules.
OpenModes = frozenset[Site | str]


@dataclass(frozen=True)
class ModePlan:
    """One call that sets a mode, and whether it goes."""

    module: Module
    call: ast.expr  # what sets it, or enters what was handed over
    setting: Setting | None  # None if only the run knows it, or if setting it binds variables
    statement: ast.With | ast.Expr | None  # the `with` that the call is an item of, or the call
    native: bool = False
    absorbed: tuple[Definition, ...] = ()  # what it reads, which may go with it
    program: str = ""  # a module of the program that it is in
    is_for_good: bool = False  # whether the mode outlasts the statement
    helper: Helper | None = None  # what hands the context to the `with` statements that enter it
    carried: Carried | None = None  # where only the run knows, what says it
    entry_of: Site | None = None  # the call whose context the statement enters
    ways: Ways | None = None  # where a condition chooses what the statement enters
    carriers: tuple[ast.stmt, ...] = ()  # the assignments that go with what it enters

    @property
    def kept(self) -> tuple[ast.expr, ...]:
        """What the calls inside are given of what the context was given."""
        if self.ways is not None:
            return self.ways.kept
        carried = self.carried if self.setting is None else None
        return (carried.node,) if carried is not None and not carried.is_literal else ()


@dataclass(frozen=True)
class Modes:
    """All modes of all programs; programs that import nothing of each other share none."""

    plans: Mapping[Site, ModePlan]
    # By program in which a mode is set for good: what holds where no other is open; None if only
    # the run knows.
    defaults: Mapping[str, Setting | None] = field(default_factory=dict)
    # By model, the calls that set a mode for good, all of them before anything asks for a state.
    by_model: Mapping[Site, frozenset[Site]] = field(default_factory=dict)

    def setting(self, open_modes: OpenModes) -> Setting | None:
        """The one setting that holds in all of `open_modes`, or None if only the run knows."""
        found = {self._setting(place) for place in open_modes}
        return found.pop() if len(found) == 1 else None

    def _setting(self, place: Site | str) -> Setting | None:
        if isinstance(place, str):
            return self.defaults.get(place, Setting())
        found = self.plans[place].setting if place in self.plans else None
        return found if found is None or found.kind != LOCAL else None

    def setters(self, program: str) -> Mapping[Site, ModePlan]:
        """The calls of a program that set a mode for good."""
        plans = self.plans.items()
        return {s: plan for s, plan in plans if plan.is_for_good and plan.program == program}

    def is_native(self, open_modes: OpenModes) -> bool:
        """Whether calls made in `open_modes` have their options written out."""
        return all(map(self._goes, open_modes))

    def _goes(self, place: Site | str) -> bool:
        if isinstance(place, Site):
            return place in self.plans and self.plans[place].native
        known = self.defaults.get(place, Setting()) is not None
        return known and all(plan.native for plan in self.setters(place).values())

    def around(self, analysis: Analysis, call: ast.Call) -> OpenModes:
        """The modes that can be open around `call`; a context that is handed over, where it is
        entered around the call, if it is entered in the same function."""
        found = {
            p
            for place in modes_around(analysis, call)
            for p in self._of_model(analysis, call, place)
        }
        for site in [place for place in found if isinstance(place, Site)]:
            helper = self.plans[site].helper if site in self.plans else None
            entry = helper.entry_around(call) if helper is not None else None
            if entry is not None:
                found -= {site}
                found |= {entry.site}
                if entry.is_choice and not self.setters(self.plans[entry.site].program):
                    found -= {self.plans[entry.site].program}
        return frozenset(found)

    def _of_model(self, analysis: Analysis, call: ast.Call, place: Site | str) -> OpenModes:
        """What is set for good for the models that `call` is about, where that is known."""
        if isinstance(place, Site):
            plan = self.plans.get(place)
            program = plan.program if plan is not None and plan.is_for_good else None
        else:
            program = place if self.setters(place) else None
        models = models_asked(analysis, call) if program is not None else None
        if not models or (self.defaults.get(program or "") is not None):
            return frozenset({place})
        known: set[Site | str] = set()
        for model in models:
            known |= self.by_model.get(model, {place})
        return frozenset(known or {UNSET})

    def without_carried(self, sites: Collection[Site]) -> Modes:
        """The same modes; those set at `sites` are said by nothing that could be rewritten."""
        plans = {s: replace(p, carried=None) if s in sites else p for s, p in self.plans.items()}
        return replace(self, plans=plans)

    def with_native(self, sites: set[Site]) -> Modes:
        """The same modes, of which those set at `sites` go."""
        plans = {s: replace(plan, native=s in sites) for s, plan in self.plans.items()}
        return replace(self, plans=plans)


def find_modes(analysis: Analysis) -> Modes:
    """The modes of all programs; which of them go is not decided yet."""
    plans: dict[Site, ModePlan] = {}
    setting: set[str] = set()
    for site, call in analysis.call_nodes.items():
        callees = {_function(atom) for atom in analysis.value(call.func)}
        if callees & {CONTEXT, SETTER}:
            plan = _plan(analysis, analysis.project.modules[site.module], call)
            plans[site] = plan
            if plan.helper is not None:
                plans |= {entry.site: _entered(plan, site, entry) for entry in plan.helper.entries}
            if SETTER in callees:
                setting.add(plan.program)
    defaults = {program: _set_at_once(analysis, plans, program) for program in setting}
    return Modes(plans, defaults, _by_model(analysis, plans) if setting else {})


def _by_model(analysis: Analysis, plans: Mapping[Site, ModePlan]) -> Mapping[Site, frozenset[Site]]:
    """The calls that set a mode for good, by model; models are left out for which it isn't known
    when that is, or for which modes."""
    found: dict[Site, set[Site]] = {site: set() for site in analysis.wraps}
    unclear: set[Site] = set()
    for site, plan in plans.items():
        if not plan.is_for_good or not isinstance(plan.call, ast.Call):
            continue
        models, at_once = models_set_at_once(analysis, plan.module, plan.call)
        if not models:
            return {}  # it may be any
        unclear |= set() if at_once else models
        for model in models & found.keys():
            found[model].add(site)
    return {
        model: frozenset(sites)
        for model, sites in found.items()
        if model not in unclear and len({plans[site].setting for site in sites}) < 2
    }


def modes_around(analysis: Analysis, call: ast.Call) -> OpenModes:
    """The modes that can be open around `call`."""
    program = _program_of(analysis, analysis.call_graph.module_of(call))
    open_modes = analysis.modes_at(call)
    return frozenset(program if site is None else site for site in open_modes)


def _program_of(analysis: Analysis, module: Module) -> str:
    return min(analysis.project.program_of(module.name))


def settled(modes: Modes, calls: Iterable[tuple[OpenModes, bool]]) -> Modes:
    """`modes`, of which those go that nothing needs any more.

    `calls` are all calls that depend on a mode: the modes that can be open around each of them,
    and whether it can be written with its options.
    """
    every = list(calls)
    outside = {place for open_modes, _ in every for place in open_modes if isinstance(place, str)}
    native = _together(modes, _candidates(modes, outside))
    while True:
        result = modes.with_native(native)
        held = set().union(
            *(
                _held_by(modes, open_modes)
                for open_modes, lowerable in every
                if not lowerable or not result.is_native(open_modes)
            )
        )
        if not native & held:
            return result
        native = _together(modes, native - held)


def _together(modes: Modes, native: set[Site]) -> set[Site]:
    """`native` without contexts that are handed over and don't go everywhere they are entered."""
    handed = [
        {site, *(entry.site for entry in plan.helper.entries)}
        for site, plan in modes.plans.items()
        if plan.helper is not None
    ]
    while broken := [parts for parts in handed if parts & native and not parts <= native]:
        native = native.difference(*broken)
    return native


def _candidates(modes: Modes, outside: set[str]) -> set[Site]:
    """The modes that can go if no call needs them; `outside`: where calls run in none of them."""
    known = {
        site: plan
        for site, plan in modes.plans.items()
        if plan.helper is not None
        or ((plan.setting or plan.carried or plan.ways) is not None and plan.statement is not None)
    }
    for program, default in modes.defaults.items():
        setters = modes.setters(program)
        several = len({plan.setting for plan in setters.values()}) > 1
        clear = all(any(site in sites for sites in modes.by_model.values()) for site in setters)
        if default is None and (program in outside or (several and not clear)):
            # which of the modes for good holds where, only the run knows
            known = {site: plan for site, plan in known.items() if site not in setters}
    return set(known)


def _held_by(modes: Modes, open_modes: OpenModes) -> set[Site]:
    """The modes that a call in `open_modes` depends on."""
    held: set[Site] = set()
    for place in open_modes:
        held |= {place} if isinstance(place, Site) else set(modes.setters(place))
    return held


# ---------------------------------------------------------------------- finding modes
def _function(atom: object) -> str:
    """The canonical name of a function, or of the static method that a model forwards."""
    if isinstance(atom, Symbol):
        return atom.name
    return f"{FSDP1}.{atom.name}" if isinstance(atom, Method) else ""


def _plan(analysis: Analysis, module: Module, call: ast.Call) -> ModePlan:
    given = given_to_mode(call)
    statement = _statement_of(module, call)
    plan = ModePlan(
        module,
        call,
        None,
        statement,
        program=_program_of(analysis, module),
        is_for_good=SETTER in {_function(atom) for atom in analysis.value(call.func)},
    )
    if given is None or any(map(binds_names, given.values())):
        if isinstance(statement, ast.With):
            carried = carried_by(analysis, module, call)
            setting = carried.setting(tested_kind(analysis, module, call)) if carried else None
            plan = replace(plan, carried=carried, setting=setting)
        return plan
    absorbed = [
        found
        for name, node in given.items()
        if name != "module" and isinstance(node, ast.Name)
        for found in _made_in_line(module, node)
    ]
    setting = setting_of(analysis, module, given)
    if setting is not None and setting.kind == LOCAL:
        if not isinstance(statement, ast.With) or not asks_no_model(analysis, statement):
            setting = None
    plan = replace(plan, setting=setting, absorbed=tuple(absorbed))
    if setting is None and isinstance(statement, ast.With):
        plan = replace(plan, carried=carried_by(analysis, module, call))
    helper = helper_of(analysis, module, call, given)
    if helper is None or plan.is_for_good:
        return plan
    common = {entry.setting for entry in helper.entries}
    setting = common.pop() if len(common) == 1 else None
    return replace(plan, setting=setting, helper=helper, statement=None)


def _made_in_line(module: Module, node: ast.Name) -> list[Assignment]:
    """The assignments of a variable, where they stand one below the other."""
    found = definitions(module, node)
    return found if all(f in module.block(found[0]) for f in found) else []


def _entered(plan: ModePlan, site: Site, entry: Entry) -> ModePlan:
    """The plan of a `with` statement that enters a context which was handed to it."""
    return ModePlan(
        entry.module,
        entry.call,
        entry.setting,
        entry.statement,
        program=plan.program,
        entry_of=site,
    )


def _statement_of(module: Module, call: ast.Call) -> ast.With | ast.Expr | None:
    item = module.parents.get(call)
    if isinstance(item, ast.Expr):
        return item
    if isinstance(item, ast.Call) and _enters(module, item):
        statement = module.parents[item]
        return statement if isinstance(statement, ast.Expr) else None
    if isinstance(item, ast.withitem) and item.optional_vars is None:
        statement = module.parents[item]
        if isinstance(statement, ast.With):
            return statement
    return None


def _enters(module: Module, call: ast.Call) -> bool:
    """Whether `call` is `stack.enter_context(...)` of a stack that a `with` around it makes."""
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr != "enter_context":
        return False
    for around in module.ancestors(call):
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        if isinstance(around, ast.With):
            bound = [item.optional_vars for item in around.items]
            if any(name is not None and same(name, func.value) for name in bound):
                return True
    return False


def _set_at_once(
    analysis: Analysis, plans: Mapping[Site, ModePlan], program: str
) -> Setting | None:
    """The mode that every model of a program gets right where it is wrapped, or None."""
    setters = [p for p in plans.values() if p.is_for_good and p.program == program]
    wraps = [f for f in analysis.wraps.values() if _program_of(analysis, f.module) == program]
    if not all(any(_sets(plan, fact) for plan in setters) for fact in wraps):
        return None
    found = {plan.setting for plan in setters}
    return found.pop() if len(found) == 1 else None


def _sets(plan: ModePlan, fact: WrapFact) -> bool:
    """Whether `plan` is about the model of `fact`, and stands below the wrap in its block."""
    statement = fact.module.statement(fact.node)
    if plan.module is not fact.module or not isinstance(statement, ast.Assign):
        return False
    block = fact.module.block(statement)
    model = (given_to_mode(plan.call) or {}).get("module")
    path = path_of(model) if model is not None else None
    return (
        plan.statement in block[block.index(statement) + 1 :]
        and path is not None
        and path == path_of(statement.targets[0])
    )
