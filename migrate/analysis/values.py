"""What an expression can stand for: a small lattice of abstract values.

A `Value` is a set of atoms, joined by union; the empty set is code that is never reached.
Mutable things (instances, containers, wrapped models) are named by the place that makes
them, and what they hold lives on the solver's heap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fsdp_migrate.analysis.interned import Interned, fields_of
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True)
class Const(Interned):
    """A literal.  `kind` keeps `1`, `True` and `1.0` apart."""

    value: bool | int | float | complex | str | bytes | None
    kind: str

    __hash__ = Interned.__hash__

    @classmethod
    def of(cls, value: bool | int | float | complex | str | bytes | None) -> Const:
        """The constant `value`."""
        return cls(value, type(value).__name__)


@dataclass(frozen=True)
class Symbol(Interned):
    """Something of a library, by its canonical dotted name."""

    name: str

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class ModuleRef(Interned):
    """A module or package of the project."""

    module: str

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Func(Interned):
    """A function, method or lambda of the project."""

    site: Site

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Cls(Interned):
    """A class of the project."""

    site: Site

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Instance(Interned):
    """An object of a class of the project."""

    cls: Site

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Bound(Interned):
    """A method of the project together with the object it was taken from."""

    func: Func
    receiver: Atom

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Super(Interned):
    """`super()` in a method of `cls`, called on `receiver`."""

    cls: Site
    receiver: Atom

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Result(Interned):
    """What calling (or subscripting) a library's `symbol` at `site` gives."""

    symbol: str
    site: Site

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Partial(Interned):
    """A `functools.partial` made at `site`."""

    site: Site

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Method(Interned):
    """An attribute of an object that is not of the project: `model.no_sync`, `optimizer.step`."""

    receiver: Atom
    name: str

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Wrapped(Interned):
    """An FSDP1 model made by the constructor call at `site` (None: by an annotation only)."""

    site: Site | None

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Params(Interned):
    """Parameters (or named parameters, or a list of them) of a module.

    `kind` tells more, where more is known: "one" for a single one, "named" for pairs of a name and
    a parameter, "name" for one of the names.  `born` is the expression that asks the module for
    them, and `made` the first that makes a copy or a view: `p.detach()` of `p.detach().clone()`.
    What is `copied` may be a copy, and else is a view.
    """

    owner: Atom
    kind: str = ""
    born: Site | None = None
    made: Site | None = None
    copied: bool = False

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Tensor(Interned):
    """A tensor that is computed from parameters, gradients or optimizer state of `owner`.

    `origin` is the expression that the computation begins with: `p.grad` of `p.grad.norm() ** 2`.
    `scalar` says that it is a single number by now.  If it begins with a copy or a view, `made` is
    where that comes from.
    """

    owner: Atom
    origin: Site
    scalar: bool = False
    made: Site | None = None

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Container(Interned):
    """A dict, list, tuple or set made at `site`."""

    site: Site
    kind: str

    __hash__ = Interned.__hash__


@dataclass(frozen=True)
class Unknown(Interned):
    """What the analysis can't know, and why.

    `models` are the FSDP1 models that may have come this way, by the calls that make them.
    """

    reason: str
    models: tuple[Site, ...] = ()

    __hash__ = Interned.__hash__


Atom = (
    Const
    | Symbol
    | ModuleRef
    | Func
    | Cls
    | Instance
    | Bound
    | Super
    | Result
    | Partial
    | Method
    | Wrapped
    | Params
    | Tensor
    | Container
    | Unknown
)
Value = frozenset[Atom]

NOTHING: Value = frozenset()
MANY = Unknown("one of many literals")
TOO_MANY = Unknown("too many possible values")
NONE: Value = frozenset({Const.of(None)})
MODEL: Value = frozenset({Wrapped(None)})  # an FSDP1 model that is made nobody knows where
LITERALS = 12  # with more literals than this it is none in particular
WIDTH = 48  # a value with more atoms than this is as good as unknown


def unknown(reason: str, models: Iterable[Site] = ()) -> Value:
    """The value that can be anything, because of `reason`; one of `models` among others."""
    return frozenset({Unknown(reason, tuple(sorted(set(models))))})


def join(*values: Value) -> Value:
    """The value of an expression that can have any of `values`."""
    some: list[Value] = []
    for value in values:
        if value and value not in some:
            some.append(value)
    if len(some) < 2:
        return some[0] if some else NOTHING
    result = frozenset().union(*some)
    widest = max(some, key=len)
    if len(result) == len(widest):
        return widest
    if TOO_MANY in result:
        return _bounded(result)
    result = _few_literals(_one_reason(result))
    return _bounded(result) if len(result) > WIDTH else result


def _one_reason(value: Value) -> Value:
    """`value` with one reason why it isn't known, where it has several."""
    reasons = [a for a in value if isinstance(a, Unknown) and a != MANY]
    if len(reasons) < 2:
        return value
    kept = min(reasons, key=lambda atom: atom.reason)
    return (value - frozenset(reasons)) | {Unknown(kept.reason, _models(reasons))}


def _models(reasons: Iterable[Unknown]) -> tuple[Site, ...]:
    """The models that may have come one of several ways."""
    return tuple(sorted({site for atom in reasons for site in atom.models}))


def _few_literals(value: Value) -> Value:
    """`value` with `MANY` for its literals, where there are many."""
    literals = frozenset(a for a in value if isinstance(a, Const) and a.value is not None)
    if len(literals) > LITERALS or (literals and MANY in value):
        return (value - literals) | {MANY}
    return value


def ordered(value: Value) -> Iterable[Atom]:
    """The atoms of `value`, in an order that follows from the program alone."""
    return value if len(value) < 2 else sorted(value, key=_order)


def _order(atom: Atom) -> tuple[object, ...]:
    state = vars(atom)
    known: tuple[object, ...] | None = state.get("_rank")
    if known is None:
        known = (type(atom).__name__, *map(_rank, fields_of(atom)))
        state["_rank"] = known
    return known


def _rank(field: object) -> tuple[object, ...]:
    if field is None:
        return ()
    if isinstance(field, Site):
        return (field.module, field.line, field.col, field.end_line, field.end_col)
    if isinstance(field, Atom):
        return _order(field)
    return (repr(field),)


def _bounded(value: Value) -> Value:
    """What is left of a value that has become too wide to follow."""
    return frozenset({*(a for a in value if isinstance(a, Wrapped)), TOO_MANY})


def constants(value: Value) -> list[object] | None:
    """The literals that `value` can be, or None if it can be something else."""
    if not value or not all(isinstance(atom, Const) for atom in value):
        return None
    return [atom.value for atom in value if isinstance(atom, Const)]


def constant(value: Value) -> Const | None:
    """The one literal that `value` is, or None."""
    if len(value) == 1:
        (atom,) = value
        if isinstance(atom, Const):
            return atom
    return None


def symbols(value: Value) -> set[str]:
    """The names of the library things that `value` can be."""
    return {atom.name for atom in value if isinstance(atom, Symbol)}


def is_symbol(value: Value, name: str) -> bool:
    """Whether `value` is the library's `name` (or None, where an import was guarded)."""
    return symbols(value) == {name} and all(
        isinstance(atom, Symbol) or atom == Const.of(None) for atom in value
    )
