"""Where parameters are whole for a while: what runs inside of `summon_full_params`.

That is the body of a `with`, what is called from there, what runs below an `enter_context`, and the
bodies of contexts of the program's own that open one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.values import Instance, Result, symbols
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module, Scope, scope_nodes
from fsdp_migrate.syntax.nodes import nodes_in
from fsdp_migrate.syntax.paths import path_of
from fsdp_migrate.syntax.span import Site

SUMMON = f"{FSDP1}.summon_full_params"
DEPTH = 4  # callers that are followed
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WITHS = (ast.With, ast.AsyncWith)
OPENING = frozenset({"enter_context", "__enter__"})
CLOSING = frozenset({"close", "__exit__"})


class Gathered:
    """Answers for one program."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self._at: dict[Site, tuple[bool, bool]] = {}

    def always(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` runs inside, here or in every caller."""
        return self._inside(module, node, all, 0)

    def ever(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` may run inside, here or in one of the callers."""
        return self._inside(module, node, any, 0)

    def at(self, site: Site) -> tuple[bool, bool]:
        """Whether what stands at `site` always runs inside, and whether it ever does."""
        known = self._at.get(site)
        if known is None:
            module = self.analysis.project.modules[site.module]
            node = self._innermost(module, site)
            ever = self.ever(module, node)
            always = ever and self.always(module, node) and not self._is_left_open(module, node)
            known = self._at[site] = always, ever
        return known

    def stands_in_one(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` stands inside of one in its own function."""
        return self._is_around(module, node)

    def stands_at(self, site: Site) -> bool:
        """The same of what stands at `site`."""
        module = self.analysis.project.modules[site.module]
        return self._is_around(module, self._innermost(module, site))

    def are_apart(self, module: Module, node: ast.AST, site: Site) -> bool:
        """Whether `node` and what stands at `site` stand in two contexts, as their text shows."""
        home = self.analysis.project.modules[site.module]
        here = self._context(module, node)
        there = self._context(home, self._innermost(home, site))
        return here is not None and there is not None and here is not there

    def _context(self, module: Module, node: ast.AST) -> ast.withitem | None:
        """The innermost one that `node` stands in, in its own function."""
        return next((i for i in _items_around(module, node) if self._opens(i)), None)

    def _innermost(self, module: Module, site: Site) -> ast.AST:
        """The node at a place, which belongs to what was asked for there."""
        return self._nodes.get(site, module.tree)

    @cached_property
    def _nodes(self) -> dict[Site, ast.AST]:
        return {
            module.site(node): node
            for module in self.analysis.project.modules.values()
            for node in module.parents
            if isinstance(node, ast.expr)
        }

    def _inside(
        self, module: Module, node: ast.AST, how: Callable[[Iterable[bool]], bool], depth: int
    ) -> bool:
        if self._is_around(module, node):
            return True
        function = module.function(node)
        if not isinstance(function, FUNCTIONS) or depth == DEPTH:
            return False
        runs = self.analysis.call_graph.runs_of(module.site(function))
        return bool(runs) and how(self._inside(home, run, how, depth + 1) for home, run in runs)

    # ------------------------------------------------------------------ in one function
    def _is_around(self, module: Module, node: ast.AST) -> bool:
        """Whether `node` stands inside of one, in its own function."""
        if any(self._opens(item) for item in _items_around(module, node)):
            return True
        line = getattr(node, "lineno", 0)
        return any(first < line <= last for first, last in self._by_hand(module.scope(node)))

    def _opens(self, item: ast.withitem) -> bool:
        """Whether entering a context makes parameters whole, or may do so."""
        value = self.analysis.value(item.context_expr)
        if any(isinstance(atom, Result) and atom.symbol == SUMMON for atom in value):
            return True
        return any(self._opens_where_it_yields(site) for site in self._run_by(item.context_expr))

    def _run_by(self, context: ast.expr) -> Iterator[Site]:
        """The functions that run when a context of the program's own is entered."""
        if isinstance(context, ast.Call):
            for atom in self.analysis.value(context.func):
                site = called_function(atom, self.analysis.method)
                if site is not None:
                    yield site
        for atom in self.analysis.value(context):
            if isinstance(atom, Instance):
                entering = self.analysis.method(atom.cls, "__enter__")
                if entering is not None:
                    yield entering

    def _opens_where_it_yields(self, site: Site) -> bool:
        """Whether a function opens one around its `yield`, or opens one and leaves it open."""
        info = self.analysis.functions.get(site)
        if info is None:
            return False
        nodes = [n for n in scope_nodes(info.node) if isinstance(n, ast.Yield | ast.Call)]
        return any(
            self._is_around(info.module, node)
            if isinstance(node, ast.Yield)
            else self._enters(node)
            for node in nodes
        )

    def _by_hand(self, scope: Scope) -> list[tuple[int, int]]:
        """The lines of a function between `stack.enter_context(...)` and where the stack ends."""
        known = self._opened.get(scope)
        if known is None:
            calls = [node for node in scope_nodes(scope) if isinstance(node, ast.Call)]
            known = self._opened[scope] = [
                (call.lineno, _end_of(scope, call, calls)) for call in calls if self._enters(call)
            ]
        return known

    @cached_property
    def _opened(self) -> dict[ast.AST, list[tuple[int, int]]]:
        return {}

    def _enters(self, call: ast.Call) -> bool:
        """Whether `call` opens one without a `with`."""
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in OPENING:
            return False
        context = call.args[0] if call.args else func.value
        value = self.analysis.value(context)
        return any(isinstance(atom, Result) and atom.symbol == SUMMON for atom in value)

    def _is_left_open(self, module: Module, node: ast.AST) -> bool:
        """Whether the context around `node` may be another, for a reason that no class gives."""
        for item in _items_around(module, node):
            atoms = self.analysis.value(item.context_expr)
            summons = [a for a in atoms if isinstance(a, Result) and a.symbol == SUMMON]
            if summons and len(summons) < len(atoms):
                context = item.context_expr
                test = context.test if isinstance(context, ast.IfExp) else None
                return test is None or not self._asks_for_class(test)
        return False

    def _asks_for_class(self, test: ast.expr) -> bool:
        return any(
            isinstance(node, ast.Call)
            and "builtins.isinstance" in symbols(self.analysis.value(node.func))
            for node in nodes_in(test)
        )


def _items_around(module: Module, node: ast.AST) -> Iterator[ast.withitem]:
    """The contexts that `node` stands in, in its own function."""
    child = node
    for around in module.ancestors(node):
        if isinstance(around, WITHS):
            for item in around.items:
                if item is child:
                    break
                yield item
        if isinstance(around, (*FUNCTIONS, ast.Lambda)):
            return
        child = around


def _end_of(scope: Scope, opening: ast.Call, calls: list[ast.Call]) -> int:
    """The line where what a call opens is closed; the last one of the function else."""
    assert isinstance(opening.func, ast.Attribute)
    held = path_of(opening.func.value)
    for node in scope_nodes(scope):
        if isinstance(node, WITHS):
            names = [i.optional_vars for i in node.items if i.optional_vars is not None]
            if held in map(path_of, names):
                return node.end_lineno or 0
    closed = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in CLOSING
        and path_of(call.func.value) == held
        and call.lineno > opening.lineno
    ]
    return min(
        closed, default=max((getattr(n, "lineno", 0) for n in scope_nodes(scope)), default=0)
    )
