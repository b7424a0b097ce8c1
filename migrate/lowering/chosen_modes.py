"""The state-dict modes of `with` statements whose context a condition chooses."""

from __future__ import annotations

import ast
from dataclasses import replace

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.lowering.context_choices import Ways, chosen
from fsdp_migrate.lowering.context_helpers import Entry, Helper
from fsdp_migrate.lowering.context_trees import Entered, Leaf, entered_contexts
from fsdp_migrate.lowering.state_dict_modes import ModePlan, Modes
from fsdp_migrate.lowering.state_dict_settings import Setting
from fsdp_migrate.syntax.span import Site


def with_choices(analysis: Analysis, modes: Modes) -> Modes:
    """`modes`, with those that a condition chooses."""
    plans = dict(modes.plans)
    found = [entered for entered in entered_contexts(analysis) if _is_new(plans, entered)]
    entries: dict[Site, list[Entry]] = {}
    for entered in found:
        says = chosen(analysis, entered)
        setting = says if isinstance(says, Setting) else None
        may_skip = any(leaf.call is None for leaf in entered.leaves)
        entry = Entry(entered.module, entered.node, entered.statement, setting, may_skip)
        sites = [leaf.module.site(leaf.call) for leaf in entered.leaves if leaf.call is not None]
        for site in sites:
            entries.setdefault(site, []).append(entry)
        plans[entry.site] = ModePlan(
            entered.module,
            entered.node,
            setting,
            entered.statement,
            program=plans[sites[0]].program,
            entry_of=sites[0],
            ways=says if isinstance(says, Ways) else None,
            carriers=tuple(s for _, s in entered.carriers if isinstance(s, ast.Assign)),
        )
    for site, each in entries.items():
        helper = Helper(_function_around(found, site), tuple(each))
        settings = {None if entry.is_choice else entry.setting for entry in each}
        common = settings.pop() if len(settings) == 1 else None
        plans[site] = replace(plans[site], helper=helper, setting=common, statement=None)
    return replace(modes, plans=plans)


def _is_new(plans: dict[Site, ModePlan], entered: Entered) -> bool:
    """Whether the contexts of a statement aren't understood already."""
    if isinstance(entered.tree, Leaf) and not entered.carriers:
        return False
    made = [leaf.module.site(leaf.call) for leaf in entered.leaves if leaf.call is not None]
    return all(s in plans and not plans[s].helper and not plans[s].is_for_good for s in made)


def _function_around(found: list[Entered], site: Site) -> ast.FunctionDef | None:
    """The function that hands over the context which is made at `site`."""
    for entered in found:
        for module, carrier in entered.carriers:
            if not isinstance(carrier, ast.FunctionDef):
                continue
            for leaf in entered.leaves:
                if leaf.call is not None and leaf.module.site(leaf.call) == site:
                    if module is leaf.module and module.function(leaf.call) is carrier:
                        return carrier
    return None
