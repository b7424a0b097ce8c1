"""`wrap(module)` inside of `enable_wrap(wrapper_cls=FSDP, ...)`: a constructor call in two pieces.

Which contexts can be open around a call of `wrap` is seen by the `with` statements around it, and
around all that runs the function that it is in.  Where it is one for certain, the call is one of
the class, with the context's arguments below its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from fsdp_migrate.analysis.call_graph import CallGraph
from fsdp_migrate.analysis.heap import ANY
from fsdp_migrate.analysis.record import Given
from fsdp_migrate.analysis.values import NOTHING, Symbol, Value
from fsdp_migrate.analysis.wraps import Argument, WrapFact
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

WRAP = f"{ROOT}.wrap.wrap"
ENABLE = f"{ROOT}.wrap.enable_wrap"
WRAPPER = "wrapper_cls"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, eq=False)
class WrapContexts:
    """The contexts of a program, and the calls inside."""

    value: Callable[[ast.AST], Value]
    call_graph: CallGraph
    calls: Mapping[Site, Given]

    def resolved(self, fact: WrapFact) -> WrapFact:
        """`fact` with its contexts, and as a call of the class where they are one."""
        if self.value(fact.node.func) != {Symbol(WRAP)}:
            return fact
        around = frozenset(self._around(fact.module, fact.node, set()))
        found = replace(fact, contexts=around)
        (context,) = around if len(around) == 1 else (None,)
        if context is None or not self._is_fsdp1(context):
            return found
        given = self._given(fact, context)
        return replace(found, direct=True, arguments=given, opaque=fact.opaque or ANY in given)

    def _around(
        self, module: Module, node: ast.AST, seen: set[ast.AST]
    ) -> Iterator[ast.Call | None]:
        """The contexts that can be open around a place; None for none at all."""
        inner = node
        for outer in module.ancestors(node):
            if isinstance(outer, ast.With) and inner in outer.body:
                opened = [i.context_expr for i in outer.items if self._enables(i.context_expr)]
                if opened:
                    assert isinstance(opened[0], ast.Call)
                    yield opened[0]
                    return
            if isinstance(outer, _SCOPES):
                yield from self._around_runs(module, outer, seen)
                return
            inner = outer
        yield None

    def _around_runs(
        self, module: Module, function: ast.AST, seen: set[ast.AST]
    ) -> Iterator[ast.Call | None]:
        """Those around all that runs a function; none is sure where nothing is seen to run it."""
        if function in seen:
            return
        seen.add(function)
        runs = self.call_graph.runs_of(module.site(function))
        if not runs:
            yield None
        for where, node in runs:
            yield from self._around(where, node, seen)

    def _enables(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.value(node.func) == {Symbol(ENABLE)}

    def _is_fsdp1(self, context: ast.Call) -> bool:
        """Whether a context has FSDP1's class for its wrapper."""
        _, given = self.calls.get(self.call_graph.module_of(context).site(context), ([], {}))
        return given.get(WRAPPER, NOTHING) == {Symbol(FSDP1)}

    def _given(self, fact: WrapFact, context: ast.Call) -> Mapping[str, Argument]:
        """The arguments of the context, those of the call above them."""
        home = self.call_graph.module_of(context)
        _, given = self.calls.get(home.site(context), ([], {}))
        nodes = {k.arg: k.value for k in context.keywords} if home is fact.module else {}
        own = {k.arg: k.value for k in fact.node.keywords}
        own |= {"module": fact.node.args[0]} if fact.node.args else {}
        found = {n: Argument(nodes.get(n), v) for n, v in given.items() if n != WRAPPER}
        made = {n: Argument(own.get(n), argument.value) for n, argument in fact.arguments.items()}
        return {"module": made.pop("module"), **found, **made} if "module" in made else made
