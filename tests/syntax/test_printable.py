"""What a terminal would obey is shown instead."""

from __future__ import annotations

import pytest

from fsdp_migrate.syntax.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.py: naïve 模型 🙂", "model.py: naïve 模型 🙂"),
        ("a\x1b[2Jb\x07", "a\\x1b[2Jb\\x07"),
        ("one\ntwo\rthree\t", "one\\ntwo\\rthree\\t"),
        ("\x9b31m", "\\x9b31m"),
        ("safe\u202eyp.evil", "safe\\u202eyp.evil"),
        ("\u2028", "\\u2028"),
        ("byte\udcff", "byte\\xff"),
        ("half\ud800", "half\\ud800"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected
