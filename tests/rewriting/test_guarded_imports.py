"""Which imports may fail, and what they ask for when nothing needs their names."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rewriting.guarded_imports import ASKED, is_guarded, question
from support.programs import Analysis

IMPORT = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP"


def asked(text: str) -> tuple[bool, bool]:
    """Whether the import in `text` is guarded, and whether somebody listens."""
    module = Analysis(text).module()
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.ImportFrom))
    assert question(module, node) in ([], [ASKED])
    return is_guarded(module, node), bool(question(module, node))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("try:\n    {}\nexcept ImportError:\n    FSDP = None\n", (True, True)),
        ("try:\n    {}\nexcept (ModuleNotFoundError, OSError):\n    FSDP = None\n", (True, True)),
        ("try:\n    {}\nexcept:\n    FSDP = None\n", (True, True)),
        ("try:\n    {}\n    HAS = 1\nexcept Exception as error:\n    pass\n", (True, True)),
        ("try:\n    if x:\n        {}\nexcept ImportError:\n    x = 0\n", (True, True)),
        ("try:\n    {}\nexcept ImportError:\n    pass\n", (True, False)),
        ("with suppress(ImportError):\n    {}\n    HAS = 1\n", (True, True)),
        ("try:\n    {}\nexcept ValueError:\n    FSDP = None\n", (False, False)),
        ("try:\n    {}\nfinally:\n    x = 1\n", (False, False)),
        ("try:\n    x = 1\nexcept ImportError:\n    {}\n", (False, False)),
        ("if x:\n    {}\nelse:\n    FSDP = None\n", (False, False)),
        ("{}\n", (False, False)),
    ],
)
def test_what_happens_where_an_import_fails(text: str, expected: tuple[bool, bool]) -> None:
    assert asked(text.format(IMPORT)) == expected


def test_other_libraries_are_not_asked_for() -> None:
    module = Analysis("try:\n    from x import FSDP\nexcept ImportError:\n    FSDP = 0\n").module()
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.ImportFrom))
    assert question(module, node) == []
