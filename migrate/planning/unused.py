"""Functions and classes that nothing in the program refers to, by name.

Names say enough here: whatever is called by its name, passed on, decorated, or spelled in a
string, counts as used, in whatever file.  What is left runs only if something outside of the
project runs it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import children, nodes_in

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
KINDS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Decorators that register nothing: the function is called by its name, or not at all.
PLAIN = frozenset(
    {
        "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass",
        "enable_grad", "final", "inference_mode", "lru_cache", "no_grad", "override", "property",
        "staticmethod", "wraps",
    }
)  # fmt: skip
ALWAYS = frozenset({"main"})  # entry points are named in files that aren't Python
BY_NAME = frozenset({"globals", "locals", "vars"})  # hand out functions under any name
ROOTS = frozenset({"Module", "object"})  # bases that call few methods of what derives from them
HOOKS = frozenset({"forward", "extra_repr"})  # those few


class Unused:
    """The outermost definitions of a program that nothing refers to."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._modules = {module.name: module for module in modules}
        self._refers: dict[ast.AST | None, set[str]] = defaultdict(set)  # by definition around
        self._defined: dict[str, list[Definition]] = defaultdict(list)
        self._around: dict[Definition, Definition | None] = {}
        self._kept: set[Definition] = set()  # used whatever refers to them
        self._said: dict[str, list[tuple[Definition | None, str]]] = defaultdict(list)  # by name
        for module in self._modules.values():
            self._read(module)
        self._live = self._reach()

    def around(self, module: Module, line: int) -> Definition | None:
        """The outermost unused definition on a line of a file, or None if there is none."""
        return next((d for d in self._outermost(module) if spans(d, line)), None)

    def users(self, module: Module, line: int) -> frozenset[str]:
        """The modules that run, or may run, the function around a line when they are imported.

        Outside of functions, and where a function can be reached without its name, it is
        `module` itself.
        """
        own = frozenset({module.name})
        todo: list[ast.AST] = [
            node
            for node in module.tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and spans(node, line)
        ]
        seen, found = set(todo), set()
        while todo:
            node = todo.pop()
            if not isinstance(node, KINDS) or node in self._kept or node.name in ALWAYS:
                return own
            around = self._around[node]
            if around is not None and around not in seen:
                return own  # a method, or a function in a function: who has the object may call
            for owner, name in self._said[node.name]:
                if owner is None:
                    found.add(name)
                elif owner not in seen:
                    seen.add(owner)
                    todo.append(owner)
        return frozenset(found) or own

    def _outermost(self, module: Module) -> Iterator[Definition]:
        """The unused definitions of a file that stand in no other one."""
        todo: list[ast.AST] = [module.tree]
        while todo:
            for child in children(todo.pop()):
                if isinstance(child, KINDS) and child not in self._live:
                    yield child
                else:
                    todo.append(child)

    def _read(self, module: Module) -> None:
        """Note what each definition of a file refers to, and what is defined in it."""
        by_name = any(
            isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in BY_NAME
            for n in nodes_in(module.tree)
        )
        todo: list[tuple[ast.AST, Definition | None]] = [(module.tree, None)]
        while todo:
            node, owner = todo.pop()
            for name in _names(node, module):
                self._refers[owner].add(name)
                self._said[name].append((owner, module.name))
            inside: Definition | None = owner
            if isinstance(node, KINDS):
                self._around[node] = owner
                self._defined[node.name].append(node)
                if _is_kept(node, owner) or (by_name and owner is None):
                    self._kept.add(node)
                inside = node
            for child in children(node):
                todo.append((child, inside if _runs_when_called(node, child) else owner))

    def _reach(self) -> set[Definition]:
        """The definitions that are referred to by what runs, step by step."""
        live: set[Definition] = set()
        names = set(self._refers[None]) | ALWAYS
        grown = True
        while grown:
            grown = False
            for name, found in self._defined.items():
                for each in found:
                    around = self._around[each]
                    if each in live or (around is not None and around not in live):
                        continue
                    if name in names or each in self._kept:
                        live.add(each)
                        names |= self._refers[each]
                        grown = True
        return live


def spans(node: Definition, line: int) -> bool:
    """Whether a definition, its decorators included, has a line."""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first <= line <= (node.end_lineno or node.lineno)


def _runs_when_called(node: ast.AST, child: ast.AST) -> bool:
    """Whether `child` of a definition does something only when the definition is used."""
    if isinstance(node, ast.ClassDef):
        return isinstance(child, KINDS)  # the rest of its body runs where the class is made
    return not isinstance(node, KINDS) or child in node.body


def _is_kept(node: Definition, around: Definition | None) -> bool:
    """Whether a definition is used by those that don't say its name."""
    if any(_last(decorator) not in PLAIN for decorator in node.decorator_list):
        return True
    if isinstance(node, ast.ClassDef):
        return bool(node.keywords)
    if node.name.startswith("test"):
        return True
    if not isinstance(around, ast.ClassDef):
        return False
    if node.name.startswith("__") and node.name.endswith("__"):
        return True
    return node.name in HOOKS or any(_last(base) not in ROOTS for base in around.bases)


def _last(node: ast.AST) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names(node: ast.AST, module: Module) -> Iterator[str]:
    """The names that `node` itself refers to; an import alone is no use."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.alias) and node.asname not in (None, node.name):
        yield node.name
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if not isinstance(module.parents.get(node), ast.Expr):
            yield from node.value.replace(":", ".").split(".")
