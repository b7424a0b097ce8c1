"""What is done with a member of an enum of FSDP1's, and how that is done with its name."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import NONE, Atom, Container, Symbol, Value
from fsdp_migrate.findings.code import Kept, Literal, Part, Quoted, code
from fsdp_migrate.lowering.enum_births import EnumType
from fsdp_migrate.lowering.value_flow import Place, Read
from fsdp_migrate.lowering.value_reads import Act
from fsdp_migrate.syntax.module import Module, all_annotations
from fsdp_migrate.syntax.nodes import all_in, nodes_in

NewForm = tuple[Place, Part]
STR = code("str")


class Unclear(Exception):
    """What is done with a member that can't be done with its name."""


class Readers:
    """The readers of the members of an enum in a program, `atoms`."""

    def __init__(self, analysis: Analysis, enum: EnumType, atoms: frozenset[Atom]) -> None:
        self.analysis = analysis
        self.enum = enum
        self.atoms = atoms

    def rewritten(self, read: Read) -> Iterator[NewForm]:
        """What takes the place of a reader that can't stay as it is.

        Raises:
            Unclear: it can't read a name.
        """
        node, module, parent = read.place.node, read.place.module, read.parent
        where = f"{module.path.name}:{node.lineno}"
        match read.act:
            case Act.TESTED | Act.KEYED | Act.PRINTED if not read.inside:
                if read.act is Act.KEYED and not self._keeps_keys(parent):
                    raise Unclear(f"it is looked up in what isn't known at {where}")
                return
            case Act.PRINTED:
                return
            case Act.COMPARED if isinstance(parent, ast.Compare):
                yield from self._compared(module, parent, where)
            case Act.COMPARED:
                return
            case Act.FIELD if isinstance(parent, ast.Attribute) and parent.attr == "name":
                self._only_members(module, node, where)
                yield Place(module, parent), Kept(module.span(node))
            case Act.CHECKED if isinstance(parent, ast.Call) and len(parent.args) == 2:
                yield from self._checked(module, parent, where)
            case _:
                raise Unclear(f"{read.why or f'`{module.text(parent)}`'} at {where}")

    def _only_members(self, module: Module, node: ast.expr, where: str) -> None:
        if self.analysis.value(node) - self.atoms - NONE:
            raise Unclear(f"`{module.text(node)}` may be something else at {where}")

    def _keeps_keys(self, parent: ast.AST) -> bool:
        """Whether what is looked up in is made here, with the members as its keys."""
        owner: ast.expr | None = None
        if isinstance(parent, ast.Subscript):
            owner = parent.value
        elif isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute):
            owner = parent.func.value
        value = self.analysis.value(owner)
        if value in (self.enum.itself, self.enum.mapping):
            return True  # by a name: a member is no key there
        return owner is None or (bool(value) and all(isinstance(a, Container) for a in value))

    # ------------------------------------------------------------------ comparisons
    def _compared(self, module: Module, parent: ast.Compare, where: str) -> Iterator[NewForm]:
        sides = [parent.left, *parent.comparators]
        if len(sides) == 2 and any(self.analysis.value(side) == NONE for side in sides):
            return  # a name is as little None as a member is
        for side in sides:
            if not self._is_known(self.analysis.value(side)):
                raise Unclear(f"it is compared with `{module.text(side)}` at {where}")
        if not any(isinstance(op, ast.Is | ast.IsNot) for op in parent.ops):
            return
        if any(self.analysis.value(side) == NONE for side in sides):
            return
        if len(parent.ops) > 1:
            raise Unclear(f"`{module.text(parent)}` at {where}")
        left, right = (Kept(module.span(side)) for side in sides)
        same = isinstance(parent.ops[0], ast.Is)
        yield (
            Place(module, parent),
            (
                code("{left} == {right}", left=left, right=right)
                if same
                else code("{left} != {right}", left=left, right=right)
            ),
        )

    def _is_known(self, value: Value) -> bool:
        """Whether a value is a member, None, or a container of nothing else."""
        if not value:
            return False
        for atom in value:
            inner = self.analysis.parts(atom) if isinstance(atom, Container) else {atom}
            if not inner <= self.atoms | NONE:
                keys = isinstance(atom, Container) and atom.kind == "dict"
                if not keys:
                    return False
        return True

    def _checked(self, module: Module, call: ast.Call, where: str) -> Iterator[NewForm]:
        """`isinstance(x, Enum)`, which is to be true of no other string."""
        if self.analysis.value(call.func) != {Symbol("builtins.isinstance")}:
            raise Unclear(f"`{module.text(call)}` at {where}")
        self._only_members(module, call.args[0], where)
        if self.analysis.value(call.args[1]) != self.enum.itself:
            raise Unclear(f"`{module.text(call)}` at {where}")
        yield Place(module, call.args[1]), STR


# ---------------------------------------------------------------------- the class itself
def of_class(
    analysis: Analysis, enum: EnumType, place: Place, annotations: frozenset[ast.AST]
) -> Iterator[NewForm]:
    """What takes the place of a reference to the class, but for those of a birth.

    Raises:
        Unclear: nothing does.
    """
    node, module = place.node, place.module
    parent = module.parents[node]
    if node in annotations:
        yield place, STR
        return
    if isinstance(parent, ast.Attribute) and analysis.value(parent) == enum.mapping:
        return  # the dict of members, which is looked at itself
    if isinstance(parent, ast.Compare) and isinstance(parent.ops[-1], ast.In | ast.NotIn):
        if node is parent.comparators[-1] and analysis.value(node) == enum.mapping:
            yield place, code("({names},)", names=tuple(Literal(n) for n in enum.members))
            return
    raise Unclear(f"`{module.text(module.statement(node))}` reads the class itself")


def quoted(analysis: Analysis, enum: EnumType, module: Module) -> Iterator[NewForm]:
    """The annotations of a file in quotes that name the class, with `str` in its place."""
    bound = {
        alias.asname or alias.name
        for alias in all_in(module.tree, ast.alias)
        if analysis.value(alias) == enum.itself
    }
    for node in annotation_nodes([module]) if bound else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = _without(node.value, bound)
            if text is not None:
                yield Place(module, node), STR if text == "str" else Quoted((text,))


def _without(annotation: str, names: Collection[str]) -> str | None:
    """An annotation with `str` for the class that goes by `names`; None if it isn't in there."""
    try:
        tree = ast.parse(annotation, mode="eval")
    except SyntaxError:
        return None
    found = [n for n in nodes_in(tree) if isinstance(n, ast.Name) and n.id in names]
    for node in sorted(found, key=lambda n: n.col_offset, reverse=True):
        end = node.end_col_offset
        annotation = f"{annotation[: node.col_offset]}str{annotation[end:]}"
    return annotation if found else None


def annotation_nodes(modules: Iterable[Module]) -> frozenset[ast.AST]:
    """The nodes in annotations of variables, parameters and results."""
    return frozenset(
        node
        for module in modules
        for annotation in all_annotations(module.tree)
        for node in nodes_in(annotation)
    )
