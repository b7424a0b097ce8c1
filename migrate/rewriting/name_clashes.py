"""Names that edits bring into a file, kept apart from those that the file gives to other things.

`optim_state_dict = FSDP.optim_state_dict(model, optim)` must not become a variable that calls
itself, nor may a function of the user's called `fully_shard` take the place of PyTorch's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.findings.code import NOTHING, Code, Kept, Name, Part, Variable, parts_of
from fsdp_migrate.findings.finding import Edit, Import, MoveStatement, ReplaceStatement
from fsdp_migrate.findings.spelling import local_name, torch_path
from fsdp_migrate.syntax.module import Module


def apart(
    module: Module, edits: Iterable[Edit], needs: Iterable[Import]
) -> tuple[list[Edit], set[Import]]:
    """`edits` and `needs`, with other names where `module` uses one for something of its own."""
    taken = _own_names(module)
    present = _imported(module)
    others: dict[str, str] = {}
    renamed: set[Import] = set()
    for need in needs:
        clash = need.name is not None and need.alias is None and need.local in taken
        if clash and (need.module, need.name) not in present:
            others[need.local] = _fresh(need.local, module)
            need = replace(need, alias=others[need.local])
        renamed.add(need)
    return [_renamed(edit, others) for edit in edits], renamed


def _own_names(module: Module) -> set[str]:
    """The names that anything but an import binds, in any scope that functions see."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            if not isinstance(module.scope(node), ast.ClassDef):
                names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(module.scope(node), ast.ClassDef):
                names.add(node.name)
    return names


def _imported(module: Module) -> set[tuple[str, str]]:
    return {
        (node.module or "", alias.name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _fresh(name: str, module: Module) -> str:
    name = f"fsdp_{name}"
    while name in module.bound_names:
        name = f"_{name}"
    return name


def _renamed(edit: Edit, others: Mapping[str, str]) -> Edit:
    """`edit` with other names in its template, keyword arguments left alone."""
    if not others or isinstance(edit, MoveStatement) or not isinstance(edit.code, str):
        return edit
    words = "|".join(map(re.escape, others))
    pattern = rf"(?<![\w.\"'])(?:{words})(?![\w\"'])(?!\s*=(?!=))"
    template = re.sub(pattern, lambda found: others[found[0]], edit.code)
    return replace(edit, code=template)


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
    every = list(edits)
    codes = [edit.code for edit in every if not isinstance(edit, MoveStatement)]
    parts = [part for code in codes if not isinstance(code, str) for part in parts_of(code)]
    taken = _own_names(module)
    gone = _names_that_go(module, every)
    names: dict[Name | Variable, str] = {}
    imports: set[Import] = set()
    for part in dict.fromkeys(parts):
        if isinstance(part, Name):
            names[part], needs = _spelled(module, part, taken)
            imports |= needs
        elif isinstance(part, Variable) and not part.in_comprehension:
            near = part.beside if part.beside is not None else module.bound_names - gone
            names[part] = _free(part.names, near)
        elif isinstance(part, Variable):
            names[part] = _free(part.names, _read_beside(module, part, codes))
    own = {name for part in parts if isinstance(part, Code) for name in part.parsed.builtins}
    shadowed = {name: f"builtins.{name}" for name in own & taken}
    imports |= {Import("builtins")} if shadowed else set()
    return FileSpelling(names, shadowed, frozenset(imports))


def _spelled(module: Module, name: Name, taken: set[str]) -> tuple[str, set[Import]]:
    if name.qualified:
        path, need = torch_path(module, name.module)
        return f"{path}.{name.name}", {need} - {None} if need else set()
    local = local_name(module, name.module, name.name)
    if local is not None and local not in taken:
        return local, {Import(name.module, name.name, local if local != name.name else None)}
    clash = name.name in taken | _imported_otherwise(module, name)
    if clash and (name.module, name.name) not in _imported(module):
        other = _fresh(name.name, module)
        return other, {Import(name.module, name.name, other)}
    return name.name, {Import(name.module, name.name)}


def _imported_otherwise(module: Module, name: Name) -> set[str]:
    """The names that imports of other things bind."""
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if not (isinstance(node, ast.ImportFrom) and node.module == name.module)
        and not _falls_back(module, node)
    }


def _falls_back(module: Module, node: ast.stmt) -> bool:
    """Whether an import stands in a handler of the failure of another one."""
    return any(isinstance(around, ast.ExceptHandler) for around in module.ancestors(node))


def _free(names: tuple[str, ...], taken: Collection[str]) -> str:
    found = next((name for name in names if name not in taken), None)
    name = found or names[0]
    while name in taken:
        name = f"fsdp_{name}"
    return name


def _names_that_go(module: Module, edits: Iterable[Edit]) -> set[str]:
    """The names that only statements bind which the edits remove."""
    spans = [e.span for e in edits if isinstance(e, ReplaceStatement) and e.code in ("", NOTHING)]
    bound: dict[str, list[bool]] = {}
    for node in ast.walk(module.tree):
        for name in _bound_by(node):
            inside = any(span.contains(module.span(node)) for span in spans)
            bound.setdefault(name, []).append(inside)
    return {name for name, inside in bound.items() if all(inside)} if spans else set()


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name


def _read_beside(module: Module, wanted: Variable, codes: Iterable[Part | str]) -> set[str]:
    """The names that kept expressions read in code that has the variable of a comprehension."""
    names: set[str] = set()
    for code in codes:
        if isinstance(code, str) or wanted not in list(parts_of(code)):
            continue
        kept = [part.span for part in parts_of(code) if isinstance(part, Kept)]
        names |= {
            node.id
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name) and any(s.contains(module.span(node)) for s in kept)
        }
    return names
