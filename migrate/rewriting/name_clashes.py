"""Names for what new code names, apart from those that the file gives to things of its own.

`optim_state_dict = FSDP.optim_state_dict(model, optim)` must not become a variable that calls
itself, nor may a function of the user's called `fully_shard` take the place of PyTorch's.  What
the user wrote keeps its names: only a `Name` or a `Variable` of new code is ever called otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.findings.code import NOTHING, Code, Kept, Name, Part, Variable, parts_of
from fsdp_migrate.findings.edits import Edit, Import, ReplaceStatement, codes
from fsdp_migrate.findings.spelling import local_names, torch_paths
from fsdp_migrate.syntax.module import Module, scope_nodes
from fsdp_migrate.syntax.span import Span

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NAMED = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
)


@dataclass(frozen=True)
class FileSpelling:
    """How one file calls what new code names, and the imports that this takes."""

    names: Mapping[Name | Variable, str]
    builtins: Mapping[str, str]  # those that the file has other things of the same name for
    imports: frozenset[Import]

    def of(self, name: Name | Variable) -> str:
        """The dotted path by which the file refers to a library's name, or the variable's name."""
        return self.names[name]

    def builtin(self, name: str) -> str:
        """The same for a builtin."""
        return self.builtins.get(name, name)


def spell(module: Module, edits: Iterable[Edit]) -> FileSpelling:
    """Names for all that the code of `edits` names, apart from those that `module` gives away."""
    return _Speller(module, list(edits)).spelling()


class _Speller:
    """Finds out what each name has to differ from: what is visible where it is used."""

    def __init__(self, module: Module, edits: list[Edit]) -> None:
        self.module = module
        self.edits = edits
        self.visible: dict[Name | Variable | str, set[str]] = {}  # by what is to be spelled
        self.read: dict[Variable, set[str]] = {}  # beside the variable of a comprehension
        for edit in edits:
            self._look(edit.span, [part for code in codes(edit) for part in parts_of(code)])

    def _look(self, span: Span, parts: list[Part]) -> None:
        """Note what is visible at the place of an edit, for all that its code names."""
        taken = self._own_names_at(span)
        for part in parts:
            if isinstance(part, Name | Variable):
                self.visible.setdefault(part, set()).update(taken)
            elif isinstance(part, Code):
                for name in part.parsed.builtins:
                    self.visible.setdefault(name, set()).update(taken)
            if isinstance(part, Variable) and part.in_comprehension:
                self.read.setdefault(part, set()).update(self._read_by(parts))

    def spelling(self) -> FileSpelling:
        """Everything spelled."""
        names: dict[Name | Variable, str] = {}
        imports: set[Import] = set()
        for part, taken in self.visible.items():
            if isinstance(part, Name):
                names[part], need = self._named(part, taken)
                imports |= {need} if need is not None else set()
            elif isinstance(part, Variable):
                near = part.beside if part.beside is not None else self._bound
                names[part] = _free(part.names, self.read.get(part, near))
        hidden = {n for n, taken in self.visible.items() if isinstance(n, str) and n in taken}
        shadowed = {name: f"builtins.{name}" for name in sorted(hidden)}
        imports |= {Import("builtins")} if hidden else set()
        return FileSpelling(names, shadowed, frozenset(imports))

    # ------------------------------------------------------------------ names of libraries
    def _named(self, name: Name, taken: Collection[str]) -> tuple[str, Import | None]:
        return self._qualified(name, taken) if name.qualified else self._imported(name, taken)

    def _imported(self, name: Name, taken: Collection[str]) -> tuple[str, Import | None]:
        """A name that is imported with `from`: as it is already, or so that nothing clashes."""
        present = local_names(self.module, name.module, name.name)
        for local in present:
            if local not in taken or local in self._imported_outside:
                return local, _import(name, local)
        clashes = name.name in taken or name.name in self._bound_by_other_imports(name)
        local = self._fresh(name.name) if clashes else name.name
        return local, _import(name, local)

    def _qualified(self, name: Name, taken: Collection[str]) -> tuple[str, Import | None]:
        """A name that is spelled with its module in front, by a way that nothing hides."""
        for path in torch_paths(self.module, name.module):
            if path.partition(".")[0] not in taken:
                return f"{path}.{name.name}", None
        head = name.module.partition(".")[0]
        if head not in taken:
            return f"{name.module}.{name.name}", Import(head)
        alias = self._fresh(name.module.rpartition(".")[2])
        return f"{alias}.{name.name}", Import(name.module, None, alias)

    def _fresh(self, name: str) -> str:
        name = f"fsdp_{name}"
        while name in self.module.bound_names:
            name = f"_{name}"
        return name

    @cached_property
    def _imported_outside(self) -> frozenset[str]:
        """The names that imports bind outside of functions, and no function binds otherwise."""
        inside = {
            name
            for node in ast.walk(self.module.tree)
            if isinstance(node, _Function)
            for name in _bound_in(node)
        }
        return (
            frozenset(
                alias.asname or alias.name
                for node in scope_nodes(self.module.tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            )
            - inside
        )

    def _bound_by_other_imports(self, name: Name) -> set[str]:
        """The names that imports of other things bind, but for those that stand in for `name`."""
        return {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(self.module.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if not (isinstance(node, ast.ImportFrom) and node.module == name.module)
            and not any(isinstance(a, ast.ExceptHandler) for a in self.module.ancestors(node))
        }

    # ------------------------------------------------------------------ names of the file
    def _own_names_at(self, span: Span) -> set[str]:
        """The names that are visible at `span` and bound by anything but an import."""
        names = set(self._outside)
        for function, bound in self._functions:
            if function.contains(span):
                names |= bound
        return names

    @cached_property
    def _outside(self) -> frozenset[str]:
        """The names that the module binds outside of functions and classes."""
        return frozenset(_bound_in(self.module.tree))

    @cached_property
    def _functions(self) -> list[tuple[Span, frozenset[str]]]:
        return [
            (self.module.span(node), frozenset(_bound_in(node)))
            for node in ast.walk(self.module.tree)
            if isinstance(node, _Function)
        ]

    @cached_property
    def _bound(self) -> frozenset[str]:
        """All names that are bound anywhere, but for those that only what is removed binds."""
        removed = [
            edit.span
            for edit in self.edits
            if isinstance(edit, ReplaceStatement) and edit.code == NOTHING
        ]
        if not removed:
            return self.module.bound_names
        bound: dict[str, bool] = {}  # whether only removed statements bind it
        for node in ast.walk(self.module.tree):
            for name in _bound_by(node):
                inside = any(span.contains(self.module.span(node)) for span in removed)
                bound[name] = bound.get(name, True) and inside
        return self.module.bound_names - {name for name, gone in bound.items() if gone}

    def _read_by(self, parts: Iterable[Part]) -> set[str]:
        """The names that kept expressions read."""
        kept = [part.span for part in parts if isinstance(part, Kept)]
        return {
            node.id
            for node in ast.walk(self.module.tree)
            if isinstance(node, ast.Name)
            and any(span.contains(self.module.span(node)) for span in kept)
        }


def _import(name: Name, local: str) -> Import:
    return Import(name.module, name.name, local if local != name.name else None)


def _free(names: tuple[str, ...], taken: Collection[str]) -> str:
    """The first of `names` that isn't taken, or the first of all with a prefix."""
    name = next((name for name in names if name not in taken), names[0])
    while name in taken:
        name = f"fsdp_{name}"
    return name


def _bound_in(scope: ast.Module | _Function) -> Iterator[str]:
    """The names that are bound in a scope itself, imports apart."""
    if not isinstance(scope, ast.Module):
        yield from (node.arg for node in ast.walk(scope.args) if isinstance(node, ast.arg))
    for node in scope_nodes(scope):
        yield from _bound_by(node)


def _bound_by(node: ast.AST) -> Iterator[str]:
    """The names that `node` itself binds."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, _NAMED) and node.name is not None:
        yield node.name
