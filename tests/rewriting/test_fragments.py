"""New code as nodes: whatever is put together parses to the tree that is meant."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from functools import cache

import libcst as cst
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from libcst.metadata import MetadataWrapper, PositionProvider

from fsdp_migrate.findings.code import (
    ALTERNATIVE,
    BODY,
    NOTHING,
    Code,
    Element,
    Item,
    Kept,
    Keyword,
    Literal,
    Name,
    Part,
    Starred,
    Variable,
    attribute,
    block,
    call,
    code,
    dictionary,
    either,
    loop_variable,
    qualified,
    variable,
)
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.rewriting.fragments import Fragments
from fsdp_migrate.rewriting.meant import flat_dump
from fsdp_migrate.rewriting.places import place_of
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span
from support.edits import edited, module_of

# What a user may have written, one expression a line; every part of them may be kept.
WRITTEN = """\
x
x + y * z
x ** -y
-x ** 2
not x
x and y or z
x or (y and z)
x if y else z
lambda a: a
lambda: (yield)
(a := x)
x < y <= z
x is not None
x, y
()
[x, *y]
{x: y, **z}
{x, y}
[a for a in x if y]
{a: b for a, b in x}
(a for a in x)
f(a for a in x)
f(x, *y, k=z, **w)
await x
(yield x)
x[y]
x[y:z, 0]
x.y
1
1.5
-1
1j
10**3
"text"
'{0} {body} __hole_0__'
"one" "two"
f"{x}"
...
None
((x))
x.y(
        z,  # why
    )
x  # first
        + y
x  # or
        or y
x.y \\
        .z
x if (
        y
    ) else z
"""


BARE = ("x", "1", "x or (y and z)", "x if y else z", "lambda a: a", "(a for a in x)", "x, y")


def written() -> Module:
    """A file with each of the expressions, and one that is replaced."""
    parts: list[str] = []
    for line in WRITTEN.splitlines():
        if line.startswith(" "):
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    lines = "".join(f"    kept = (\n        {part}\n    )\n" for part in parts)
    bare = "".join(f"    bare = {text}\n" for text in BARE)
    bare += "    kept = x, y\n    kept = yield x, y\n    for a in y, z: pass\n"
    return module_of(f"async def f():\n{lines}{bare}    target = old\n")


MODULE = written()


def kept_nodes() -> Iterator[ast.expr]:
    """All expressions that stand on their own."""
    for node in ast.walk(MODULE.tree):
        parent = MODULE.parents.get(node)
        if not isinstance(node, ast.expr) or isinstance(node, ast.Starred | ast.Slice):
            continue
        if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            continue
        in_text = any(isinstance(around, ast.JoinedStr) for around in MODULE.ancestors(node))
        index = isinstance(parent, ast.Subscript) and isinstance(node, ast.Tuple)
        if not in_text and not index:
            yield node


NODES = {MODULE.span(node): node for node in kept_nodes()}
TARGET = next(n for n in ast.walk(MODULE.tree) if isinstance(n, ast.Name) and n.id == "old")


# ---------------------------------------------------------------------- what is meant
class Meant(ast.NodeTransformer):
    """Puts the trees of parts in the place of a template's placeholders."""

    def __init__(self, new: Code) -> None:
        filled = dict(new.holes)
        self.holes = {identifier: filled[name] for name, identifier in new.parsed.holes.items()}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        hole = self.holes.get(node.id)
        return node if hole is None or isinstance(hole, tuple) else meant(hole)

    def elements(self, node: ast.expr) -> list[Element] | None:
        hole = self.holes.get(node.id) if isinstance(node, ast.Name) else None
        return list(hole) if isinstance(hole, tuple) else None

    def visit_Call(self, node: ast.Call) -> ast.expr:
        args, keywords = node.args, node.keywords
        node.args, node.keywords = [], []
        for argument in args:
            elements = self.elements(argument)
            if elements is None:
                node.args.append(self.visit(argument))
            for element in elements or ():
                if isinstance(element, Keyword):
                    node.keywords.append(ast.keyword(element.name, meant(element.value)))
                elif isinstance(element, Starred) and element.double:
                    node.keywords.append(ast.keyword(None, meant(element.value)))
                else:
                    node.args.append(one(element))
        node.keywords += [self.visit(keyword) for keyword in keywords]
        node.func = self.visit(node.func)
        return node

    def visit_List(self, node: ast.List) -> ast.expr:
        every: list[ast.expr] = []
        for item in node.elts:
            elements = self.elements(item)
            every += [self.visit(item)] if elements is None else list(map(one, elements))
        node.elts = every
        return node

    visit_Tuple = visit_Set = visit_List  # type: ignore[assignment]

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            elements = self.elements(value)
            if elements is None:
                keys.append(self.visit(key) if key is not None else None)
                values.append(self.visit(value))
            for element in elements or ():
                assert isinstance(element, Item | Starred)
                keys.append(meant(element.key) if isinstance(element, Item) else None)
                values.append(meant(element.value))
        node.keys, node.values = keys, values
        return node


