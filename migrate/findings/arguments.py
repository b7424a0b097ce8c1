"""The arguments of a call, or the items of a dict display: asked for by name, changed in place.

`bind` gives a view of a call that knows which parameter each argument is for.  What is asked of
the view is answered for the call as it is written; what is changed is collected, and `edit()`
gives one edit that leaves the lines and comments of all other arguments as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fsdp_migrate.findings.code import (
    Code,
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Part,
    Starred,
    call,
    dictionary,
)
from fsdp_migrate.findings.edits import RewriteArguments, TakenFrom
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class _Written:
    """An argument, or an item, of the source."""

    name: str | None
    value: ast.expr
    by_name: bool
    stars: int = 0
    key: ast.expr | None = None
    is_receiver: bool = False


@dataclass(frozen=True)
class _Argument:
    """An argument that the new call has."""

    name: str | None  # of the parameter, None if it isn't known
    value: Part
    by_name: bool
    stars: int = 0
    key: Part | None = None  # of a dict display
    taken: TakenFrom | None = None  # which argument of the source this is


class Arguments:
    """A view of a call or of a dict display, and what is to become of it."""

    def __init__(self, module: Module, node: ast.Call | ast.Dict, written: Sequence[_Written]):
        self.module = module
        self.node = node
        self.callee: Part | None = None  # what is called instead; a dict becomes a call by it
        self._written = written
        self._arguments = [
            _taken(module, index, argument)
            for index, argument in enumerate(written)
            if not argument.is_receiver
        ]

        self._before = tuple(self._arguments)

    # ------------------------------------------------------------------ the call as it is written
    def __contains__(self, name: str) -> bool:
        return self.value(name) is not None

    def value(self, name: str) -> ast.expr | None:
        """What is passed as `name`, or None."""
        found = (w.value for w in self._written if w.name == name and not w.stars)
        return next(found, None)

    @property
    def names(self) -> list[str]:
        """The parameters that something is passed for, as far as that is known, in order."""
        return [w.name for w in self._written if w.name is not None]

    @property
    def is_open(self) -> bool:
        """Whether it takes arguments from somewhere else, by `*` or `**`."""
        return any(w.stars for w in self._written)

    @property
    def has_star(self) -> bool:
        """Whether it takes arguments by `*`, of which nobody knows which they are for."""
        return any(w.stars == 1 for w in self._written)

    @property
    def has_excess(self) -> bool:
        """Whether it takes more arguments by position than there are parameters for them."""
        return any(
            w.name is None and not w.by_name and not w.stars and not w.is_receiver
            for w in self._written
        )

    @property
    def all_named(self) -> bool:
        """Whether the parameter of every argument is known."""
        return all(w.name is not None or w.is_receiver for w in self._written)

    # ------------------------------------------------------------------ changes
    @property
    def elements(self) -> tuple[Element, ...]:
        """The arguments after the changes, for code that isn't laid out as the call is."""
        return tuple(map(self._element, self._arguments))

    def drop(self, name: str) -> None:
        """Leave an argument out; what stood behind it by position is passed by name."""
        index = self._index(name)
        if index is None:
            return
        rest = self._arguments[index + 1 :]
        if not self._arguments[index].by_name:
            rest = [_by_name(argument) for argument in rest]
        self._arguments[index:] = rest

    def put(
        self, name: str, value: Part, *, instead_of: str | None = None, first: bool = False
    ) -> None:
        """Pass `value` as `name`: in its place or that of another one, else first or last."""
        index = self._index(name)
        if index is None and instead_of is not None:
            index = self._index(instead_of)
        if index is not None:
            old = self._arguments[index]
            key = old.key if old.name == name else Literal(name)
            by_name = old.by_name or old.name != name
            taken = replace(old.taken, with_value=False) if old.taken is not None else None
            self._arguments[index] = _Argument(name, value, by_name, key=key, taken=taken)
            return
        new = _Argument(name, value, by_name=True, key=Literal(name))
        at = sum(not a.by_name and a.stars != 2 for a in self._arguments)
        self._arguments.insert(at if first else len(self._arguments), new)

    def by_position(self, name: str, *, default: Part | None = None) -> None:
        """Pass `name` (or the default) as the only argument by position, the others by name."""
        self._arguments = [_by_name(argument) for argument in self._arguments]
        index = self._index(name)
        if index is not None:
            old = self._arguments.pop(index)
            moved = None if index else old.taken
            self._arguments.insert(0, replace(old, by_name=False, taken=moved))
        elif default is not None:
            self._arguments.insert(0, _Argument(name, default, by_name=False))

    def receiver_first(self, receiver: ast.expr) -> None:
        """Pass the object whose method is called as the first argument of the new callee."""
        taken = TakenFrom(0) if any(w.is_receiver for w in self._written) else None
        value = Kept(self.module.span(receiver))
        self._arguments.insert(0, _Argument(None, value, by_name=False, taken=taken))

    @property
    def is_changed(self) -> bool:
        """Whether an edit is needed."""
        return self.callee is not None or tuple(self._arguments) != self._before

    def edit(self) -> RewriteArguments:
        """The edit that makes the changes."""
        taken = tuple(argument.taken for argument in self._arguments)
        return RewriteArguments(self.module.span(self.node), self._code(), taken)

    def _code(self) -> Code:
        if self.callee is not None:
            return call(self.callee, *self.elements)
        if isinstance(self.node, ast.Call):
            return call(Kept(self.module.span(self.node.func)), *self.elements)
        items = [item for item in self.elements if isinstance(item, Item | Starred)]
        return dictionary(*items)

    def _index(self, name: str) -> int | None:
        found = (i for i, a in enumerate(self._arguments) if a.name == name and not a.stars)
        return next(found, None)

    def _element(self, argument: _Argument) -> Element:
        if argument.stars:
            return Starred(argument.value, double=argument.stars == 2)
        if self.callee is None and isinstance(self.node, ast.Dict):
            assert argument.key is not None
            return Item(argument.key, argument.value)
        if argument.by_name:
            assert argument.name is not None, "an item that no argument can be made of"
            return Keyword(argument.name, argument.value)
        return argument.value


