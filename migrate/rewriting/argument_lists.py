"""Calls and dict displays whose arguments change, on the lines and with the comments they have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import libcst as cst

from fsdp_migrate.findings.code import Element, Item, Kept, Keyword, Part, Starred
from fsdp_migrate.findings.edits import RewriteArguments, TakenFrom
from fsdp_migrate.rewriting.fragments import Fragments
from fsdp_migrate.rewriting.parentheses import generators_apart, held_together
from fsdp_migrate.rewriting.separators import NO_GAP, Row

Argument = cst.Arg | cst.DictElement | cst.StarredDictElement
_TIGHT = cst.AssignEqual(NO_GAP, NO_GAP)


def rewritten(
    edit: RewriteArguments, node: cst.BaseExpression, fragments: Fragments
) -> cst.BaseExpression:
    """`node`, a call or a dict display with the edits inside it made, as `edit` wants it."""
    parts = dict(edit.code.holes)
    callee = cast(Part | None, parts.get("callee"))
    wanted = cast(tuple[Element, ...], parts["items" if callee is None else "arguments"])
    maker = _Maker(replace(fragments, quote=_quote(node)))
    row = _row_of_dict(node) if isinstance(node, cst.Dict) else _row_of_call(node)
    kept = {taken.index for taken in edit.taken if taken is not None}
    for index in reversed(range(len(row.entries))):
        if index not in kept:
            row.drop(index, edit.without_comments)
    if callee is not None:
        for entry in row.entries:
            entry.node = _as_argument(entry.node)
    for index, (element, taken) in enumerate(zip(wanted, edit.taken, strict=True)):
        if taken is None:
            row.insert(index, maker.new(element))
        else:
            entry = row.entries[index]
            entry.node = maker.changed(entry.node, element, taken)
    if callee is None:
        return _dict(cast(cst.Dict, node), row)
    return _call(node, None if isinstance(callee, Kept) else maker.value(callee), row)


# ---------------------------------------------------------------------- one argument
@dataclass(frozen=True)
class _Maker:
    """Makes arguments of parts."""

    fragments: Fragments

    def new(self, element: Element) -> Argument:
        """A new argument, or a new item."""
        if isinstance(element, Keyword):
            return _held(cst.Arg(self.value(element.value), cst.Name(element.name), _TIGHT))
        if isinstance(element, Item):
            return _held(cst.DictElement(self.value(element.key), self.value(element.value)))
        if isinstance(element, Starred):
            return _held(cst.Arg(self.value(element.value), star="**" if element.double else "*"))
        return _held(cst.Arg(self.value(element)))

    def changed(self, node: Argument, element: Element, taken: TakenFrom) -> Argument:
        """An argument of the source with the name, the key or the value that it is to have."""
        if isinstance(element, Starred):
            return node
        changes: dict[str, Any] = {}
        value: Part
        if isinstance(element, Item):
            value = element.value
            if not isinstance(element.key, Kept):
                changes["key"] = self.value(element.key)
        else:
            value = element.value if isinstance(element, Keyword) else element
            changes |= _renaming(node, element.name if isinstance(element, Keyword) else None)
        if not taken.with_value:
            changes["value"] = self.value(value)
        return _held(node.with_changes(**changes)) if changes else node

    def value(self, part: Part) -> cst.BaseExpression:
        """New code, in nodes of its own: what it keeps may be kept elsewhere as well."""
        return self.fragments.expression(part).deep_clone()


def _renaming(node: Argument, name: str | None) -> dict[str, Any]:
    """What changes for an argument that is to be called `name`, or by position."""
    assert isinstance(node, cst.Arg)
    if name is None:
        return {"keyword": None, "equal": cst.MaybeSentinel.DEFAULT} if node.keyword else {}
    if node.keyword is None:
        return {"keyword": cst.Name(name), "equal": _TIGHT}
    return {"keyword": cst.Name(name)} if node.keyword.value != name else {}


def _as_argument(node: Argument) -> Argument:
    """An item of a dict display as an argument, whose name is still to be set."""
    if isinstance(node, cst.Arg):
        return node
    return cst.Arg(node.value, star="**" if isinstance(node, cst.StarredDictElement) else "")


def _held(node: Argument) -> Argument:
    return cast(Argument, held_together(node, lambda _: True))


def _quote(node: cst.BaseExpression) -> str:
    """The quotes that most strings of a call have."""
    text = cst.Module([]).code_for_node(node)
    return "'" if text.count("'") > text.count('"') else '"'


# ---------------------------------------------------------------------- apart and together again
def _row_of_call(node: cst.BaseExpression) -> Row[Argument]:
    call = cast(cst.Call, node)
    closing = call.args[-1].whitespace_after_arg if call.args else NO_GAP
    bare = [argument.with_changes(whitespace_after_arg=NO_GAP) for argument in call.args]
    return Row.of(bare, call.whitespace_before_args, closing)


def _row_of_dict(node: cst.Dict) -> Row[Argument]:
    elements = cast(list[Argument], list(node.elements))
    return Row.of(elements, node.lbrace.whitespace_after, node.rbrace.whitespace_before)


def _dict(node: cst.Dict, row: Row[Argument]) -> cst.Dict:
    opening, closing = row.gaps[0], row.gaps[-1]
    return node.with_changes(
        elements=_with_commas(row),
        lbrace=node.lbrace.with_changes(whitespace_after=opening),
        rbrace=node.rbrace.with_changes(whitespace_before=closing if row.entries else NO_GAP),
    )


def _call(
    node: cst.BaseExpression, callee: cst.BaseExpression | None, row: Row[Argument]
) -> cst.Call:
    """The call of `callee` (None: the one that is called anyway)."""
    args = _with_commas(row)
    if args:
        args[-1] = args[-1].with_changes(whitespace_after_arg=row.gaps[-1])
    if isinstance(node, cst.Call):
        made = node.with_changes(args=args, whitespace_before_args=row.gaps[0])
        made = made.with_changes(func=callee) if callee is not None else made
    else:
        assert callee is not None
        made = cst.Call(
            callee, cast(list[cst.Arg], args), node.lpar, node.rpar,
            whitespace_before_args=row.gaps[0],
        )  # fmt: skip
    held = cast(cst.Call, held_together(made, lambda child: child is callee))
    return generators_apart(held)


def _with_commas(row: Row[Argument]) -> list[Argument]:
    commas = zip(row.entries, row.commas(), strict=True)
    return [entry.node.with_changes(comma=comma) for entry, comma in commas]