def one(element: Element) -> ast.expr:
    """An element of a list of arguments or items."""
    if isinstance(element, Starred):
        return ast.Starred(meant(element.value), ast.Load())
    assert not isinstance(element, Keyword | Item)
    return meant(element)


def meant(part: Part) -> ast.expr:
    """The tree that a part is meant to be."""
    if isinstance(part, Kept):
        return copy.deepcopy(NODES[part.span])
    if isinstance(part, Code):
        tree = ast.parse(part.parsed.text, mode="eval").body
        made = Meant(part).visit(tree)
        assert isinstance(made, ast.expr)
        return made
    if isinstance(part, Literal):
        return ast.parse(repr(part.value), mode="eval").body
    if isinstance(part, Name):
        path = f"{part.module}.{part.name}" if part.qualified else part.name
        return ast.parse(path, mode="eval").body
    assert isinstance(part, Variable)
    return ast.Name(part.names[0], ast.Load())


def dumped(tree: ast.AST) -> str:
    """A tree without its places, and without telling loads from stores."""
    for node in ast.walk(tree):
        if hasattr(node, "ctx"):
            node.ctx = ast.Load()
    return flat_dump(tree)


def put(part: Part) -> str:
    """The file with `part` as the value of `target`."""
    return edited(MODULE, ReplaceExpression(MODULE.span(TARGET), part))


@cache
def nodes_of_written() -> dict[Span, cst.BaseExpression]:
    """LibCST's nodes of the expressions, by their places."""
    tree = cst.parse_module(MODULE.source.text)
    positions = MetadataWrapper(tree, unsafe_skip_copy=True).resolve(PositionProvider)
    found: dict[Span, cst.BaseExpression] = {}
    for node in positions:
        if isinstance(node, cst.BaseExpression):
            found[place_of(node, positions)] = node
        if isinstance(node, cst.Call) and len(node.args) == 1:
            generator = node.args[0].value
            if isinstance(generator, cst.GeneratorExp) and not generator.lpar:
                end = place_of(node, positions).end
                found |= {s: generator for s in NODES if s.end == end and s not in found}
    return found


class Plain:
    """Every name as it is called where nothing else has it."""

    def of(self, name: Name | Variable) -> str:
        if isinstance(name, Variable):
            return name.names[0]
        return str(name) if name.qualified else name.name

    def builtin(self, name: str) -> str:
        return name


def alone(part: Part) -> ast.expr:
    """`part` rendered by itself, between brackets, as a tree."""
    kept = nodes_of_written()
    made = Fragments(cst.PartialParserConfig(), Plain(), kept.__getitem__).expression(part)
    return ast.parse(f"({cst.Module([]).code_for_node(made)})", mode="eval").body


def value_of(text: str) -> ast.expr:
    """The value of `target`."""
    assigned = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assign)]
    return next(n.value for n in assigned if ast.unparse(n.targets[0]) == "target")


