"""The parts of the README that the program itself can write.  Run this to bring them up to date."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from fsdp_migrate.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def said(*args: str) -> str:
    """What `fsdp-migrate` prints when it is called with `args` in the root of the project."""
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        result = CliRunner().invoke(cli, args, prog_name="fsdp-migrate", env={"COLUMNS": "80"})
    finally:
        os.chdir(before)
    return result.stdout.rstrip("\n")


PARTS: dict[str, Callable[[], str]] = {
    "example": lambda: f"```diff\n{example()}\n```",
    "help": lambda: f"```text\n{said('--help')}\n```",
    "rules": lambda: said("rules", "--output-format", "markdown"),
}


def example() -> str:
    """The diff of the small example, the same in a working tree of git and out of one."""
    lines = said("fixtures/readme", "--diff").split("\n")
    return "\n".join(line for line in lines if not line.startswith("diff --git "))


def part(text: str, name: str) -> re.Match[str]:
    """The part of the README that is called `name`: between its two marks."""
    pattern = rf"(?<=<!-- begin: {name} -->\n).*?(?=<!-- end: {name} -->)"
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, f"the README has no part {name!r}"
    return found


def refreshed(text: str) -> str:
    """The README with all its parts up to date."""
    for name, make in PARTS.items():
        found = part(text, name)
        text = f"{text[: found.start()]}{make()}\n{text[found.end() :]}"
    return text


if __name__ == "__main__":
    old = README.read_text(encoding="utf-8")
    new = refreshed(old)
    README.write_text(new, encoding="utf-8")
    sys.exit(0 if new == old else "README.md was brought up to date")
