"""Who calls whom."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.call_graph import called_function
from fsdp_migrate.analysis.values import Cls, Const, Func, Symbol
from fsdp_migrate.syntax.span import Site
from support.programs import Analysis
from support.values import analyse

SITE = Site("/project/train", 1, 0, 2, 0)
INIT = Site("/project/train", 2, 0, 2, 9)


def callers(analysis: Analysis, name: str) -> list[str]:
    site = next(s for s, info in analysis.solver.functions.items() if info.name == name)
    return [ast.unparse(call) for call in analysis.solver.call_graph.callers_of(site)]


def test_calls_of_functions_methods_and_constructors() -> None:
    analysis = analyse(
        """
        class A:
            def __init__(self, x): ...
            def f(self): ...
        def g(): ...
        A(1).f()
        g()
        h = g
        h()
        """
    )
    assert callers(analysis, "__init__") == ["A(1)"]
    assert callers(analysis, "f") == ["A(1).f()"]
    assert callers(analysis, "g") == ["g()", "h()"]


def test_a_function_that_nothing_calls() -> None:
    assert callers(analyse("def f(): ..."), "f") == []


def test_calls_of_other_modules() -> None:
    analysis = Analysis({"a.py": "from b import f\nf()\n", "b.py": "def f(): ...\n"})
    assert callers(analysis, "f") == ["f()"]
    (site,) = analysis.solver.functions
    (call,) = analysis.solver.call_graph.callers_of(site)
    assert analysis.solver.call_graph.module_of(call).path.name == "a.py"


def test_what_runs_when_an_object_is_called() -> None:
    def method(cls: Site, name: str) -> Site | None:
        return INIT if (cls, name) == (SITE, "__init__") else None

    assert called_function(Func(SITE), method) == SITE
    assert called_function(Cls(SITE), method) == INIT
    assert called_function(Symbol("torch.compile"), method) is None
    assert called_function(Const.of(1), method) is None
