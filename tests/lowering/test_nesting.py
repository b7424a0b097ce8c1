"""Which wraps make units inside the models of others."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.nesting import Nesting, Role
from support.wraps import solved

INSIDE = """\
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = FSDP(Block())


outer = FSDP(Outer())
"""
ALONE = "one = FSDP(Block())\nother = FSDP(Block())\n"
LISTED = "net = nn.Sequential(FSDP(Block()), Block())\nouter = FSDP(net)\n"
RETURNED = """\
def shard():
    return FSDP(Block())


outer = FSDP(nn.Sequential(shard()))
"""
PUT_BACK = """\
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Block()


class Agent:
    def __init__(self):
        self.net = Outer()
        self.net.inner = FSDP(self.net.inner)
        self.net = FSDP(self.net)


agent = Agent()
"""
IN_A_VARIABLE = PUT_BACK.replace("self.net", "net")
GIVEN = "def shard(net):\n    net.head = FSDP(net.head)\n    return FSDP(net)\n"


def roles(text: str) -> list[tuple[Role, bool]]:
    """The role of each wrap, and whether it may hold units, in the order of the source."""
    program = solved(text)
    nesting = Nesting(program.solver)
    facts = [fact for _, fact in sorted(program.solver.wraps.items())]
    return [(nesting.role(fact), nesting.has_inner(fact)) for fact in facts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (INSIDE, [(Role.INNER, False), (Role.ROOT, True)]),
        (ALONE, [(Role.ROOT, False), (Role.ROOT, False)]),
        (LISTED, [(Role.INNER, False), (Role.ROOT, True)]),
        (RETURNED, [(Role.EITHER, False), (Role.ROOT, True)]),
        (PUT_BACK, [(Role.INNER, False), (Role.ROOT, True)]),
        (IN_A_VARIABLE, [(Role.INNER, False), (Role.ROOT, True)]),
        (GIVEN, [(Role.EITHER, False), (Role.ROOT, True)]),
    ],
    ids=["attribute", "apart", "argument", "returned", "put back", "in a variable", "unknown"],
)
def test_roles(text: str, expected: list[tuple[Role, bool]]) -> None:
    assert roles(text) == expected


def test_what_is_below_a_model() -> None:
    program = solved(INSIDE)
    nesting = Nesting(program.solver)
    inner, outer = (fact for _, fact in sorted(program.solver.wraps.items()))
    assert inner.inner <= nesting.reach(outer)
    assert not nesting.reach(inner) & nesting.reach(outer) - nesting.reach(inner)
