"""The way outwards to a place, and what things are called on it."""

from __future__ import annotations

import ast

from fsdp_migrate.lowering.steps import Step, named_outside, steps_outwards
from support.programs import Analysis


def steps(text: str, place: str, path: str) -> list[Step]:
    """The steps from the call of `place` outwards."""
    program = Analysis(text)
    (node,) = program.nodes(place)
    calls = program.solver.call_graph
    return list(steps_outwards(calls, program.module(), node, frozenset({path})))


def seen(found: list[Step]) -> list[tuple[int, list[str]]]:
    return [(step.statement.lineno, sorted(step.paths)) for step in found]


def test_each_call_is_a_step_with_its_own_name() -> None:
    found = steps(
        """
        def inner(module):
            wrap(module)

        def outer(net, flag):
            inner(module=net.body)

        model = make()
        outer(model, True)
        outer(other, False)
        """,
        "wrap(module)",
        "module",
    )
    assert seen(found) == [
        (2, ["module"]),
        (5, ["net.body"]),
        (8, ["model.body"]),
        (9, ["other.body"]),
    ]


def test_methods_are_called_on_an_object_whatever_it_is_called() -> None:
    found = steps(
        """
        class Job:
            def __init__(this, net):
                this.net = net
                this.shard()

            def shard(this):
                wrap(this.net)

        job = Job(model)
        """,
        "wrap(this.net)",
        "this.net",
    )
    assert seen(found) == [(7, ["this.net"]), (4, ["this.net"]), (9, ["job.net", "model"])]


def test_a_static_method_has_no_object() -> None:
    found = steps(
        """
        class Job:
            @staticmethod
            def shard(self):
                wrap(self)

        Job.shard(model)
        """,
        "wrap(self)",
        "self",
    )
    assert seen(found) == [(4, ["self"]), (6, ["model"])]


def test_what_is_not_passed_by_a_name_is_lost() -> None:
    found = steps(
        """
        def inner(module, *rest):
            wrap(module)

        inner(*modules)
        inner(make())
        """,
        "wrap(module)",
        "module",
    )
    assert seen(found)[1:] == [(4, []), (5, [])]


def test_a_function_that_calls_itself_ends() -> None:
    found = steps(
        """
        def inner(module):
            wrap(module)
            inner(module)

        inner(model)
        """,
        "wrap(module)",
        "module",
    )
    assert sorted(seen(found)) == [(2, ["module"]), (3, ["module"]), (5, ["model"])]


def test_a_name_is_followed_outwards() -> None:
    found = steps(
        """
        def inner(module, optimizer):
            wrap(module)

        inner(model, state.optimizer)
        """,
        "wrap(module)",
        "module",
    )
    inner, outer = found
    assert [step.statement.lineno for step in outer.inwards()] == [4, 2]
    assert named_outside(inner, "optimizer.groups", outer) == "state.optimizer.groups"
    assert named_outside(inner, "other", outer) is None
    assert named_outside(outer, "model", outer) == "model"
    assert named_outside(outer, "model", inner) is None
    assert isinstance(inner.scope, ast.FunctionDef)


def test_what_an_object_was_made_of_is_known_by_its_name_there() -> None:
    found = steps(
        """
        class Job:
            def __init__(self, net, flag=False):
                self.flag, self.net = flag, net.cuda()

            def shard(self):
                wrap(self.net)

        def main(model):
            job = Job(model, flag=True)
            other = Job(thing)
            job.shard()
        """,
        "wrap(self.net)",
        "self.net",
    )
    assert seen(found) == [(6, ["self.net"]), (11, ["job.net", "model"])]
