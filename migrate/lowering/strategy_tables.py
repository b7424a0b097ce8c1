"""A table of strategies that only constructors look into: it becomes the function that they call.

    STRATEGIES = {"full": ShardingStrategy.FULL_SHARD, "none": ShardingStrategy.NO_SHARD}
    FSDP(model, sharding_strategy=STRATEGIES[name])

The labels of the strategies are the user's own keys then, and the table goes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.definitions import is_imported
from fsdp_migrate.analysis.values import Symbol
from fsdp_migrate.findings.code import Literal, Part, code
from fsdp_migrate.lowering.born_enums import EnumValues
from fsdp_migrate.lowering.enum_births import Birth
from fsdp_migrate.lowering.enum_reads import NewForm
from fsdp_migrate.lowering.sharding_function import Label, Row, Rows
from fsdp_migrate.lowering.value_flow import Place
from fsdp_migrate.lowering.wrap_site import is_none
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

DICT = frozenset({Symbol("builtins.dict")})
LISTS = (frozenset({Symbol("builtins.list")}), frozenset({Symbol("builtins.sorted")}))


@dataclass(frozen=True, eq=False)
class Table:
    """A table that goes: its rows, the label that each constructor looks up, and its lists."""

    module: Module
    statement: ast.Assign
    rows: Rows
    looked_up: Mapping[ast.expr, ast.expr]  # by the argument of a constructor
    lists: tuple[NewForm, ...]  # of its keys, which are written out


def table_of(found: EnumValues) -> Table | None:
    """The one table that all strategies of a program come from, if only constructors read it."""
    births = {birth.place.node: birth for birth in found.births}
    statements = {_assignment(birth) for birth in found.births}
    if not found.only_given or len(statements) != 1:
        return None
    statement = statements.pop()
    module = found.births[0].place.module
    if statement is None or module.parents[statement] is not module.tree:
        return None
    last = statement.end_lineno or statement.lineno
    if module.lines_with_comments.intersection(range(statement.lineno, last + 1)):
        return None  # comments stay with the rows that they speak of
    rows = tuple(_rows(found.analysis, statement.value, births))
    if None in rows or len(births) > len(rows):
        return None
    return _read_by_constructors(found, module, statement, [row for row in rows if row])


def _assignment(birth: Birth) -> ast.Assign | None:
    """The assignment of a display to a variable, in which a strategy stands."""
    parents = birth.place.module.parents
    around = parents[birth.place.node]
    around = parents[around] if isinstance(around, ast.keyword) else around
    statement = parents[around]
    named = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    if not isinstance(statement, ast.Assign) or not named or len(statement.targets) > 1:
        return None
    return statement if statement.value is around else None


def _rows(
    analysis: Analysis, table: ast.expr, births: Mapping[ast.expr, Birth]
) -> Iterator[Row | None]:
    """The rows of a display, None for one that isn't a strategy by a literal key."""
    pairs: list[tuple[object, ast.expr]] = []
    if isinstance(table, ast.Dict):
        for name, value in zip(table.keys, table.values, strict=True):
            pairs.append((name.value if isinstance(name, ast.Constant) else None, value))
    elif isinstance(table, ast.Call) and not table.args and analysis.value(table.func) == DICT:
        pairs = [(keyword.arg, keyword.value) for keyword in table.keywords]
    for key, value in pairs or [(None, table)]:
        member = "FULL_SHARD" if is_none(value) else None
        if value in births:
            member = births[value].member
        yield (key, member) if isinstance(key, str) and member is not None else None


def _read_by_constructors(
    found: EnumValues, module: Module, statement: ast.Assign, rows: list[Row]
) -> Table | None:
    (target,) = statement.targets
    assert isinstance(target, ast.Name)
    if is_imported(found.analysis, module, target.id):
        return None
    arguments = {argument.node for _, argument in found.calls}
    looked_up: dict[ast.expr, ast.expr] = {}
    lists: list[NewForm] = []
    for node in nodes_in(module.tree):
        if isinstance(node, ast.Constant) and node.value == target.id:
            return None
        if not isinstance(node, ast.Name) or node.id != target.id or node is target:
            continue
        parent = module.parents[node]
        if isinstance(parent, ast.Subscript) and parent.value is node and parent in arguments:
            looked_up[parent] = parent.slice
        elif isinstance(parent, ast.Call) and parent.args == [node] and not parent.keywords:
            callee = found.analysis.value(parent.func)
            if callee not in LISTS:
                return None
            lists.append((Place(module, parent), _listed(rows, callee == LISTS[1])))
        else:
            return None
    if set(looked_up) != arguments:
        return None
    return Table(module, statement, Rows(tuple(rows)), looked_up, tuple(lists))


def _listed(rows: list[Row], in_order: bool) -> Part:
    labels: list[Label] = [label for label, _ in rows]
    labels = sorted(labels, key=str) if in_order else labels
    return code("[{labels}]", labels=tuple(Literal(label) for label in labels))
