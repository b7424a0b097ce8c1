"""New source code as a value: a template whose holes are filled with typed parts, never with text.

    code("{on} if {test} else {off}", on=ON, test=Kept(span), off=Literal(None))

A template is written by us, a literal in the rule or the lowering that needs it.  What the user
wrote gets into new code as `Kept` only, a library's name as `Name`, a variable of the new code
as `Variable`.  So nothing is ever pasted: the rewriting puts parentheses where the tree would
otherwise be another one, spells the names as the file does, and imports them.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from fsdp_migrate.syntax.span import Span

BUILTINS = frozenset(dir(builtins))
PLACEHOLDER = "_hole_{}_"  # what stands for a hole while a template is parsed


@dataclass(frozen=True)
class Name:
    """A name of a library: `from module import name`, or `module.name` where it is `qualified`.

    A qualified name is spelled by the way that the file has taken to the module: after
    `import torch.distributed as dist`, as `dist.get_rank`.
    """

    module: str
    name: str
    qualified: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def qualified(dotted: str) -> Name:
    """The name `torch.cuda.set_device`, spelled with its module in front."""
    module, _, name = dotted.rpartition(".")
    return Name(module, name, qualified=True)


@dataclass(frozen=True)
class Variable:
    """A variable that the new code binds, called by the first of `names` that the file leaves free.

    The variable of a comprehension is seen by nothing outside of it: it only has to differ from
    what is read inside.  One that is bound where little else is in sight has to differ from the
    names of `beside` only.
    """

    names: tuple[str, ...]
    in_comprehension: bool = False
    beside: frozenset[str] | None = None


def variable(*names: str) -> Variable:
    """A new variable called by one of `names`, or by the first of them with a prefix."""
    return Variable(names)


def loop_variable(*names: str) -> Variable:
    """The variable of a comprehension."""
    return Variable(names, in_comprehension=True)


def local_variable(*names: str, beside: Iterable[str]) -> Variable:
    """A variable that has to differ from the names `beside` it only."""
    return Variable(names, beside=frozenset(beside))


@dataclass(frozen=True)
class Kept:
    """An expression of the edited file, as its author wrote it, edits inside it included.

    `instead` puts other code in the place of expressions within it, as when the body of a lambda
    goes where its parameter has another name.
    """

    span: Span
    instead: tuple[tuple[Span, Part], ...] = ()

    @property
    def spans(self) -> tuple[Span, ...]:
        """The places that are looked up in the file."""
        return self.span, *(span for span, _ in self.instead)


@dataclass(frozen=True)
class KeptBody:
    """The statements of the edited compound statement: its body, or what its `else` has."""

    alternative: bool = False


BODY = KeptBody()
ALTERNATIVE = KeptBody(alternative=True)


@dataclass(frozen=True)
class Literal:
    """A literal."""

    value: str | int | float | bool | None

    @property
    def source(self) -> str:
        """The literal as source, a string between double quotes where that is possible."""
        if isinstance(self.value, str) and repr(self.value)[0] == "'" and '"' not in self.value:
            return f'"{repr(self.value)[1:-1]}"'
        return repr(self.value)


@dataclass(frozen=True)
class Quoted:
    """A string of the user's that is code (an annotation), with names of libraries in it."""

    pieces: tuple[str | Name, ...]
    quote: str = '"'

    def literal(self, spell: Callable[[Name], str]) -> str:
        """The string as source, with the names in it as `spell` has them."""
        text = "".join(p if isinstance(p, str) else spell(p) for p in self.pieces)
        plain = text.isprintable() and self.quote not in text and "\\" not in text
        return f"{self.quote}{text}{self.quote}" if plain else repr(text)


@dataclass(frozen=True)
class Keyword:
    """An argument `name=value` of a call."""

    name: str
    value: Part

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"{self.name!r} is no name of an argument")


@dataclass(frozen=True)
class Starred:
    """`*value`, or `**value` where it is `double`, in a call or a display."""

    value: Part
    double: bool = False


@dataclass(frozen=True)
class Item:
    """`key: value` of a dict display."""

    key: Part
    value: Part


@dataclass(frozen=True)
class Code:
    """An expression, or statements: a template and what its holes are filled with, by name.

    A hole for a single part takes the place of an expression (or, on a line of its own, of
    statements); a tuple of parts fills a list of arguments, elements or items.
    """

    template: str
    holes: tuple[tuple[str, Hole], ...] = ()

    def __getitem__(self, name: str) -> Hole:
        return dict(self.holes)[name]

    @property
    def parsed(self) -> Parsed:
        """The template with identifiers in the place of its holes."""
        return _parsed(self.template)

    @property
    def is_call(self) -> bool:
        """Whether the code is a call, as `call` makes them."""
        return self.template == CALL

    def walk(self) -> Iterator[Part]:
        """The parts of the code, those inside of parts included, in the order of the template."""
        yield self
        filled = dict(self.holes)
        for name in self.parsed.holes:
            for part in flat(filled[name]):
                yield from parts_of(part)


Part = Code | Name | Variable | Kept | KeptBody | Literal | Quoted
Element = Part | Keyword | Starred | Item
Hole = Part | tuple[Element, ...]
_PARTS = (Code, Name, Variable, Kept, KeptBody, Literal, Quoted)
_ELEMENTS = (*_PARTS, Keyword, Starred, Item)


