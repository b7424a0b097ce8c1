"""Names for what new code names, apart from those that the file gives to things of its own.

`optim_state_dict = FSDP.optim_state_dict(model, optim)` must not become a variable that calls
itself, nor may a function of the user's called `fully_shard` take the place of PyTorch's.  What
the user wrote keeps its names: only a `Name` or a `Variable` of new code is ever called otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from fsdp_migrate.findings.code import NOTHING, Code, Kept, Name, Part, Variable, parts_of
from fsdp_migrate.findings.edits import Edit, Import, ReplaceStatement, codes
from fsdp_migrate.findings.spelling import local_names, torch_paths
from fsdp_migrate.rewriting.visible_names import VisibleNames
from fsdp_migrate.syntax.module import Module, names_bound_by
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.span import Span


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
        self.scopes = VisibleNames(module)
        self.visible: dict[Name | Variable | str, set[str]] = {}  # by what is to be spelled
        self.read: dict[Variable, set[str]] = {}  # beside the variable of a comprehension
        for edit in edits:
            self._look(edit.span, [part for code in codes(edit) for part in parts_of(code)])

    def _look(self, span: Span, parts: list[Part]) -> None:
        """Note what is visible at the place of an edit, for all that its code names."""
        for part in parts:
            if isinstance(part, Name | Variable):
                self._note(part, span)
            elif isinstance(part, Code):
                for name in part.parsed.builtins:
                    self._note(name, span)
            if isinstance(part, Variable) and part.in_comprehension:
                self.read.setdefault(part, set()).update(self._read_by(parts))

    def _note(self, part: Name | Variable | str, span: Span) -> None:
        """Note the names that are visible at `span` and stand for something else than `part`."""
        visible = self.scopes.visible(span)
        others = {local for local, target in visible.imports if not _leads_to(target, part)}
        self.visible.setdefault(part, set()).update(visible.own | others)

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
            if local not in taken or local in self.scopes.imported_outside:
                return local, _import(name, local)
        local = self._fresh(name.name) if name.name in taken else name.name
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

    # ------------------------------------------------------------------ names of the file
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
        for node in nodes_in(self.module.tree):
            for name in names_bound_by(node):
                inside = any(span.contains(self.module.span(node)) for span in removed)
                bound[name] = bound.get(name, True) and inside
        return self.module.bound_names - {name for name, gone in bound.items() if gone}

    def _read_by(self, parts: Iterable[Part]) -> set[str]:
        """The names that kept expressions read."""
        kept = [part.span for part in parts if isinstance(part, Kept)]
        return {n for place, n in self._read_names if any(span.contains(place) for span in kept)}

    @cached_property
    def _read_names(self) -> list[tuple[Span, str]]:
        names = (node for node in nodes_in(self.module.tree) if isinstance(node, ast.Name))
        return [(self.module.span(node), node.id) for node in names]


def _leads_to(target: str, part: Name | Variable | str) -> bool:
    """Whether an import of `target` is one by which `part` may be spelled."""
    if not isinstance(part, Name):
        return False
    return f"{part.module}.".startswith(f"{target}.") if part.qualified else target == str(part)


def _import(name: Name, local: str) -> Import:
    return Import(name.module, name.name, local if local != name.name else None)


def _free(names: tuple[str, ...], taken: Collection[str]) -> str:
    """The first of `names` that isn't taken, or the first of all with a prefix."""
    name = next((name for name in names if name not in taken), names[0])
    while name in taken:
        name = f"fsdp_{name}"
    return name
