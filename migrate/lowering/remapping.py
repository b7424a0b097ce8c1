"""Lists, dicts and sets that keep parameters get the new ones, below the statement that wraps."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Container, symbols
from fsdp_migrate.findings.code import Code, Kept, Part, attribute, code, loop_variable, variable
from fsdp_migrate.lowering.before_wrap import TakenBeforeWrap
from fsdp_migrate.lowering.held import Entries, Held, Items, Parameter
from fsdp_migrate.lowering.kept_parameters import KeptParameters
from fsdp_migrate.lowering.optimizer_switch import (
    SHARDED,
    Switch,
    called_here,
    is_only_way,
    switch_at,
)
from fsdp_migrate.lowering.running_order import only_wraps
from fsdp_migrate.lowering.steps import named_outside
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import path_of

OLD, NEW, GROUP = loop_variable("p"), loop_variable("new"), variable("group")
KEY, VALUE = loop_variable("name"), loop_variable("value")
MAKERS = {
    "builtins.dict": "dict", "builtins.list": "list", "builtins.set": "set",
    "builtins.sorted": "list", "builtins.tuple": "tuple", "collections.OrderedDict": "dict",
}  # fmt: skip


def find_remap(keeper: KeptParameters, taken: TakenBeforeWrap) -> Switch | None:
    """How all that `taken` keeps over the wrap is handed the new parameters; None if it can't."""
    kept = taken.kept
    if kept is None or not taken.crossing or taken.below is taken.statement:
        return None
    made = list(taken.taker.inwards())[-1]
    outside = {path: named_outside(made, path, taken.taker) for path in taken.crossing}
    for step in taken.wrapping.inwards():
        if not only_wraps(keeper.analysis, step, taken.crossing):
            continue
        if not is_only_way(keeper.analysis, step, taken.wrapping):
            continue
        lines: list[Code] = []
        names: set[str] = set()
        for path, name in sorted(outside.items()):
            here = list(called_here(step, taken.wrapping, [name])) if name is not None else []
            held = keeper.held(kept, path)
            kind = _kind(keeper.analysis, kept.module, kept.statement, path)
            said = _said(step.module, step.scope, here[0]) if here else None
            line = _line(said, held, kind) if said is not None and held is not None else None
            lines += [line] if line is not None else []
            names.update(here)
        if len(lines) == len(outside):
            for model in sorted(step.paths):
                switch = switch_at(step, model, tuple(lines), names)
                if switch is not None:
                    return switch
    return None


def _said(module: Module, scope: ast.AST, path: str) -> Part | None:
    """An expression that says `path`: one of the function, or its last name looked up."""
    nodes = [n for n in nodes_in(scope) if isinstance(n, ast.Name | ast.Attribute)]
    found = next((n for n in nodes if path_of(n) == path), None)
    if found is not None:
        return Kept(module.span(found))
    head, _, name = path.rpartition(".")
    owner = next((n for n in nodes if path_of(n) == head), None)
    return attribute(Kept(module.span(owner)), name) if owner is not None else None


def _line(kept: Part, held: Held, kind: str | None) -> Code | None:
    """The statement that puts the new parameters in the place of the old ones."""
    match held, kind:
        case Items(item=Parameter(is_id=False)), _:
            return _items_line(kept, kind)
        case Items(item=Parameter(is_id=True)), "set":
            return code(
                "{kept} = {{id({new}) for {p}, {new} in {sharded}.items() if id({p}) in {kept}}}",
                kept=kept,
                sharded=SHARDED,
                p=OLD,
                new=NEW,
            )
        case Items(item=Entries(key=None, value=Items(item=Parameter(is_id=False)))), "list":
            return code(
                "for {group} in {kept}:\n"
                '    {group}["params"] = [{sharded}.get({p}, {p}) for {p} in {group}["params"]]',
                kept=kept,
                sharded=SHARDED,
                group=GROUP,
                p=OLD,
            )
        case Parameter(is_id=False), _:
            return code("{kept} = {sharded}.get({kept}, {kept})", kept=kept, sharded=SHARDED)
        case Entries(), "dict":
            return _dict_line(kept, held)
    return None


def _items_line(kept: Part, kind: str | None) -> Code | None:
    """The statement for parameters in a list, a set or a tuple."""
    holes: dict[str, Part] = {"kept": kept, "sharded": SHARDED, "p": OLD}
    match kind:
        case "list":
            return code("{kept}[:] = [{sharded}.get({p}, {p}) for {p} in {kept}]", **holes)
        case "set":
            return code("{kept} = {{{sharded}.get({p}, {p}) for {p} in {kept}}}", **holes)
        case "tuple":
            return code("{kept} = tuple({sharded}.get({p}, {p}) for {p} in {kept})", **holes)
    return None


def _dict_line(kept: Part, held: Held) -> Code | None:
    """The statement for a dict, with parameters for its keys or its values."""
    match held:
        case Entries(key=None, value=Parameter(is_id=False)):
            return code(
                "{kept}.update({{{k}: {sharded}.get({p}, {p}) for {k}, {p} in {kept}.items()}})",
                kept=kept,
                sharded=SHARDED,
                k=KEY,
                p=OLD,
            )
        case Entries(key=Parameter(is_id=False), value=None):
            return code(
                "{kept} = {{{sharded}.get({p}, {p}): {v} for {p}, {v} in {kept}.items()}}",
                kept=kept,
                sharded=SHARDED,
                p=OLD,
                v=VALUE,
            )
    return None


def _kind(analysis: Analysis, module: Module, statement: ast.stmt, path: str) -> str | None:
    """Whether `path` is a list, a set or a dict wherever it is bound; None if that isn't known."""
    kinds = set(_kinds(analysis, module, statement, path))
    return kinds.pop() if len(kinds) == 1 else None


def _kinds(
    analysis: Analysis, module: Module, statement: ast.stmt, path: str
) -> Iterator[str | None]:
    for node in own_nodes(module.scope(statement)):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets: list[ast.expr] = [node.target]
            value = node.value
        elif isinstance(node, ast.Assign):
            targets, value = list(node.targets), node.value
        else:
            continue
        for target in targets:
            if path_of(target) == path:
                yield _kind_of(analysis, value)
            elif isinstance(target, ast.Tuple):
                if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                    pairs = zip(target.elts, value.elts, strict=True)
                    yield from (_kind_of(analysis, v) for t, v in pairs if path_of(t) == path)
                elif any(path_of(t) == path for t in target.elts):
                    yield None


def _kind_of(analysis: Analysis, value: ast.expr) -> str | None:
    match value:
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Call(func=func):
            for name in symbols(analysis.value(func)):
                if name in MAKERS:
                    return MAKERS[name]
    atoms = analysis.value(value)
    kinds = {atom.kind for atom in atoms if isinstance(atom, Container)}
    whole = bool(atoms) and all(isinstance(atom, Container) for atom in atoms)
    return kinds.pop() if whole and len(kinds) == 1 else None
