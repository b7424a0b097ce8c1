"""`with` statements that some of their items are taken out of."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import libcst as cst

from fsdp_migrate.rewriting.comments import suite
from fsdp_migrate.rewriting.fragments import goes_on
from fsdp_migrate.rewriting.parentheses import parenthesized


def without_items(
    statement: cst.With, left: Collection[int]
) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """`statement` without the items at the places `left`, and the comment lines below it."""
    kept = [item for index, item in enumerate(statement.items) if index not in left]
    if not kept:
        return suite(statement.body)
    last = kept[-1]
    if len(kept) > 1 and isinstance(statement.lpar, cst.LeftParen):
        if last is not statement.items[-1]:
            kept[-1] = last.with_changes(comma=statement.items[-1].comma)
        return [statement.with_changes(items=kept, leading_lines=[])], []
    bare = statement.with_changes(
        items=[_alone(item) for item in kept],
        leading_lines=[],
        lpar=cst.MaybeSentinel.DEFAULT,  # they were around several items
        rpar=cst.MaybeSentinel.DEFAULT,
        whitespace_after_with=cst.SimpleWhitespace(" "),
    )
    return [bare], []


def _alone(item: cst.WithItem) -> cst.WithItem:
    """`item` as it stands between no parentheses but its own."""
    context = parenthesized(item.item) if goes_on(item.item) else item.item
    return item.with_changes(item=context, comma=cst.MaybeSentinel.DEFAULT)


def guarded(
    body: Sequence[cst.BaseStatement],
    trailing: Sequence[cst.EmptyLine],
    after: Sequence[cst.BaseStatement],
) -> cst.Try:
    """`body` with `after` running behind it, however it ends."""
    return cst.Try(
        cst.IndentedBlock(body, footer=trailing), finalbody=cst.Finally(cst.IndentedBlock(after))
    )
