"""Who calls whom."""

from __future__ import annotations

import ast

import pytest

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


RUNS = {
    "a call": "f()",
    "a partial": "import functools\nfunctools.partial(f, 1)()",
    "a map": "list(map(f, [1]))",
    "a thread": "import threading\nthreading.Thread(target=f).start()",
    "a pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(f, 1)"
    ),
    "a call of an object": "class A:\n    def __call__(self): f()\nA()()",
    "a property": "class A:\n    @property\n    def p(self): return f()\nA().p",
    "a context": (
        "class A:\n    def __enter__(self): f()\n    def __exit__(self, *_): ...\nwith A(): ..."
    ),
    "a decorator": "def run(g):\n    f()\n    return g\n@run\ndef g(): ...",
    "a lambda": "(lambda: f())()",
}


@pytest.mark.parametrize("shape", RUNS)
def test_all_that_runs_a_function(shape: str) -> None:
    analysis = analyse(f"def f(*_): ...\n{RUNS[shape]}\n")
    graph, todo = analysis.solver.call_graph, ["f"]
    lines = set()
    sites = {info.node: site for site, info in analysis.solver.functions.items()}
    names = {info.name: site for site, info in analysis.solver.functions.items()}
    found = [names[name] for name in todo]
    while found:
        for module, run in graph.runs_of(found.pop()):
            function = module.function(run)
            if function is None:
                lines.add(run.lineno)
            else:
                found.append(sites[function])
    assert lines, "no statement of the module leads to it"
