"""Whether units may hold units: by the classes of the program, and by torch's."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Cls
from fsdp_migrate.lowering.class_nesting import may_nest
from support.wraps import solved

TEXT = """\
class Tall(Block):
    def __init__(self):
        super().__init__()
        self.inner = Block()


class Low(nn.Module):
    pass


made = [Block(), Tall(), Low()]
"""


@pytest.mark.parametrize(
    ("names", "libraries", "nested"),
    [
        (("Block",), (), True),
        (("Tall",), (), False),
        (("Low",), (), False),
        (("Low", "Block"), (), True),
        ((), ("torch.nn.Linear",), False),
        ((), ("torch.nn.Sequential",), True),
        ((), ("torch.nn.Linear", "torch.nn.Conv2d"), True),
        (("Low",), ("torch.nn.Linear",), True),
    ],
)
def test_classes(names: tuple[str, ...], libraries: tuple[str, ...], nested: bool) -> None:
    program = solved(TEXT)
    sites = {a.site for name in names for a in program.value(name) if isinstance(a, Cls)}
    assert may_nest(program.solver, frozenset(sites), frozenset(libraries)) == nested


def test_a_layer_of_the_program_that_derives_from_torch() -> None:
    program = solved("class Adapted(nn.Linear):\n    pass\n")
    assert may_nest(program.solver, frozenset(), frozenset({"torch.nn.Linear"}))
