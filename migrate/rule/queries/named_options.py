"""Options that the program has under a name, where a mode was set with them.

    with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, config):

becomes `options=config` of the calls inside, once the configuration is `StateDictOptions`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from fsdp_migrate.findings.code import Code, Element, Hole, Item, Kept, Keyword, Part, Starred
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.lowering.carried_options import config_of
from fsdp_migrate.lowering.state_dict_settings import PARAMETERS, given_to_mode
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.state_dict_configs import configs_of
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import binds, path_of


def with_names(use: Use, facts: Facts, edits: Iterable[Edit]) -> list[Edit]:
    """`edits` of a call, its options by the name that the context around it has for them."""
    made = list(edits)
    for options, name in _named(use, facts):
        made = [
            replace(edit, code=_exchanged(edit.code, options, name))
            if isinstance(edit, ReplaceExpression | ReplaceStatement)
            else edit
            for edit in made
        ]
    return made


def _named(use: Use, facts: Facts) -> Iterator[tuple[Code, Kept]]:
    """The options that the contexts around a call are given, and the names they come by."""
    going = {p.call for p in facts.modes.plans.values() if p.native and p.setting is not None}
    for around in use.module.ancestors(use.node):
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            return
        if not isinstance(around, ast.With):
            continue
        bound = {name for statement in around.body for name in binds(statement)}
        for made in (item.context_expr for item in around.items if item.context_expr in going):
            given = given_to_mode(made) or {}
            for node in (given[name] for name in PARAMETERS[2:] if name in given):
                options = _options(facts, node)
                names = {n.id for n in nodes_in(node) if isinstance(n, ast.Name)}
                if options is not None and not names & bound:
                    yield options, Kept(use.module.span(node))


def _options(facts: Facts, node: ast.expr) -> Code | None:
    """What a variable holds where it has become options, the same whatever it was given."""
    if path_of(node) is None:
        return None
    known = [config_of(facts.analysis, atom) for atom in facts.value(node)]
    found = [config for config in known if config is not None]
    handled = configs_of(facts).handled
    if len(found) < len(known) or any(config.call not in handled for config in found):
        return None
    every = [config.options for config in found]
    return every[0] if every and all(options == every[0] for options in every) else None


def _exchanged(part: Part, old: Code, new: Part) -> Part:
    """`part` with `new` in the place of `old`."""
    if part == old:
        return new
    if not isinstance(part, Code):
        return part
    return replace(part, holes=tuple((n, _in_hole(h, old, new)) for n, h in part.holes))


def _in_hole(hole: Hole, old: Code, new: Part) -> Hole:
    if not isinstance(hole, tuple):
        return _exchanged(hole, old, new)
    made: list[Element] = []
    for item in hole:
        if isinstance(item, Keyword | Starred | Item):
            made.append(replace(item, value=_exchanged(item.value, old, new)))
        else:
            made.append(_exchanged(item, old, new))
    return tuple(made)
