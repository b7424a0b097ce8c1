"""The imports of a rewritten file: what the edits need comes in, what nothing uses goes out.

LibCST's own import helpers lose comments and remove names that are used under `try`, so this
small editor does just what a migration needs, a statement at a time.  It works on trees alone:
the old one, for the places, and the one that the other edits mean, for the names in use.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

from fsdp_migrate.findings.code import NOTHING, Code
from fsdp_migrate.findings.edits import Edit, Import, InsertStatements, ReplaceStatement
from fsdp_migrate.rewriting.guarded_imports import is_guarded, question
from fsdp_migrate.rewriting.import_comments import comments_that_go
from fsdp_migrate.rewriting.import_plan import ImportPlan
from fsdp_migrate.rewriting.import_sections import Sections
from fsdp_migrate.rewriting.import_statements import (
    ImportNode,
    bound_name,
    home,
    imported,
    is_about_fsdp,
    is_stdlib,
    order,
    statements,
)
from fsdp_migrate.rewriting.name_uses import FUNCTIONS, NameUses, Place
from fsdp_migrate.rewriting.type_checking import TypeCheckingBlocks
from fsdp_migrate.rule.facts import RUNTIME
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.used_names import used_names


def import_edits(module: Module, tree: ast.Module, plan: ImportPlan) -> list[Edit]:
    """The edits that bring the imports of `module` in line with `tree`, which it will be."""
    return _Editor(module, tree, plan).edits()


class _Editor:
    """Works out what becomes of each import statement, and where new ones go."""

    def __init__(self, module: Module, tree: ast.Module, plan: ImportPlan) -> None:
        self.module = module
        self.plan = plan
        self.used = used_names(tree) | plan.keep
        found = [n for n in nodes_in(module.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        self.nodes: list[ImportNode] = sorted(found, key=lambda n: (n.lineno, n.col_offset))
        self.top = {n for n in module.tree.body if isinstance(n, ast.Import | ast.ImportFrom)}
        self.sections = Sections(module)
        self.type_checking = TypeCheckingBlocks(module, self.nodes)
        self.uses = NameUses(tree)
        present = self._present()
        self.waiting = {n for n in plan.needed if n not in present and n.local in self.used}
        self.changes: dict[ImportNode, list[Import]] = {}
        self.limit = module.line_length

    def _present(self) -> set[Import]:
        return {
            imported(node, alias)
            for node in self.top
            if isinstance(node, ast.Import) or not node.level
            for alias in node.names
        }

    def edits(self) -> list[Edit]:
        """All edits."""
        for node in self.nodes:
            left = self._left(node)
            if left is not None:
                self.changes[node] = left
        inserts = self._place()
        self._merge_siblings()
        emptied = self.type_checking.emptied(self.changes)
        self.changes |= self.type_checking.imports_of_test(emptied, self.changes)
        return [
            *(self._replaced(node) for node in self.changes if not self._goes(node, emptied)),
            *(ReplaceStatement(self.module.span(node), NOTHING) for node in emptied),
            *inserts,
        ]

    # ------------------------------------------------------------------ what is left of one
    def _left(self, node: ImportNode) -> list[Import] | None:
        """What the statement will import, or None if it stays as it is."""
        kept: list[Import] = []
        moved: list[Import] = []
        for alias in node.names:
            target = self.plan.moved.get(bound_name(alias))
            if self._is_dropped(node, alias):
                continue
            if isinstance(node, ast.ImportFrom) and target and bound_name(alias) in self.used:
                if node in self.top or self._hides(node, target):
                    self.waiting.add(target)
                else:
                    moved.append(target)
                continue
            kept.append(imported(node, alias))
        if not kept and not moved:
            kept = question(self.module, node)
        taken = self._taken_in(node, kept)
        if kept == [imported(node, alias) for alias in node.names] and not taken:
            return None
        return [*kept, *taken, *moved]

    def _is_dropped(self, node: ImportNode, alias: ast.alias) -> bool:
        bound = bound_name(alias)
        if alias.name == "*":
            return f"*{home(node)}" in self.plan.gone
        if isinstance(node, ast.Import) and alias.asname is None and "." in alias.name:
            gone = bound in self.plan.gone and alias.name in self.plan.gone
            if gone and bound in self.used and not self._still_bound(bound):
                self.waiting.add(Import(bound))
            return gone
        return bound in self.plan.gone and bound not in self.used

    def _still_bound(self, name: str) -> bool:
        """Whether an `import name` or `import name.x` at the top stays."""
        return any(
            bound_name(alias) == name and alias.name not in self.plan.gone - {name}
            for node in self.top
            if isinstance(node, ast.Import)
            for alias in node.names
        )

    def _taken_in(self, node: ImportNode, kept: list[Import]) -> list[Import]:
        """New names that a statement which stays imports from the same module."""
        if node not in self.top or not kept or any(item.name == "*" for item in kept):
            return []
        if isinstance(node, ast.Import):
            return []
        mine = {n for n in self.waiting if n.module == home(node) and n.name is not None}
        self.waiting -= mine
        return sorted(mine, key=order)

    def _goes(self, node: ImportNode, emptied: list[ast.If]) -> bool:
        """Whether a statement goes with a block around it."""
        return any(block in emptied for block in self.module.ancestors(node))

    # ------------------------------------------------------------------ places for new ones
    def _place(self) -> list[Edit]:
        """Give the imports that no statement has taken in to others, or insert them."""
        placed: dict[ImportNode, list[Import]] = defaultdict(list)
        rest: list[Import] = []
        for need in sorted(self.waiting, key=order):
            importing = self._functions_that_import(need)
            uses = self.uses.functions_around(need.local)
            if uses and all(around & importing for around in uses):
                continue
            anchors = self._anchors(need)
            if any(anchor in self.top and self._disorders(anchor, need) for anchor in anchors):
                anchors = []
            for anchor in anchors:
                if not importing.intersection(self._functions_around(anchor)):
                    placed[anchor].append(need)
            if not anchors:
                rest.append(need)
        for anchor, needs in placed.items():
            plain = [item for item in self.changes[anchor] if item.name is None]
            named = [item for item in self.changes[anchor] if item.name is not None]
            more = [need for need in needs if need.name is None]
            self.changes[anchor] = [
                *plain, *more, *named, *(need for need in needs if need.name is not None)
            ]  # fmt: skip
        return [self._insert(needs) for needs in self._joined(rest)]

    def _disorders(self, anchor: ImportNode, need: Import) -> bool:
        """Whether `need` has its place in a sorted group, and not where `anchor` stands in it."""
        going = {node for node, names in self.changes.items() if not names}
        return not self.sections.is_in_order(need, anchor, going - {anchor})

    def _anchors(self, need: Import) -> list[ImportNode]:
        """The changed statements that `need` goes with: one, or one for each function."""
        same = [n for n in self.changes if is_stdlib(home(n)) == is_stdlib(need.module)]
        same = [n for n in same if not self._hides(n, need)]
        same.sort(key=lambda n: (not _is_close(n, need), n.lineno))
        functions: dict[Place, ImportNode] = {}
        branch: ImportNode | None = None  # below an `if` or a `try` of the module
        for node in same:
            if node in self.top and branch is None:
                if need.name is None and self.sections.first_from_import() is not None:
                    return []  # `import x` goes above that
                if _is_close(node, need) or not functions:
                    return [node]
            elif node not in self.top and _is_close(node, need) and self._serves(node, need):
                function = next(self._functions_around(node), None)
                if function is not None:
                    functions.setdefault(function, node)
                elif branch is None:
                    branch = node
        inside, is_all = self._in_functions(need, functions)
        if is_all:
            return inside
        return [branch, *inside] if branch is not None else [n for n in same if n in self.top][:1]

    def _hides(self, node: ImportNode, need: Import) -> bool:
        """Whether nobody would learn that `need`, beside a statement, can't be imported."""
        return need.module == RUNTIME and is_guarded(self.module, node)

    def _serves(self, node: ImportNode, need: Import) -> bool:
        """Whether what a nested statement imports is there for those who need it."""
        if self._is_of_class(node):
            return False
        runs = any(self._functions_around(node)) or not self.type_checking.holds(node)
        return runs or self.uses.only_annotates(need.local)

    def _is_of_class(self, node: ast.AST) -> bool:
        """Whether what a statement binds is an attribute of a class."""
        scopes = (*FUNCTIONS, ast.ClassDef)
        inner = next((a for a in self.module.ancestors(node) if isinstance(a, scopes)), None)
        return isinstance(inner, ast.ClassDef)

    def _functions_around(self, node: ast.AST) -> Iterator[Place]:
        """The functions that a statement stands in, from the inside out."""
        for around in self.module.ancestors(node):
            if isinstance(around, FUNCTIONS):
                yield around.lineno, around.col_offset

    def _in_functions(
        self, need: Import, functions: Mapping[Place, ImportNode]
    ) -> tuple[list[ImportNode], bool]:
        """The statements in functions that need the name, and whether no other place does."""
        uses = self.uses.functions_around(need.local)
        nodes = [node for place, node in functions.items() if any(place in a for a in uses)]
        return nodes, bool(uses) and all(around & set(functions) for around in uses)

    def _functions_that_import(self, need: Import) -> set[Place]:
        """The functions that have the import already, in a statement of their own."""
        return {
            next(self._functions_around(node))
            for node in self.nodes
            if need in self.changes.get(node, [imported(node, alias) for alias in node.names])
            and any(self._functions_around(node))
            and not self._is_of_class(node)
        }

    # ------------------------------------------------------------------ statements
    def _merge_siblings(self) -> None:
        """Join imports from one module that have come to stand one below the other."""
        first: ImportNode | None = None
        for node, names in self.changes.items():
            nested = node not in self.top
            homes = _homes(names)
            if nested and first is not None and self._are_siblings(first, node):
                if homes and homes <= _homes(self.changes[first]):
                    self.changes[first] = [*self.changes[first], *names]
                    self.changes[node] = []
                    continue
            first = node if nested and homes else None

    def _are_siblings(self, one: ImportNode, other: ImportNode) -> bool:
        return self.module.parents[one] is self.module.parents[other]

    def _replaced(self, node: ImportNode) -> Edit:
        names = self.changes[node]
        lines = statements(names, node.col_offset, self.limit, self.module.indent)
        return ReplaceStatement(
            self.module.span(node),
            Code("\n".join(lines)),
            without_comments=comments_that_go(self.module, node, names),
        )

    def _joined(self, needs: list[Import]) -> list[list[Import]]:
        """New imports, those together that stand in one place."""
        groups: dict[object, list[Import]] = {}
        for need in needs:
            groups.setdefault(self.sections.place(need), []).append(need)
        return list(groups.values())

    def _insert(self, needs: list[Import]) -> Edit:
        """New statements where imports go."""
        place = self.sections.place(needs[0])
        lines = statements(needs, 0, self.limit, self.module.indent)
        return InsertStatements(
            self.module.span(place.node),
            Code("\n".join(lines)),
            after=place.after,
            blank_above=place.blank_above,
            blank_below=place.blank_below,
        )


def _homes(names: list[Import]) -> set[str]:
    """The modules of `from` imports; none, if other imports are among them."""
    return {n.module for n in names} if all(n.name is not None for n in names) else set()


def _is_close(node: ImportNode, need: Import) -> bool:
    """Whether `node` imports from where FSDP is, so that what FSDP2 needs stands in its place."""
    return is_about_fsdp(node) or is_stdlib(need.module)
