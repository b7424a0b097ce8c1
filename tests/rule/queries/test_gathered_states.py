"""Sets of forward passes, a bit for each."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.rule.queries.gathered_states import CLEAN, Gathered, Passes, State
from fsdp_migrate.syntax.span import Site

ACTOR = Wrapped(Site("train", 1, 0, 1, 9))
CRITIC = Wrapped(Site("train", 2, 0, 2, 9))


def forward(line: int) -> ast.expr:
    """A call on a line of its own."""
    return ast.parse("\n" * (line - 1) + "model(x)", mode="eval").body


FIRST, SECOND = forward(3), forward(4)
EVALUATED = Gathered(ACTOR, FIRST, FIRST, graded=False)
TRAINED = Gathered(ACTOR, SECOND, SECOND, graded=True)
OTHER = Gathered(CRITIC, SECOND, SECOND, graded=False)


def test_states_are_sets() -> None:
    passes = Passes()
    one, both = passes.of([EVALUATED]), passes.of([EVALUATED, TRAINED])
    assert len(both) == 2
    assert one <= both
    assert not both <= one
    assert both - one == passes.of([TRAINED])
    assert both & one == one
    assert one | passes.of([TRAINED]) == both == CLEAN.union(one, both)
    assert not one - both
    assert {both: "known"}[State(both.bits)] == "known"
    assert list(passes.within(both)) == [EVALUATED, TRAINED]


def test_what_forward_passes_have_in_common() -> None:
    passes = Passes()
    every = passes.of([EVALUATED, TRAINED, OTHER])
    assert every & passes.of_models([ACTOR]) == passes.of([EVALUATED, TRAINED])
    assert every & passes.of_forward(SECOND) == passes.of([TRAINED, OTHER])
    assert every & passes.graded == passes.of([TRAINED])
    assert passes.of_models([Wrapped(None)]) == CLEAN


def test_the_same_forward_passes_with_another_flag() -> None:
    passes = Passes()
    every = passes.of([EVALUATED, TRAINED])
    graded = list(passes.within(passes.with_gradients(every)))
    assert graded == [TRAINED, Gathered(ACTOR, FIRST, FIRST, graded=True)]
    earlier = passes.as_earlier(every)
    assert all(item.is_earlier for item in passes.within(earlier))
    assert passes.as_earlier(earlier) == earlier == passes.earlier
    assert passes.as_untrained(every) == passes.untrained


def test_the_last_forward_pass_of_each_model() -> None:
    passes = Passes()
    found = passes.last_of_each_model(passes.of([TRAINED, EVALUATED, OTHER]))
    assert found == {ACTOR: TRAINED, CRITIC: OTHER}
