"""Comments that ask to leave a file or a line alone."""

from __future__ import annotations

import pytest

from fsdp_migrate.planning.suppressions import ignores_file, ignores_line, takes_over


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
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP201, FSDP101]", True),
        ("x = FSDP(m)  # fsdp-migrate: ignore[FSDP201]", False),
        ("x = FSDP(m)  # fsdp-migrate: ignore[]", False),
        ("x = FSDP(m)  # ignore", False),
    ],
)
def test_a_line_says_so_for_all_codes_or_for_some(line: str, expected: bool) -> None:
    assert ignores_line(line, "FSDP101") is expected


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
    assert takes_over(line, "FSDP101") is expected
