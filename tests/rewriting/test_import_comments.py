"""Comments of import statements that go with names."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.import_comments import comments_that_go
from fsdp_migrate.rewriting.import_statements import imported
from support.edits import module_of

LONG = """\
import os
# FSDP shards
# and more
from lib import (  # noqa: E402
    FSDP,  # FSDP wraps the model
    Other,  # Other is something else
    # FSDP and Other
    # unrelated
)  # FSDP
"""


def going(text: str, *gone: str) -> set[str]:
    """The comments that go with the names `gone` of the last import statement."""
    module = module_of(text)
    node = [n for n in module.tree.body if isinstance(n, ast.Import | ast.ImportFrom)][-1]
    left = [imported(node, alias) for alias in node.names if alias.name not in gone]
    return set(comments_that_go(module, node, left))


def test_nothing_goes_with_nothing() -> None:
    assert going(LONG) == set()


def test_what_speaks_of_the_name_alone_goes_with_it() -> None:
    assert going(LONG, "FSDP") == {"# FSDP wraps the model"}
    assert going(LONG, "Other") == {"# Other is something else"}


def test_all_names_gone() -> None:
    assert going(LONG, "FSDP", "Other") == {
        "# FSDP shards",
        "# noqa: E402",
        "# FSDP wraps the model",
        "# Other is something else",
        "# FSDP and Other",
        "# FSDP",
    }


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        ("from a import B  # B is big\n", "B", {"# B is big"}),
        ("from a import B  # big\n", "B", set()),
        ("from a import B as C  # C is big\n", "B", {"# C is big"}),
        ("from a import B, C  # B is big\n", "B", set()),  # beside C as well
        ("import os\nfrom a import B  # B, not os\n", "B", set()),  # of another name too
        ("from a import B  # noqa\n", "B", {"# noqa"}),
        ("from a import B, C  # noqa\n", "B", set()),
        ("from a import (\n    B,  # type: ignore\n    C,\n)\n", "B", {"# type: ignore"}),
        ("# B\n\nfrom a import B\n", "B", set()),  # not right above
        ("# noqa\nfrom a import B\n", "B", set()),  # about no line
    ],
)
def test_single_comments(text: str, gone: str, expected: set[str]) -> None:
    assert going(text, gone) == expected
