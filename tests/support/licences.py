"""What safe fixes rest on: `fixtures/licences/*.md`, a document for each rule.

A second-level heading is a fact, word for word as in the rule's `needs`.  Below it stand a program
that has the fact, in a fenced block `python` (or `python FILE`), and one that lacks it, in a block
`python without` (or `python without FILE`; files that are only in the first are in both).  A line
`Not yet: ...` says why the tool calls a fix safe all the same: the test must then fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Safety
from support.programs import migrate

LICENCES = Path(__file__).parents[2] / "fixtures" / "licences"
_NOT_YET = re.compile(r"^Not yet: (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```python(?: ([^\n]*))?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass
class Licence:
    """A fact that a rule needs, and programs with and without it."""

    rule: str
    fact: str
    having: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    not_yet: str = ""


def read_licences() -> list[Licence]:
    """Those of all documents."""
    return [one for path in sorted(LICENCES.glob("*.md")) for one in _read(path)]


def _read(path: Path) -> Iterator[Licence]:
    _, *parts = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
    for part in parts:
        title, _, rest = part.partition("\n")
        later = _NOT_YET.search(rest)
        licence = Licence(path.stem, title.strip(), not_yet=later[1] if later else "")
        for info, text in _FENCE.findall(rest):
            without = info.split(" ")[0] == "without"
            name = info.removeprefix("without").strip() or "train.py"
            (licence.lacking if without else licence.having)[name] = text
        licence.lacking = {**licence.having, **licence.lacking}
        yield licence


def safe_fixes(files: dict[str, str], code: str) -> list[Finding]:
    """The fixes of the rule `code` that a migration of `files` calls safe."""
    run = migrate(files)
    return [
        item
        for item in run.findings
        if item.code == code and item.fix is not None and item.fix.safety is Safety.SAFE
    ]
