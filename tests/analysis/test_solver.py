"""The fixpoint: everything runs, runs again when it has to, and comes to rest."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.heap import Task
from fsdp_migrate.analysis.solver import MAX_DEPTH, Solver
from fsdp_migrate.analysis.values import Cls, Const, Wrapped
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from support.programs import Analysis, dedent, source
from support.values import analyse, reasons, wraps


def solver(text: str) -> tuple[Solver, list[Task]]:
    """A solver whose tasks do nothing but being noted."""
    ran: list[Task] = []
    project = Project.of([parse(source("train.py", dedent(text)), "/project/train")])
    return Solver(project, lambda _, task: ran.append(task)), ran


def test_modules_run_first_and_then_what_nothing_calls() -> None:
    solved, ran = solver("def outer():\n    inner()\ndef inner(): ...")
    solved.solve()
    names = [solved.program.functions[task.site].name if task.site else task.module for task in ran]
    assert names == ["/project/train", "outer", "inner"]


def test_constructors_run_before_other_methods() -> None:
    solved, ran = solver("class A:\n    def f(self): ...\n    def __init__(self): ...")
    solved.solve()
    names = [solved.program.functions[task.site].name for task in ran if task.site]
    assert names == ["__init__", "f"]


def test_a_task_is_queued_once() -> None:
    solved, ran = solver("")
    solved.enqueue(Task("/project/train"))
    solved.enqueue(Task("/project/train"))
    solved.solve()
    assert len(ran) == 1


def test_a_task_runs_again_for_other_open_modes() -> None:
    solved, ran = solver("def f(): ...")
    (site,) = solved.program.functions
    task = Task("/project/train", site)
    solved.enter(task, frozenset({None}))
    solved.enter(task, frozenset({None}))
    assert ran == [task]
    solved.enter(task, frozenset({site}))
    solved.solve()
    assert ran.count(task) == 2
    assert solved.modes_of(task) == {None, site}


def test_a_new_base_wakes_who_asked_for_the_classes() -> None:
    solved, ran = solver("class A: ...")
    (cls,) = solved.program.classes
    solved.solve()
    solved.heap.reader = Task("/project/train")
    solved.classes.lineage(cls)
    solved.heap.reader = None
    solved.derive(cls, frozenset({Const.of(1)}))
    solved.solve()
    assert ran.count(Task("/project/train")) == 2


def test_a_new_base_wakes_nobody_who_asked_for_another_class() -> None:
    solved, ran = solver("class A: ...\nclass B: ...\nclass C: ...")
    one, two, three = solved.program.classes
    solved.solve()
    solved.heap.reader = Task("/project/train")
    solved.classes.lineage(one)
    solved.heap.reader = None
    solved.derive(two, frozenset({Cls(three)}))
    solved.solve()
    assert ran.count(Task("/project/train")) == 1


def test_a_new_base_wakes_who_asked_for_what_derives_from_it() -> None:
    solved, ran = solver("class A: ...\nclass B: ...")
    one, two = solved.program.classes
    solved.solve()
    solved.heap.reader = Task("/project/train")
    solved.classes.descendants(one)
    solved.heap.reader = None
    solved.derive(two, frozenset({Cls(one)}))
    solved.solve()
    assert ran.count(Task("/project/train")) == 2
    assert solved.classes.descendants(one) == [two]


def test_a_module_runs_when_something_is_read_from_it() -> None:
    analysis = Analysis({"a.py": "from z import x\nprobe = x\nprobe\n", "z.py": "x = 1\n"})
    assert analysis.value("probe", "a.py") == {Const.of(1)}


def test_what_nothing_calls_is_given_reasons() -> None:
    analysis = analyse("def f(a, *rest, **named):\n    a\n    rest[0]\n    named['x']")
    assert "nothing here passes" in reasons(analysis.value("a"))[0]
    for text in ("rest[0]", "named['x']"):
        assert "from outside" in reasons(analysis.value(text))[0]


def test_calls_deeper_than_are_followed_at_once() -> None:
    lines = ["def f0():\n    return FSDP(Net())"]
    lines += [f"def f{i}():\n    return f{i - 1}()" for i in range(1, MAX_DEPTH + 10)]
    analysis = analyse("\n".join([*lines, f"probe = f{MAX_DEPTH + 9}()\nprobe"]))
    assert {type(atom) for atom in analysis.value("probe")} == {Wrapped}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "class A(A): ...",
        "class A(B): ...\nclass B(A): ...\nA().x",
        "f = lambda: f()\nf()",
        "def f(): return f\nf()()()",
        "x = x.y = x[0] = [x]",
        "x = []\nx.append(x)\nfor y in x: y.append(x)",
        "d = {}\nd['d'] = d\nd['d']['d']",
        "def f(*args, **kwargs): return f(*args, **kwargs)\nf()",
        "[a for a in [b for b in [c for c in x]]]",
        "def f():\n    global g\n    def g(): return f\nf()",
        "import train\ntrain.x = train",
        "from train import *\nx",
        "def f(a, /, b, *, c): ...\nf(1, 2, c=3)",
        "async def f():\n    async with a as b, c:\n        async for x in b: yield await x",
        "match x:\n    case {'a': [1, *r], **k} if k: r\n    case A(b=c) | B(c): c",
        "try:\n    pass\nfinally:\n    del x\n",
        "while 1:\n    for x in y:\n        if x: break\n        continue\n    else: pass\n",
        "x: int\ny: 'list[' = 3\nprint(f'{x!r:>{y}}')",
        "@f\n@g.h(1)\nclass A(metaclass=M, **k):\n    x = y = 1\n    class B: x = 2\n",
        "lambda x=1, *a, y, **k: (yield)",
    ],
)
def test_the_analysis_settles(text: str) -> None:
    Analysis(text)


def test_the_analysis_settles_on_many_values() -> None:
    lines = [f"    if x == {i}:\n        return FSDP(Net(), device_id={i})" for i in range(80)]
    analysis = analyse("def build(x):\n" + "\n".join(lines) + "\nprobe = build(1)\nprobe\n")
    assert len(analysis.solver.wraps) == 80
    assert wraps(analysis)
