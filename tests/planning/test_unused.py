"""What a program doesn't use, by name."""

from __future__ import annotations

import pytest

from fsdp_migrate.planning.unused import Unused
from support.programs import Analysis, dedent


def unused(text: str, line: int = 1) -> bool:
    """Whether what is on a line of a program is part of an unused definition."""
    module = Analysis(dedent(text)).module()
    return Unused([module]).around(module, line) is not None


DEFINED = "def helper(x):\n    return x\n"


@pytest.mark.parametrize(
    "use",
    ["helper(1)\n", "x = [helper]\n", "import lib\nlib.helper(1)\n", "x = 'helper'\n",
     "x = 'train:helper'\n", "from lib import helper as other\n"],
)  # fmt: skip
def test_names_and_strings_are_uses(use: str) -> None:
    assert unused(DEFINED)
    assert not unused(DEFINED + use)


def test_imports_and_docstrings_are_none() -> None:
    assert unused(DEFINED + "from lib import helper\n")
    assert unused('def helper(x):\n    """helper"""\n')
    assert unused("def helper(x):\n    return helper(x)\n")


def test_what_only_unused_code_uses_is_unused() -> None:
    assert unused(DEFINED + "def other():\n    helper(1)\n")
    assert not unused(DEFINED + "def other():\n    helper(1)\nother()\n")


@pytest.mark.parametrize(
    ("decorator", "expected"),
    [("@torch.no_grad()", True), ("@contextmanager", True), ("@app.command()", False),
     ("@register", False)],
)  # fmt: skip
def test_decorators_may_register(decorator: str, expected: bool) -> None:
    assert unused(f"{decorator}\n{DEFINED}") is expected


def test_entry_points_and_tests_are_used() -> None:
    assert not unused("def main():\n    pass\n")
    assert not unused("def test_it():\n    pass\n")


def test_methods_that_a_library_calls_are_used() -> None:
    made = "Net()\n"
    net = "class Net({}):\n    def {}(self):\n        pass\n"
    assert not unused(net.format("Callback", "on_end") + made, 2)
    assert not unused(net.format("nn.Module", "forward") + made, 2)
    assert not unused(net.format("", "__len__") + made, 2)
    assert unused(net.format("nn.Module", "peek") + made, 2)
    assert unused(net.format("Callback", "on_end"), 2)


def test_decorators_and_defaults_run_where_a_function_is_made() -> None:
    assert not unused(DEFINED + "def other(x=helper(1)):\n    pass\n")
    assert not unused(DEFINED + "class Net:\n    x = helper(1)\n")