# ---------------------------------------------------------------------- any code
TEMPLATES = [
    "{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / {b}", "{a} @ {b}", "{a} ** {b}", "{a} // {b}",
    "{a} << {b}", "{a} & {b}", "{a} | {b}", "{a} ^ {b}", "-{a}", "~{a}", "not {a}",
    "{a} and {b}", "{a} or {b}", "{a} and {b} and {c}", "{a} if {b} else {c}", "{a} < {b}",
    "{a} is not {b}", "{a} < {b} < {c}", "{a} not in {b}", "{a}.shape", "{a}.size(0)", "{a}({b})",
    "{a}[{b}]", "{a}[{b}:{c}]", "{a}[{b}, {c}]", "[{a}, {b}]", "({a}, {b})", "{{{a}, {b}}}",
    "{{{a}: {b}}}", "{{**{a}}}", "[*{a}]", "lambda: {a}", "await {a}", "isinstance({a}, {b})",
    "max({a}, key={b})", "print(*{a}, **{b})", "({a})", "({a} + {b}) * {c}", "not ({a})",
    "f'{{1}}' if {a} else {b}", "[{a} for {v} in {b}]", "[{v} for {v} in {a} if {b}]",
    "{{{v}: {a} for {v} in {b}}}", "all({a} for {v} in {b})", "({a} for {v} in {b})",
]  # fmt: skip
NEW = Name("library", "new")
DOTTED = qualified("library.part.other")
LEAVES: st.SearchStrategy[Part] = st.one_of(
    st.sampled_from(sorted(NODES)).map(Kept),
    st.sampled_from([NEW, DOTTED, variable("fresh")]),
    st.sampled_from([0, -1, 2.5, True, None, "text", "it's", 'say "it"', "{0}"]).map(Literal),
)


