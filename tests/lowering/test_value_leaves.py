"""The ends of a value's way back: literals and calls, or nobody knows."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.value_leaves import leaves
from support.wraps import solved

FUNCTION = "def made(kind):\n    {body}\n\n\n"
END = "model = FSDP(Block(), cpu_offload={value})\n"


def _leaves(text: str, value: str) -> list[str] | None:
    program = solved(text + END.format(value=value))
    (fact,) = program.solver.wraps.values()
    node = fact.arguments["cpu_offload"].node
    assert node is not None
    found = leaves(program.solver, fact.module, node)
    return sorted(ast.unparse(place.node) for place in found) if found is not None else None


ON, NONE = "CPUOffload(True)", "None"
METHOD = f"""\
class Maker:
    def __init__(self, flag):
        self.flag = flag

    def made(self):
        return {ON} if self.flag else None


"""


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("", ON, [ON]),
        ("", f"{ON} if os.sep else None", [ON, NONE]),
        (f"x = None\nif os.sep:\n    x = {ON}\n", "x", [ON, NONE]),
        (f"x = None\ny = x\nx = {ON}\n", "y", [ON, NONE]),
        (FUNCTION.format(body=f"return {ON}"), "made(1)", [ON]),
        (FUNCTION.format(body=f"return {ON} if kind else None"), "made(1)", [ON, NONE]),
        (FUNCTION.format(body=f"if kind:\n        return {ON}\n    return None"), "made(1)",
         [ON, NONE]),
        (FUNCTION.format(body=f"match kind:\n        case 1:\n            return {ON}\n        "
                              "case _:\n            raise ValueError"), "made(1)", [ON]),
        (f"made = lambda: {ON}\n", "made()", [ON]),
        (METHOD, "Maker(None).made()", [ON, NONE]),
        (f"{METHOD}maker = Maker(1)\n", "maker.made()", [ON, NONE]),
    ],
)  # fmt: skip
def test_all_ends_are_found(text: str, value: str, expected: list[str]) -> None:
    assert _leaves(text, value) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (FUNCTION.format(body=f"if kind:\n        return {ON}"), "made(1)"),
        (FUNCTION.format(body=f"if kind:\n        return\n    return {ON}"), "made(1)"),
        (FUNCTION.format(body=f"return {ON}").replace("def", "@functools.cache\ndef"), "made(1)"),
        (f"x, y = None, {ON}\n", "y"),
        (f"class C:\n    x = {ON}\nC.x = None\n", "C.x"),
        (f"for x in [None, {ON}]:\n    pass\n", "x"),
        (f"x = [None, {ON}]\n", "x[0]"),
        (f"def set():\n    global x\n    x = None\n\n\nx = {ON}\nset()\n", "x"),
    ],
)
def test_what_is_not_to_be_seen(text: str, value: str) -> None:
    assert _leaves(text, value) is None
