"""What statements and calls do beside giving a value."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.effects import Effects
from support.values import analyse

DEFINED = """
class Holder:
    def __init__(self, x):
        self.x = x
    def change(self):
        self.x = 1
    def look(self):
        return self.x
@dataclass
class Config:
    lr: float
COUNT = 0
def pure(x):
    return [x, x + 1]
def loud():
    global COUNT
    COUNT = 1
def says():
    print("a")
def deep():
    return says()
def twice(n):
    return twice(n - 1) if n else 0
holder = Holder(1)
model = Net()
"""


def effects_of(statement: str) -> tuple[Effects, ast.stmt]:
    analysis = analyse(f"{DEFINED}\n{statement}\n")
    return Effects(analysis.solver), analysis.module().tree.body[-1]


@pytest.mark.parametrize(
    ("statement", "quiet"),
    [
        ("x = 1", True),
        ("x = [len(y) for y in 'abc']", True),
        ("x = pure(1)", True),
        ("x = twice(3)", True),
        ("x = Holder(1)", True),
        ("x = Config(0.1)", True),
        ("x = holder.look()", True),
        ("print('a')", True),
        ("says()", True),
        ("x = torch.optim.SGD(model.parameters(), lr=0.1)", True),
        ("x = list(model.parameters())", True),
        ("x = []\nx.append(1)", True),
        ("holder.change()", False),
        ("loud()", False),
        ("x = open('file')", False),
        ("setattr(holder, 'x', 1)", False),
        ("torch.save(1, 'file')", False),
        ("x = nobody()", False),
        ("del model", False),
        ("x = (yield)", False),
    ],
)
def test_quiet(statement: str, quiet: bool) -> None:
    effects, node = effects_of(statement)
    assert effects.quiet(node) is quiet


@pytest.mark.parametrize(
    ("used", "quiet"),
    [("made.step()", True), ("made.update()", False), ("print(made)", False)],
)
def test_what_a_library_makes_is_quiet_if_it_steps(used: str, quiet: bool) -> None:
    """An optimizer only holds what it is given, whatever it is called; others may do more."""
    text = f"{DEFINED}\nimport adamlib\nmade = adamlib.sched(model)\n{used}\n"
    analysis = analyse(text)
    statement = analysis.module().tree.body[-2]
    assert Effects(analysis.solver).quiet(statement) is quiet


@pytest.mark.parametrize(
    ("statement", "prints"),
    [("x = pure(1)", False), ("print(1)", True), ("deep()", True), ("log.info('a')", True)],
)
def test_printing(statement: str, prints: bool) -> None:
    effects, node = effects_of(statement)
    assert effects.prints(node) is prints


def test_names_are_mentioned_in_functions_that_are_called_too() -> None:
    effects, node = effects_of("deep()")
    assert effects.mentions(node, {"print"})
    assert not effects.mentions(node, {"COUNT"})


def test_attributes_that_are_stored_somewhere() -> None:
    effects, _ = effects_of("holder.other = 1")
    assert effects.stored == {"x", "other"}


@pytest.mark.parametrize(
    "statement", ["setattr(holder, input(), 1)", "holder.__dict__", "put = setattr\nput(a, b, c)"]
)
def test_attributes_that_are_stored_by_a_computed_name(statement: str) -> None:
    effects, _ = effects_of(statement)
    assert "*" in effects.stored
