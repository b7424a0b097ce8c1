"""`pytest tests/rules --update-fixtures` writes what comes out now into fixtures/rules."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-fixtures",
        action="store_true",
        help="write the present output into fixtures/rules; read the diff before you commit it",
    )
