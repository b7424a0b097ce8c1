"""The imports of a rewritten file: what the edits need comes in, what nothing uses goes out.

LibCST's own import helpers lose comments and remove names that are used under `try`, so this
small editor does just what a migration needs, a statement at a time.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fsdp_migrate.findings.finding import Edit, Import, InsertStatements, ReplaceStatement
from fsdp_migrate.syntax.module import all_annotations
from fsdp_migrate.syntax.span import Span

LINE = 100
FSDP = "torch.distributed.fsdp"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass
class ImportPlan:
    """What is to become of the imports of one file.

    `gone` are the names (as bound) that may be dropped when nothing uses them any more;
    `moved` gives imported names a new home module; `needed` are imports to add, and
    `local_needs` those to add where a function (by the line of its `def`) imports FSDP itself.
    """

    gone: frozenset[str] = frozenset()
    moved: Mapping[str, Import] = field(default_factory=dict)
    needed: frozenset[Import] = frozenset()
    keep: frozenset[str] = frozenset()


def used_names(tree: ast.Module) -> set[str]:
    """The names that a module reads anywhere, in string annotations and `__all__` too."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names -= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    } - {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for annotation in all_annotations(tree):
        for inner in ast.walk(annotation):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                try:
                    parsed = ast.parse(inner.value, mode="eval")
                except SyntaxError:
                    continue
                names |= {n.id for n in ast.walk(parsed) if isinstance(n, ast.Name)}
    return names | exported_names(tree)


def exported_names(tree: ast.Module) -> set[str]:
    """The strings of `__all__`."""
    names: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            assert isinstance(node, ast.Assign)
            names |= {
                c.value
                for c in ast.walk(node.value)
                if isinstance(c, ast.Constant) and isinstance(c.value, str)
            }
    return names


def fix_imports(text: str, plan: ImportPlan) -> str:
    """`text` with its imports brought in line with what it now uses."""
    from fsdp_migrate.rewriting.statements import apply_edits

    tree = ast.parse(text)
    used = used_names(tree) | plan.keep
    editor = _Editor(tree, text, plan, used)
    return apply_edits(text, editor.edits()) if editor.edits() else text