def bind(
    module: Module,
    node: ast.Call | ast.Dict,
    signature: Sequence[str] = (),
    receiver: ast.expr | None = None,
) -> Arguments:
    """A view of the arguments of a call, or of the items of a dict display.

    Args:
        signature: the parameters that may be passed by position, in their order.
        receiver: where a method is called; if through its class, as `FSDP.no_sync(model)`, the
            receiver is none of the method's arguments.
    """
    if isinstance(node, ast.Dict):
        written = [_item(key, value) for key, value in zip(node.keys, node.values, strict=True)]
    else:
        inside = receiver is not None and module.span(node.func).contains(module.span(receiver))
        written = list(_passed(node, signature, None if inside else receiver))
    return Arguments(module, node, written)


def _item(key: ast.expr | None, value: ast.expr) -> _Written:
    name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
    return _Written(name, value, by_name=True, stars=0 if key is not None else 2, key=key)


def _passed(
    node: ast.Call, signature: Sequence[str], receiver: ast.expr | None
) -> Iterator[_Written]:
    """The arguments of a call, in the order of the source; `receiver` is the first, if given."""
    own = [argument for argument in node.args if argument is not receiver]
    if receiver is not None:
        yield _Written(None, receiver, by_name=False, is_receiver=True)
    names = iter(signature)
    rest: list[_Written] = []
    for argument in own:
        if isinstance(argument, ast.Starred):
            names = iter(())
            rest.append(_Written(None, argument.value, by_name=False, stars=1))
        else:
            rest.append(_Written(next(names, None), argument, by_name=False))
    for keyword in node.keywords:
        stars = 0 if keyword.arg is not None else 2
        rest.append(_Written(keyword.arg, keyword.value, by_name=True, stars=stars))
    yield from sorted(rest, key=lambda w: (w.value.lineno, w.value.col_offset))


def _taken(module: Module, index: int, written: _Written) -> _Argument:
    return _Argument(
        written.name,
        Kept(module.span(written.value)),
        written.by_name,
        written.stars,
        Kept(module.span(written.key)) if written.key is not None else None,
        TakenFrom(index),
    )


def _by_name(argument: _Argument) -> _Argument:
    """`argument` passed by name, where its parameter is known."""
    known = argument.name is not None and not argument.stars
    return replace(argument, by_name=True) if known else argument