@st.composite
def codes(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Code:
    """A template with parts in its holes."""
    template = draw(st.sampled_from(TEMPLATES))
    holes: dict[str, Part] = {name: draw(inner) for name in "abc" if f"{{{name}}}" in template}
    if "{v}" in template:
        holes["v"] = loop_variable("p")
    return code(template, **holes)


@st.composite
def calls(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Code:
    """A call with a list of arguments."""
    arguments: list[Element] = draw(st.lists(inner, max_size=2))  # type: ignore[assignment]
    if draw(st.booleans()):
        arguments.append(Starred(draw(inner)))
    if draw(st.booleans()):
        arguments.append(Keyword("key", draw(inner)))
    if draw(st.booleans()):
        arguments.append(Starred(draw(inner), double=True))
    return call(draw(inner), *arguments)


@st.composite
def displays(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Code:
    """A display with a list of elements or items."""
    parts = draw(st.lists(inner, max_size=3))
    if draw(st.booleans()):
        return dictionary(*(Item(Literal("key"), part) for part in parts))
    elements: tuple[Element, ...] = tuple(
        Starred(part) if draw(st.booleans()) else part for part in parts
    )
    return code("[{elements}]", elements=elements)


PARTS: st.SearchStrategy[Part] = st.recursive(
    LEAVES, lambda inner: st.one_of(codes(inner), calls(inner), displays(inner)), max_leaves=6
)
FEW = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(FEW, max_examples=500)
@given(PARTS)
def test_any_code_is_the_tree_that_is_meant(part: Part) -> None:
    assert dumped(alone(part)) == dumped(meant(part))


@FEW
@given(PARTS)
def test_any_code_is_the_tree_that_is_meant_in_a_file(part: Part) -> None:
    assert dumped(value_of(put(part))) == dumped(meant(part))


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_expression_in_every_slot(template: str) -> None:
    names = [name for name in "abc" if f"{{{name}}}" in template]
    fixed: dict[str, Part] = {"v": loop_variable("p")} if "{v}" in template else {}
    for name in names:
        others = {other: NEW for other in names if other != name}
        for span in NODES:
            new = code(template, **{name: Kept(span)}, **others, **fixed)
            assert dumped(alone(new)) == dumped(meant(new)), MODULE.segment(NODES[span])


# ---------------------------------------------------------------------- in the user's code
AROUND = [
    "v = -old", "v = not old", "v = old ** 2", "v = 2 ** old", "v = old + 1", "v = 1 - old",
    "v = old.x", "v = old()", "v = f(old)", "v = f(old, 1)", "v = f(k=old)", "v = f(*old)",
    "v = f(**old)", "v = old[0]", "v = x[old]", "v = x[old:1]", "v = x[1, old]", "v = [old]",
    "v = [*old]", "v = (old,)", "v = {old}", "v = {old: 1}", "v = {1: old}", "v = {**old}",
    "v = old if x else y", "v = x if old else y", "v = x if y else old", "v = old and x",
    "v = x or old", "v = old < x", "v = x in old", "v = lambda: old", "v = lambda a=old: a",
    "v = [old for a in x]", "v = [a for a in old]", "v = [a for a in x if old]",
    "v = {old: a for a in x}", "v = {a: old for a in x}", "v = (y := old)", "v = await old",
    "v = yield old", "v = old", "v += old", "v: old = 1", "v: int = old", "assert old",
    "assert x, old", "raise old", "raise x from old", "del old.x", "return old", "old",
    "if old: pass", "while old: pass", "for a in old: pass", "with old: pass",
    "with old as a: pass",
    "def g(a=old): pass", "def g(a: old): pass", "def g() -> old: pass", "class A(old): pass",
    "class A(k=old): pass", "v = f'{old}'", "v = f'{x:{old}}'", "v = (old)", "v = ((old), x)",
    "if x: pass\n    elif old: pass", "async for a in old: pass", "async with old: pass",
    "@old\n    def g(): pass", "v = x, old", "v = *old, x", "print(old for a in x)",
]  # fmt: skip
INTO = [
    code("{a} + {b}", a=NEW, b=NEW),
    code("{a} if {b} else {c}", a=NEW, b=NEW, c=NEW),
    code("{a} or {b}", a=NEW, b=NEW),
    code("not {a}", a=NEW),
    code("-{a}", a=NEW),
    code("{a} < {b}", a=NEW, b=NEW),
    code("lambda: {a}", a=NEW),
    code("await {a}", a=NEW),
    code("({a} for {v} in {b})", a=NEW, b=NEW, v=loop_variable("p")),
    code("{a}.x", a=NEW),
    code("{a}, {b}", a=NEW, b=NEW),
    dictionary(Item(Literal("key"), NEW)),
    code("{{{a} for {v} in {b}}}", a=NEW, b=NEW, v=loop_variable("p")),
    Literal(1),
    NEW,
]


@pytest.mark.parametrize("around", AROUND)
def test_new_code_in_the_users_code(around: str) -> None:
    text = f"async def f():\n    {around}\n"
    module = module_of(text)
    old = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "old")

    class Put(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return meant(new) if node.id == "old" else node

    for new in INTO:
        is_tuple = new == INTO[10]  # `with (a, b):` would be two contexts
        if ("del" in around and isinstance(new, Literal)) or ("with" in around and is_tuple):
            continue
        after = edited(module, ReplaceExpression(module.span(old), new))
        expected = Put().visit(copy.deepcopy(module.tree))
        assert dumped(ast.parse(after)) == dumped(expected), after


# ---------------------------------------------------------------------- to the letter
def bare(text: str) -> Kept:
    """An expression that is written without parentheses around it."""
    found = [node for node in ast.walk(MODULE.tree) if isinstance(node, ast.Assign)]
    value = next(n.value for n in found if MODULE.segment(n) == f"bare = {text}")
    return Kept(MODULE.span(value))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (code("{a} is not None", a=bare("x")), "x is not None"),
        (code("{a} is not None", a=bare("x or (y and z)")), "(x or (y and z)) is not None"),
        (code("{a}({b})", a=NEW, b=bare("x if y else z")), "new(x if y else z)"),
        (call(NEW), "new()"),
        (call(NEW, bare("(a for a in x)")), "new((a for a in x))"),
        (call(NEW, Starred(bare("x, y"))), "new(*(x, y))"),
        (call(NEW, k=Literal("it's")), 'new(k="it\'s")'),
        (call(NEW, k=Literal('say "it"')), "new(k='say \"it\"')"),
        (dictionary(Item(Literal("a"), Literal(1))), '{"a": 1}'),
        (dictionary(), "{}"),
        (attribute(bare("x"), "shape"), "x.shape"),
        (attribute(bare("1"), "real"), "(1).real"),
        (attribute(bare("lambda a: a"), "x"), "(lambda a: a).x"),
        (either(bare("x"), NEW), "x or new"),
        (code("max({a})", a=DOTTED), "max(library.part.other)"),
    ],
)
def test_as_it_is_written(part: Part, expected: str) -> None:
    assert put(part).rstrip().rpartition("target = ")[2] == expected


@pytest.mark.parametrize("around", ["old", "old or x", "not old"])
def test_lines_that_nothing_else_joins_get_parentheses(around: str) -> None:
    module = module_of(f"f(\n    x  # first\n    + y\n)\ntarget = {around}\n")
    kept = next(n for n in ast.walk(module.tree) if isinstance(n, ast.BinOp))
    old = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "old")
    for new in (Kept(module.span(kept)), code("{a} is None", a=Kept(module.span(kept)))):
        text = edited(module, ReplaceExpression(module.span(old), new))
        expected = around.replace("old", "(x + y)" if isinstance(new, Kept) else "(x + y is None)")
        assert dumped(value_of(text)) == dumped(ast.parse(expected, mode="eval").body)