class _Editor:
    """Works out the edits of all import statements of a module."""

    def __init__(self, tree: ast.Module, text: str, plan: ImportPlan, used: set[str]) -> None:
        self.tree = tree
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.plan = plan
        self.used = used
        self.present = self._present()
        self.waiting = {
            need for need in plan.needed if need not in self.present and need.local in used
        }
        self._edits: list[Edit] | None = None

    def _present(self) -> set[Import]:
        found: set[Import] = set()
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and not node.level:
                found |= {Import(node.module or "", a.name, a.asname) for a in node.names}
            elif isinstance(node, ast.Import):
                found |= {Import(a.name, None, a.asname) for a in node.names}
        return found

    def edits(self) -> list[Edit]:
        """All edits, computed once."""
        if self._edits is None:
            self._edits = self._compute()
        return self._edits

    def _compute(self) -> list[Edit]:
        statements = [n for n in ast.walk(self.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        statements.sort(key=lambda n: n.lineno)
        top = set(self.tree.body)
        changes: dict[ast.stmt, list[str]] = {}
        for node in statements:
            new = self._rewritten(node, top=node in top)
            if new is not None:
                changes[node] = new
        self._place(changes, [n for n in statements if n in top])
        self._merge_siblings(changes)
        return [self._replace(node, lines) for node, lines in changes.items()] + self._inserts

    def _merge_siblings(self, changes: dict[ast.stmt, list[str]]) -> None:
        """Join imports from one module that have come to stand one below the other."""
        first: ast.stmt | None = None
        for node, lines in changes.items():
            nested = not isinstance(self.parents[node], ast.Module)
            homes = _homes(lines)
            if nested and first is not None and self.parents[first] is self.parents[node]:
                if homes and homes <= _homes(changes[first]):
                    changes[first] = _merge(changes[first], lines)
                    changes[node] = []
                    continue
            first = node if nested and homes else None

    # ------------------------------------------------------------------ one statement
    def _rewritten(self, node: ast.Import | ast.ImportFrom, top: bool) -> list[str] | None:
        """The import lines in the place of `node`, or None if it stays as it is."""
        kept: list[Import] = []
        moved: list[Import] = []
        changed = False
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if isinstance(node, ast.Import):
                dotted = alias.asname is None and "." in alias.name
                drop = self._unused(bound) and not dotted
                if dotted and bound in self.plan.gone and alias.name in self.plan.gone:
                    drop = True
                    if bound in self.used and not self._still_bound(bound):
                        self.waiting.add(Import(bound))
                if drop:
                    changed = True
                else:
                    kept.append(Import(alias.name, None, alias.asname))
                continue
            home = "." * node.level + (node.module or "")
            target = self.plan.moved.get(bound)
            if alias.name == "*":
                star = f"*{home}"
                if star in self.plan.gone:
                    changed = True
                else:
                    kept.append(Import(home, "*"))
            elif self._unused(bound):
                changed = True
            elif target is not None and bound in self.used:
                if top:
                    self.waiting.add(target)
                else:
                    moved.append(target)
                changed = True
            else:
                kept.append(Import(home, alias.name, alias.asname))
        if isinstance(node, ast.ImportFrom) and top:
            home = "." * node.level + (node.module or "")
            mine = {n for n in self.waiting if n.module == home and n.name is not None}
            if mine and kept and not any(k.name == "*" for k in kept):
                kept.extend(sorted(mine, key=_sort_key))
                self.waiting -= mine
                changed = True
        if not changed:
            return None
        return _lines([*kept, *moved], self._indent(node))

    def _still_bound(self, name: str) -> bool:
        """Whether an `import name` or `import name.x` at the top stays."""
        return any(
            (alias.asname or alias.name.partition(".")[0]) == name
            and alias.name not in self.plan.gone - {name}
            for node in self.tree.body
            if isinstance(node, ast.Import)
            for alias in node.names
        )

    def _unused(self, bound: str) -> bool:
        return bound in self.plan.gone and bound not in self.used

    def _indent(self, node: ast.stmt) -> int:
        return node.col_offset

    # ------------------------------------------------------------------ new statements
    _inserts: list[Edit]

    def _place(self, changes: dict[ast.stmt, list[str]], top: list[ast.stmt]) -> None:
        """Find a place for the imports that no statement has taken in."""
        self._inserts = []
        placed: dict[ast.stmt, set[Import]] = defaultdict(set)
        rest: set[Import] = set()
        for need in self.waiting:
            anchors = self._anchors(need, changes, top)
            for anchor in anchors:
                placed[anchor].add(need)
            if not anchors:
                rest.add(need)
        for anchor, needs in placed.items():
            lines = _lines(sorted(needs, key=_sort_key), anchor.col_offset)
            changes[anchor] = _merge(changes[anchor], lines)
        for library in (True, False):
            needs = {n for n in rest if _is_stdlib(n.module) != library}
            if needs:
                self._insert(_lines(sorted(needs, key=_sort_key), 0), library)

    def _anchors(
        self, need: Import, changes: Iterable[ast.stmt], top: list[ast.stmt]
    ) -> list[ast.stmt]:
        """The changed import statements that `need` goes with: one, or one for each function."""
        same = [n for n in changes if _is_stdlib(_module_of(n)) == _is_stdlib(need.module)]
        same.sort(key=lambda n: (not _is_close(n, need), n.lineno))
        functions: dict[ast.AST, ast.stmt] = {}
        for node in same:
            if node in top:
                if need.name is None and _first_from_import(self.tree) is not None:
                    return []  # `import x` goes above that
                if _is_close(node, need) or not functions:
                    return [node]
                continue
            if not _is_close(node, need):
                continue
            around = self._around(node)
            if any(isinstance(a, ast.ClassDef) for a in around):
                continue
            inner = next((a for a in around if isinstance(a, _FUNCTIONS)), None)
            if inner is not None:
                functions.setdefault(inner, node)
            elif not self._type_checking(around) or self._only_annotates(need.local):
                return [node]
        uses = [n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and n.id == need.local]
        if uses and all(set(self._around(use)) & set(functions) for use in uses):
            return list(functions.values())
        plain = [node for node in same if node in top]
        return plain[:1]

    def _around(self, node: ast.AST) -> list[ast.AST]:
        """The nodes around `node`, the nearest first."""
        found: list[ast.AST] = []
        while (parent := self.parents.get(node)) is not None:
            found.append(parent)
            node = parent
        return found

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The parent of every node."""
        return {child: n for n in ast.walk(self.tree) for child in ast.iter_child_nodes(n)}

    @staticmethod
    def _type_checking(around: Iterable[ast.AST]) -> bool:
        return any(
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for node in around
        )

    def _only_annotates(self, name: str) -> bool:
        """Whether `name` is used in annotations alone, none of which is ever evaluated."""
        stated = {n for a in all_annotations(self.tree) for n in ast.walk(a)}
        lazy = any(
            isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in self.tree.body
        )
        uses = [n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and n.id == name]
        return all(lazy and use in stated for use in uses)

    def _insert(self, lines: list[str], library: bool) -> None:
        """Put new statements where imports go; blank lines in the template are made as well."""
        plain = [line for line in lines if line.startswith("import ")]
        above = _first_from_import(self.tree) if library and plain else None
        if above is not None:
            insert = InsertStatements(_span(above, self.lines), "\n".join(plain))
            self._inserts.append(insert)
            lines = [line for line in lines if line not in plain]
        if not lines:
            return
        text = "\n".join(lines)
        after = _last_import(self.tree, library)
        first = _first_code(self.tree)
        if after is not None:
            blank = "\n" if _module_of(after) == "__future__" else ""
            insert = InsertStatements(_span(after, self.lines), blank + text, after=True)
        elif first is not None:
            blank = "\n" * _distance(first)
            insert = InsertStatements(_span(first, self.lines), f"{text}\n{blank}")
        else:
            insert = InsertStatements(_span(self.tree.body[0], self.lines), f"\n{text}", after=True)
        self._inserts.append(insert)

    def _replace(self, node: ast.stmt, lines: list[str]) -> Edit:
        return ReplaceStatement(_span(node, self.lines), "\n".join(lines))


def _span(node: ast.stmt, lines: list[str]) -> Span:
    text = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
    col = node.col_offset
    if not text.isascii():
        col = len(text.encode()[:col].decode(errors="ignore"))
    return Span(node.lineno, col, node.end_lineno or 0, node.end_col_offset or 0)


def _homes(lines: list[str]) -> set[str]:
    """The modules of `from` imports; none, if other imports are among the lines."""
    froms = all(line.startswith("from ") for line in lines)
    return {line.split()[1] for line in lines} if froms else set()


def _is_close(node: ast.stmt, need: Import) -> bool:
    """Whether `node` imports from where FSDP is, so that what FSDP2 needs stands in its place."""
    return _module_of(node).startswith(FSDP) or _names_fsdp(node) or _is_stdlib(need.module)


def _names_fsdp(node: ast.stmt) -> bool:
    """`from torch.distributed import fsdp`, and `FSDP` from a module of the project's own."""
    return isinstance(node, ast.ImportFrom) and any(
        a.name == "fsdp" or a.name == "FSDP" or a.name.startswith("FullySharded")
        for a in node.names
    )


def _distance(node: ast.stmt) -> int:
    """The blank lines between imports and `node`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return 2
    return 1


def _sort_key(need: Import) -> tuple[str, str, str, str]:
    name = need.name or ""
    order = "0" if name.isupper() else "1" if name[:1].isupper() else "2"
    return need.module, order, name, need.alias or ""


def _lines(imports: Iterable[Import], indent: int) -> list[str]:
    """Import statements for `imports`, one a module, in the order of first mention."""
    modules: dict[str, list[Import]] = {}
    lines: list[str] = []
    for item in imports:
        if item.name is None:
            lines.append(f"import {item.module}" + (f" as {item.alias}" if item.alias else ""))
        else:
            modules.setdefault(item.module, []).append(item)
    for module in sorted(modules):
        names = sorted(set(modules[module]), key=_sort_key)
        words = [f"{n.name} as {n.alias}" if n.alias else str(n.name) for n in names]
        line = f"from {module} import {', '.join(words)}"
        if indent + len(line) > LINE:
            line = f"from {module} import (\n" + "".join(f"    {w},\n" for w in words) + ")"
        lines.append(line)
    return lines


def _merge(old: list[str], new: list[str]) -> list[str]:
    """Two lists of import statements as one, in alphabetical order of the new ones."""
    plain = [line for line in [*old, *new] if line.startswith("import ")]
    froms: dict[str, list[str]] = {}
    for line in [*old, *new]:
        if line.startswith("from "):
            module = line.split()[1]
            names = line.split(" import ", 1)[1].replace("(", "").replace(")", "")
            froms.setdefault(module, []).extend(n.strip() for n in names.split(",") if n.strip())
    items = [Import(module, *_split(name)) for module, names in froms.items() for name in names]
    return [*plain, *_lines(items, 0)]


def _split(name: str) -> tuple[str, str | None]:
    parts = name.split(" as ")
    return parts[0], parts[1] if len(parts) == 2 else None


def _is_stdlib(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _module_of(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return "." * node.level + (node.module or "")
    assert isinstance(node, ast.Import)
    return node.names[0].name


def _last_import(tree: ast.Module, library: bool) -> ast.stmt | None:
    """The import after which new ones of a library (or of the standard library) go."""
    imports = [
        n
        for n in tree.body
        if isinstance(n, ast.Import | ast.ImportFrom) and _module_of(n) != "__future__"
    ]
    torch = [n for n in imports if _module_of(n).partition(".")[0] == "torch"]
    if library and torch:
        return torch[-1]
    same = [n for n in imports if _is_stdlib(_module_of(n)) != library]
    own = [n for n in same if not _module_of(n).startswith(".")]
    if own:
        return own[-1]
    futures = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n not in imports]
    return futures[-1] if futures and not imports else None


def _first_from_import(tree: ast.Module) -> ast.stmt | None:
    """The first `from` import of a library, if no `import` of one is among the imports."""
    library = [
        n
        for n in tree.body
        if isinstance(n, ast.Import | ast.ImportFrom) and not _is_stdlib(_module_of(n))
    ]
    froms = [n for n in library if isinstance(n, ast.ImportFrom)]
    own = any(isinstance(n, ast.Import) for n in library)
    outside = [n for n in froms if not n.level and n.module != "__future__"]
    return outside[0] if outside and not own else None


def _first_code(tree: ast.Module) -> ast.stmt | None:
    """The statement before which imports go: the first import, or what follows the docstring."""
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom) and _module_of(node) != "__future__":
            return node
    return body[0] if body else None
