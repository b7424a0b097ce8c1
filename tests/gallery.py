"""The gallery in `docs/gallery`: what programs in the shape of public recipes become.

Run this to write the pages anew; `tests/test_gallery.py` compares them with what is there.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.registry import load_rules
from support.programs import Run, migrate, read_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "gallery"
PROGRAMS = tuple(
    sorted(
        (
            case.parent
            for kind in ("programs", "gallery")
            for case in ROOT.glob(f"fixtures/{kind}/*/case.toml")
        ),
        key=lambda folder: folder.name,
    )
)
HEAD = """\
# Gallery: whole programs, migrated

Programs of our own in the shape of public training recipes, each with its diff and the rule behind
every hunk. All of them are trained before and after by the tests, on CPU, and compared. These pages
are generated: `python tests/gallery.py`.

| program | what it has | lines |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Hunk:
    """A part of a diff, and the lines of the old file that it is about."""

    lines: tuple[str, ...]
    first: int
    last: int


def hunks(before: str, after: str) -> Iterator[Hunk]:
    """The parts of the difference between two texts."""
    old, new = before.splitlines(), after.splitlines()
    for group in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_grouped_opcodes(3):
        lines: list[str] = []
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += [f" {line}" for line in old[i1:i2]]
            else:
                lines += [f"-{line}" for line in old[i1:i2]]
                lines += [f"+{line}" for line in new[j1:j2]]
        yield Hunk(tuple(lines), group[0][1] + 1, group[-1][2])


def reasons(hunk: Hunk, findings: list[Finding]) -> Iterator[str]:
    """The rules behind a hunk, with what they say."""
    names = {rule.code: rule.name for rule in load_rules()}
    seen: set[tuple[str, str]] = set()
    for item in findings:
        if hunk.first <= item.line <= hunk.last and (item.code, item.message) not in seen:
            seen.add((item.code, item.message))
            kind = "" if item.tier is Tier.NATIVE else f" ({item.tier.value})"
            yield f"- **{item.code} {names[item.code]}**{kind}, line {item.line}: {item.message}"
    if not seen:
        yield "- names that the other hunks need, or no longer need"


def page(folder: Path, run: Run) -> str:
    """The page of a program."""
    case = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    where = folder.relative_to(ROOT).as_posix()
    text = [f"# {case['title']}", "", "    fsdp-migrate --diff " + where, ""]
    text += [f"Exercises: {'; '.join(case['exercises'])}.", ""]
    for name in run.changed:
        text += [f"## {name}", ""]
        for hunk in hunks(run.before[name], run.after[name]):
            text += [*reasons(hunk, run.of(name)), "", "```diff", *hunk.lines, "```", ""]
    return "\n".join(text).rstrip() + "\n"


def changed_lines(run: Run) -> str:
    """How many lines are added and removed."""
    lines = [
        line
        for name in run.changed
        for hunk in hunks(run.before[name], run.after[name])
        for line in hunk.lines
    ]
    return f"+{sum(line[0] == '+' for line in lines)} -{sum(line[0] == '-' for line in lines)}"


def pages() -> dict[str, str]:
    """All pages, by the name of their file."""
    index, found = HEAD, dict[str, str]()
    for folder in PROGRAMS:
        run = migrate(read_folder(folder))
        case = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
        found[f"{folder.name}.md"] = page(folder, run)
        index += f"| [{folder.name}]({folder.name}.md) | {case['title']} | {changed_lines(run)} |\n"
    return {"README.md": index, **found}


if __name__ == "__main__":
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