CALL = "{callee}({arguments})"
NOTHING = Code("")  # no statement at all


def code(template: str, /, **holes: Hole) -> Code:
    """New code from a template with named holes; braces that are meant so are doubled.

    Raises:
        TypeError: a hole is filled with anything but parts, with text above all.
        ValueError: the template isn't Python, its holes are others than those that are filled,
            or it names or binds something itself that is neither a builtin nor a hole.
    """
    for name, hole in holes.items():
        for part in hole if isinstance(hole, tuple) else (hole,):
            if not isinstance(part, _ELEMENTS):
                raise TypeError(f"the hole {name!r} takes parts of code, not {part!r}")
    parsed = _parsed(template)
    if set(parsed.holes) != set(holes):
        raise ValueError(f"{template!r} has the holes {list(parsed.holes)}, not {list(holes)}")
    if parsed.foreign:
        raise ValueError(f"{template!r} uses {sorted(parsed.foreign)}: make holes of them")
    return Code(template, tuple(holes.items()))


def block(*statements: Part) -> Code:
    """Several pieces of code, one below the other."""
    named = {f"part{index}": statement for index, statement in enumerate(statements)}
    return code("\n".join(f"{{{name}}}" for name in named), **named)


def call(callee: Part, *arguments: Element, **keywords: Part) -> Code:
    """A call."""
    every = (*arguments, *(Keyword(name, value) for name, value in keywords.items()))
    return code(CALL, callee=callee, arguments=every)


def dictionary(*items: Item | Starred) -> Code:
    """A dict display."""
    return code("{{**{items}}}", items=items)


def attribute(value: Part, name: str) -> Code:
    """`value.name`.

    Raises:
        ValueError: `name` is no identifier.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no identifier")
    return code(f"{{value}}.{name}", value=value)


def either(*tests: Part) -> Code:
    """`one or other or ...`."""
    named = {f"test{index}": test for index, test in enumerate(tests)}
    return code(" or ".join(f"{{{name}}}" for name in named), **named)


def definition(
    name: Part, given: Iterable[Part], body: Code, bound: Iterable[tuple[Part, Part]] = ()
) -> Code:
    """A function with parameters that it is given, and some that are `bound` to values."""
    holes = {f"given{index}": part for index, part in enumerate(given)}
    words = [f"{{{hole}}}" for hole in holes]
    for index, (part, value) in enumerate(bound):
        holes |= {f"bound{index}": part, f"value{index}": value}
        words.append(f"{{bound{index}}}={{value{index}}}")
    template = f"def {{name}}({', '.join(words)}):\n    {{body}}"
    return code(template, name=name, body=body, **holes)


def both(*tests: Part) -> Code:
    """`one and other and ...`."""
    named = {f"test{index}": test for index, test in enumerate(tests)}
    return code(" and ".join(f"{{{name}}}" for name in named), **named)


def refilled(made: Code, change: Callable[[Hole], Hole]) -> Code:
    """The same code with what `change` makes of each hole."""
    return Code(made.template, tuple((name, change(hole)) for name, hole in made.holes))


def parts_of(part: Part) -> Iterator[Part]:
    """`part` and all parts inside of it."""
    if isinstance(part, Code):
        yield from part.walk()
        return
    yield part
    if isinstance(part, Quoted):
        yield from (piece for piece in part.pieces if isinstance(piece, Name))
    if isinstance(part, Kept):
        for _, other in part.instead:
            yield from parts_of(other)


def flat(hole: Hole) -> Iterator[Part]:
    """The parts of a hole, those of keywords, stars and items included."""
    for part in hole if isinstance(hole, tuple) else (hole,):
        if isinstance(part, Keyword | Starred):
            yield part.value
        elif isinstance(part, Item):
            yield part.key
            yield part.value
        else:
            yield part


# ---------------------------------------------------------------------- templates
@dataclass(frozen=True)
class Parsed:
    """A template with an identifier in the place of each hole."""

    text: str
    holes: Mapping[str, str]  # by name of the hole: the identifier
    builtins: frozenset[str]  # those that it names itself
    foreign: frozenset[str]  # what else it names, or binds


@lru_cache(maxsize=1024)
def _parsed(template: str) -> Parsed:
    text, holes = "", dict[str, str]()
    for literal, name, spec, conversion in Formatter().parse(template):
        text += literal
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{template!r}: a hole is a name between braces, not {name!r}")
        text += holes.setdefault(name, PLACEHOLDER.format(len(holes)))
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{template!r} is not Python: {error.msg}") from error
    inner = _bound_inside(tree)
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - set(holes.values()) - inner
    own |= {f.name for f in ast.walk(tree) if isinstance(f, _NAMED)} - set(holes.values())
    stored = {
        n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load) and n.id in own
    }
    return Parsed(
        text, holes, frozenset((own & BUILTINS) - stored), frozenset(own - BUILTINS | stored)
    )


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NAMED = (*_FUNCTIONS, ast.ClassDef)


def _bound_inside(tree: ast.Module) -> set[str]:
    """The parameters and variables of the functions that a template defines: nobody else's."""
    return {
        bound
        for function in tree.body
        if isinstance(function, _FUNCTIONS)
        for node in ast.walk(function)
        for bound in _binds(node)
    }


def _binds(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
