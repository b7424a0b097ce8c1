"""What nothing calls runs last, and in an order that doesn't take long to find."""

from __future__ import annotations

from fsdp_migrate.analysis.program import Program
from fsdp_migrate.analysis.unreached import Unreached
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.project import Project
from fsdp_migrate.syntax.span import Site
from support.programs import dedent, source


def _unreached(text: str) -> tuple[Unreached, dict[Site, str]]:
    project = Project.of([parse(source("train.py", dedent(text)), "/project/train")])
    functions = Program.of(project).functions
    return Unreached(functions), {site: info.name for site, info in functions.items()}


def _order(text: str) -> list[list[str]]:
    """The names of what runs, round by round."""
    unreached, names = _unreached(text)
    rounds: list[list[str]] = []
    while found := unreached.next():
        rounds.append([names[site] for site in found])
        for site in found:
            unreached.reach(site)
    return rounds


def test_what_is_mentioned_waits_for_those_that_mention_it() -> None:
    text = "def c(): ...\ndef b():\n    c()\ndef a():\n    b()\n    c()\ndef other(): ..."
    assert _order(text) == [["a", "other"], ["b"], ["c"]]


def test_constructors_come_first() -> None:
    text = """
        class A:
            def f(self): ...
            def __init__(self):
                self.f()
        def g(): ...
        """
    assert _order(text) == [["__init__"], ["f", "g"]]


def test_a_circle_is_broken_at_its_first_function() -> None:
    assert _order("def a():\n    b()\ndef b():\n    a()") == [["a"], ["b"]]


def test_lambdas_run_where_they_are_made() -> None:
    assert _order("f = lambda: 1") == []
