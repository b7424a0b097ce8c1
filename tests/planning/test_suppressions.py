"""Comments that ask to leave a file, a block or a statement alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fsdp_migrate.planning.suppressions import Suppressions, ignores_file
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.source import Source


def comments(text: str) -> Suppressions:
    return Suppressions(Module("train", Source(Path("train.py"), text), ast.parse(text)))


def left(text: str, code: str = "FSDP101") -> list[int]:
    """The lines of which nothing is said under a code."""
    found = comments(text)
    return [n for n in range(1, text.count("\n") + 2) if found.of(n, code)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# fsdp-migrate: ignore-file\nx = 1\n", True),
        ("x = 1\n    #fsdp-migrate: ignore-file  \n", True),
        ("x = 1  # fsdp-migrate: ignore-file\n", False),
        ('"""Say fsdp-migrate: ignore-file to leave a file alone."""\n', False),
        ("# fsdp-migrate: ignore\n", False),
    ],
)
def test_a_file_says_so_on_a_line_of_its_own(text: str, expected: bool) -> None:
    assert ignores_file(text) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = FSDP(m)  # fsdp-migrate: ignore", True),
        ("x = FSDP(m)  # why not  # fsdp-migrate:ignore", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101]", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[fsdp101]", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP201, FSDP101]", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP201]", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore[]", False),
        ("x = FSDP(m)  # ignore", False),
        ('x = FSDP("# fsdp-migrate: ignore")', False),
    ],
)
def test_a_line_says_so_for_all_codes_or_for_some(line: str, expected: bool) -> None:
    assert bool(left(line)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101] an old format, read by the loader", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101]: old format", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101]", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101] --", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP101]  # noqa", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP201] other", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore for some reason", False),
    ],
)
def test_a_line_with_a_reason_is_taken_over(line: str, expected: bool) -> None:
    assert any(each.takes_over("FSDP101") for each in comments(line).all) is expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nx = FSDP(\n    m,\n)  # fsdp-migrate: ignore\n", [2, 3, 4]),
        ("x = FSDP(  # fsdp-migrate: ignore\n    m,\n)\ny = 1\n", [1, 2, 3]),
        ("x = FSDP(\n    # fsdp-migrate: ignore\n    m,\n)\n", [1, 2, 3, 4]),
        ("x = FSDP(\n    m,  # fsdp-migrate: ignore[FSDP201]\n)\n", []),
        ("x = \\\n    FSDP(m)  # fsdp-migrate: ignore\n", [1, 2]),
        ("with f(\n    x\n):  # fsdp-migrate: ignore\n    y = 1\n", [1, 2, 3]),
        ("with f(x):\n    y = 1  # fsdp-migrate: ignore\n", [2]),
        ("@f(\n    1)\ndef g():  # fsdp-migrate: ignore\n    return 1\n", [1, 2, 3]),
        ("def g():\n    # fsdp-migrate: ignore\n    return 1\n", [2]),
        ("match x:  # fsdp-migrate: ignore\n    case 1:\n        y = 1\n", [1]),
        ("if x: y = 1  # fsdp-migrate: ignore\n", [1]),
    ],
)
def test_any_line_of_a_statement_will_do(text: str, lines: list[int]) -> None:
    assert left(text) == lines


def test_a_block_is_left_from_its_begin_to_its_end() -> None:
    text = (
        "a = 1\n# fsdp-migrate: ignore-begin[FSDP101] measured\nb = 1\n"
        "# fsdp-migrate: ignore-end\nc = 1\n"
    )
    assert left(text) == [2, 3, 4]
    assert left(text, "FSDP201") == []
    (block,) = comments(text).all
    assert block.is_closed
    assert block.takes_over("FSDP101")
    assert left(text.replace("ignore-end", "no end")) == [2, 3, 4, 5, 6]
    assert not comments(text.replace("ignore-end", "no end")).all[0].is_closed
    assert left("# fsdp-migrate: ignore-end\nx = 1\n") == []
