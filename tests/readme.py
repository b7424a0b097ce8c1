"""The parts of the documents that the program itself can write.  Run this to refresh them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import CliRunner

from fsdp_migrate.cli.explain import coverage_table, table
from fsdp_migrate.cli.main import cli
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.rule import Example, Rule

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".ipynb": "json", ".sh": "sh"}


def said(*args: str) -> str:
    """What `fsdp-migrate` prints when it is called with `args` in the root of the project."""
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        result = CliRunner().invoke(cli, args, prog_name="fsdp-migrate", env={"COLUMNS": "80"})
    finally:
        os.chdir(before)
    return result.stdout.rstrip("\n")


def example() -> str:
    """The diff of the small example, the same in a working tree of git and out of one."""
    lines = said("fixtures/readme", "--diff").split("\n")
    return "\n".join(line for line in lines if not line.startswith("diff --git "))


# ---------------------------------------------------------------------- pages of the rules
def pages() -> str:
    """All that the rules say of themselves."""
    return "\n\n".join("\n\n".join(_page(rule)) for rule in load_rules())


def _page(rule: Rule) -> Iterator[str]:
    yield f'## {rule.code}: {rule.name} {{ id="{rule.code.lower()}" }}'
    yield _sentence(rule.summary)
    yield f"**Why.** {_plain(rule.why)}"
    yield f"**Safety of the fix.** {_plain(rule.fix_safety)}"
    if rule.left:
        yield f"**When it is left to you.** {_plain(rule.left)}"
    if rule.needs:
        yield "**What a safe fix rests on.**"
        yield "\n".join(f"- {fact}" for fact in rule.needs)
    if rule.by_hand:
        yield f"**Without the shim** (`--runtime never`): {_plain(rule.by_hand)}"
    for each in rule.examples:
        yield from _example(each)


def _example(shown: Example) -> Iterator[str]:
    for name, text in shown.beside:
        beside = "not among the given paths" if shown.is_python else "as it is"
        yield f"Beside it, `{name}`, {beside}:"
        yield _block(name, text)
    where = "" if shown.file == "train.py" else f" (`{shown.file}`)"
    yield f"Before{where}:" if shown.after is not None else f"Left as it is{where}:"
    yield _block(shown.file, shown.before)
    if shown.after is not None:
        yield "After:"
        yield _block(shown.file, shown.after)


def _block(name: str, text: str) -> str:
    return f"```{LANGUAGES.get(Path(name).suffix, 'text')}\n{text.rstrip()}\n```"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


# ---------------------------------------------------------------------- parts of documents
PARTS: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "example"): lambda: f"```diff\n{example()}\n```",
    ("docs/usage.md", "help"): lambda: f"```text\n{said('--help')}\n```",
    ("docs/rules.md", "rules"): lambda: table(load_rules()).rstrip("\n"),
    ("docs/rules.md", "pages"): pages,
    ("docs/fsdp1-names.md", "names"): lambda: coverage_table(load_rules()).rstrip("\n"),
}


def part(text: str, name: str) -> re.Match[str]:
    """The part of a document that is called `name`: between its two marks."""
    pattern = rf"(?<=<!-- begin: {name} -->\n).*?(?=<!-- end: {name} -->)"
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, f"there is no part {name!r}"
    return found


def main() -> str:
    """Bring all parts up to date; returns what was changed."""
    changed = []
    for (document, name), make in PARTS.items():
        path = ROOT / document
        old = path.read_text(encoding="utf-8")
        found = part(old, name)
        new = f"{old[: found.start()]}{make()}\n{old[found.end() :]}"
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(document)
    return ", ".join(dict.fromkeys(changed))


if __name__ == "__main__":
    changed = main()
    sys.exit(f"brought up to date: {changed}" if changed else 0)
