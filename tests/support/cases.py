"""The before/after cases in `fixtures/rules/*.md`: read, and written back with new output.

A second-level heading starts a case.  Below it stand, in this order: prose that says what the
case is about; the program, in fenced blocks `python` or `python FILE`; what becomes of it, in
blocks `python after` or `python after FILE` (a file without one must come out as it went in);
and the findings, in a block `text`.  A line `Options: name=value, ...` in the prose sets options,
and a line `Not yet: ...` says why the tool does not get there yet: the case must then fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.findings.options import Options
from support.programs import FOLDER, Run, migrate

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rules"
_FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_OPTIONS = re.compile(r"^Options: (.+)$", re.MULTILINE)
_NOT_YET = re.compile(r"^Not yet: (.+)$", re.MULTILINE)


@dataclass
class Case:
    """One program and what must become of it."""

    document: str
    title: str
    prose: str
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    findings: str = ""

    @property
    def name(self) -> str:
        """The case in a test's name."""
        return f"{self.document}/{re.sub(r'[^a-z0-9]+', '-', self.title.lower()).strip('-')}"

    @property
    def not_yet(self) -> str:
        """Why the case fails still, or nothing."""
        found = _NOT_YET.search(self.prose)
        return found[1] if found else ""

    @property
    def options(self) -> Options:
        """The options that the case runs with."""
        found = _OPTIONS.search(self.prose)
        pairs = [word.split("=") for word in found[1].split(", ")] if found else []
        return Options(**{name.strip().replace("-", "_"): value.strip() for name, value in pairs})  # type: ignore[arg-type]

    def run(self) -> Run:
        """Migrate the program."""
        return migrate(self.before, self.options)

    @property
    def expected(self) -> dict[str, str]:
        """All files as they must come out."""
        return {**self.before, **self.after}


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one document."""
    _, *parts = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
    for part in parts:
        title, _, rest = part.partition("\n")
        case = Case(path.stem, title.strip(), rest.partition("```")[0])
        for language, info, text in _FENCE.findall(rest):
            if language == "text":
                case.findings = text
                continue
            after = info.split(" ")[0] == "after"
            name = info.removeprefix("after").strip() or "train.py"
            (case.after if after else case.before)[name] = text
        yield case


def update(path: Path) -> None:
    """Write a document anew, with the output that its cases have now."""
    head = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[0]
    text = head.rstrip() + "\n"
    for case in read_cases(path):
        run = case.run()
        if not case.not_yet:
            case.after = {name: run.after[name] for name in run.changed}
            case.findings = describe(run.findings)
        text += f"\n## {case.title}\n{case.prose.rstrip()}\n"
        single = set(case.before) == {"train.py"}
        for name, content in case.before.items():
            text += _block("python" if single else f"python {name}", content)
        for name, content in case.after.items():
            text += _block("python after" if single else f"python after {name}", content)
        text += _block("text", case.findings)
    path.write_text(text)


def _block(info: str, content: str) -> str:
    return f"\n```{info}\n{content}```\n"


def describe(findings: tuple[Finding, ...]) -> str:
    """The findings of a run as a case has them; what a safe native fix says goes without."""
    lines = []
    for item in findings:
        place = f"{item.path.relative_to(FOLDER)}:{item.line}:{item.col}"
        safety = " unsafe" if item.safety is Safety.UNSAFE else ""
        line = f"{place} {item.code} {item.tier.value}{safety}"
        plain = item.tier is Tier.NATIVE and item.safety is Safety.SAFE
        lines.append(f"{line}\n" if plain else f"{line}: {item.message}\n")
    return "".join(lines)


def all_cases() -> list[Case]:
    """Every case of every document."""
    return [case for path in sorted(FIXTURES.glob("*.md")) for case in read_cases(path)]
