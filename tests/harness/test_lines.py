"""Which of the migrated lines a run executes."""

from __future__ import annotations

import json
import runpy
import sys
import threading
from pathlib import Path

import pytest

from fsdp_migrate.runtime.record.lines import Lines

TEXT = """\
import threading


@staticmethod
def used(
    first=1,
):
    value = [
        first,
        first,
    ]
    if value and False:
        value = None
    return value


def unused():
    return 1


class Thing:
    size = (
        1
    )

    def method(self):
        with open(
            __file__,
        ):
            pass


used.__func__()
Thing().method()
thread = threading.Thread(target=lambda: [
    1,
])
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    ("line", "reached"),
    [
        (1, True),
        (4, True),
        (6, True),
        (9, True),
        (10, True),
        (12, True),
        (13, False),
        (17, True),  # the function is defined
        (18, False),
        (23, True),
        (28, True),
        (29, True),
        (30, True),
        (36, True),
        (99, False),
    ],
)
def test_a_line_counts_as_its_statement(tmp_path: Path, line: int, reached: bool) -> None:
    script, watched = tmp_path / "train.py", tmp_path / "watched.json"
    script.write_text(TEXT)
    watched.write_text(json.dumps({str(script): {"here": line}, "/nowhere.py": {"there": 1}}))
    lines, before = Lines(watched), sys.gettrace()
    sys.settrace(None)
    try:
        lines.start(tracing=True)
        runpy.run_path(str(script))
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]
        if hasattr(sys, "monitoring"):
            sys.monitoring.free_tool_id(4)
    assert lines.reached == ({"here"} if reached else set())


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    before = sys.gettrace()
    Lines(None).start(tracing=True)
    assert sys.gettrace() is before
