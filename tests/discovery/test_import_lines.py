"""The imports of a file are read off its lines, whatever else stands in it."""

from __future__ import annotations

import subprocess
import sys

from fsdp_migrate.discovery.import_lines import Import, imports


def test_comments_between_names() -> None:
    text = b"from a import (  # one (\n    b,  # two )\n    c as d,\n)\n"
    assert list(imports(text)) == [Import(0, "a", (("b", "b"), ("c", "d")))]


def test_a_parenthesis_that_is_never_closed_takes_no_time() -> None:
    """In a docstring, with many comments behind it: in seconds, or this test never ends."""
    program = (
        "from fsdp_migrate.discovery.import_lines import imports\n"
        "print(len(list(imports(b'from a import (' + b'# x # y # z\\n' * 2000))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"  # `a`, and no names of it