def test_between_the_brackets_of_a_call_they_need_none() -> None:
    module = module_of("f(\n    x  # first\n    + y\n)\ntarget = old\n")
    kept = next(n for n in ast.walk(module.tree) if isinstance(n, ast.BinOp))
    old = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "old")
    new = call(NEW, Kept(module.span(kept)))
    text = edited(module, ReplaceExpression(module.span(old), new))
    assert text.endswith("target = new(x  # first\n    + y)\n")


# ---------------------------------------------------------------------- statements
def replaced(text: str, new: Part) -> str:
    """`text` with its first statement replaced."""
    module = module_of(text)
    edit: Edit = ReplaceStatement(module.span(module.tree.body[0]), new)
    return edited(module, edit)


@pytest.mark.parametrize(
    ("new", "after"),
    [
        (NOTHING, ""),
        (BODY, "one()\ntwo()\n"),
        (ALTERNATIVE, "other()\n"),
        (NEW, "new\n"),
        (block(NEW, BODY), "new\none()\ntwo()\n"),
        (block(BODY, NOTHING), "one()\ntwo()\n"),
        (
            code("with {a}:\n    {body}", a=NEW, body=BODY),
            "with new:\n    one()\n    two()\n",
        ),
        (
            code("if {a}:\n    {body}\nelse:\n    pass", a=NEW, body=BODY),
            "if new:\n    one()\n    two()\nelse:\n    pass\n",
        ),
        (
            code("{v} = {a}\n{body}", v=variable("mesh"), a=NEW, body=BODY),
            "mesh = new\none()\ntwo()\n",
        ),
        (
            code("# why\n{a}()\n{body}", a=NEW, body=BODY),
            "# why\nnew()\none()\ntwo()\n",
        ),
        (code("{a}.x = 1", a=NEW), "new.x = 1\n"),
        (code("del {a}", a=NEW), "del new\n"),
    ],
)
def test_statements(new: Part, after: str) -> None:
    text = "if x:\n    one()\n    two()\nelse:\n    other()\nlast()\n"
    assert replaced(text, new) == f"{after}last()\n"


def test_a_body_is_no_expression() -> None:
    with pytest.raises(TypeError):
        put(call(NEW, BODY))


@example(["text", "{0}", "{body}", "__hole_0__", "_hole_0_"])
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\\'\n\r\0")), max_size=3))
@settings(max_examples=50, deadline=None)
def test_texts_of_the_user_are_no_templates(words: list[str]) -> None:
    module = module_of("".join(f"kept = '{word}'\n" for word in words) + "target = old\n")
    values = [n.value for n in module.tree.body if isinstance(n, ast.Assign)]
    parts = [Kept(module.span(value)) for value in values[:-1]]
    edit = ReplaceExpression(module.span(values[-1]), call(NEW, *parts))
    made = value_of(edited(module, edit))
    assert isinstance(made, ast.Call)
    assert [ast.literal_eval(argument) for argument in made.args] == words


def test_a_generator_behind_a_star_gets_parentheses() -> None:
    generator = Kept(Span(line=66, col=9, end_line=66, end_col=23))
    made = code("{f}({arguments})", f=Literal("text"), arguments=(Starred(generator, double=True),))
    assert dumped(alone(made)) == dumped(meant(made))
