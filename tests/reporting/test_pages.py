"""The report of a migration, for a review."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.reporting.html_page import to_html
from fsdp_migrate.reporting.markdown_page import to_markdown
from fsdp_migrate.reporting.pages import Report, report_of
from support.command import NEW, OLD, Engine, command

A, B = Path("a.py"), Path("b.py")
NATIVE = Finding(A, 2, 1, "FSDP101", "`x` becomes <y>", Tier.NATIVE, Safety.UNSAFE)
MANUAL = Finding(B, 1, 1, "FSDP406", "write *that* | do_it", Tier.MANUAL)
HELD = replace(MANUAL, code="FSDP101", message="waits", held_by=MANUAL.place)
OLD_LINES = ["import a", "x = 1", *(f"line{n}" for n in range(20)), "z = 1"]
NEW_TEXT = "\n".join(["import a", "y = 1", *OLD_LINES[2:-1], "```", "z = 2"])
VOID = {"meta", "link", "br"}


def report(*findings: Finding) -> Report:
    lines = {A: OLD_LINES, B: ["handles = model._handles"]}
    return report_of("net", findings, {A: NEW_TEXT}, lines.get)


def test_hunks_have_the_findings_about_their_lines() -> None:
    found = report(NATIVE, replace(NATIVE, line=12, code="FSDP502"), MANUAL)
    first, second = found.files
    assert [(h.heading, [i.code for i in h.findings]) for h in first.hunks] == [
        ("lines 1 to 5", ["FSDP101"]),
        ("lines 20 to 23", []),
    ]
    assert [item.code for item in first.others] == ["FSDP502"]
    assert first.hunks[0].lines[:3] == ((" ", "import a"), ("-", "x = 1"), ("+", "y = 1"))
    assert (second.hunks, second.others) == ((), (MANUAL,))


def test_what_holds_most_back_comes_first() -> None:
    alone = replace(MANUAL, path=A, line=1)
    found = report(alone, MANUAL, HELD)
    assert [(task.finding, task.waiting) for task in found.tasks] == [
        (MANUAL, (HELD,)),
        (alone, ()),
    ]
    assert dict(found.counts) == {
        "files that change": 1, "native": 0, "shim": 0, "manual": 3, "note": 0, "unsafe": 0,
    }  # fmt: skip


def test_markdown() -> None:
    text = to_markdown(report(NATIVE, MANUAL, HELD))
    assert text.startswith("# net\n\n| files that change | native |")
    assert "- [ ] b.py:1: **FSDP406** (manual) write \\*that\\* \\| do_it\n" in text
    assert "  - waits for it: b.py:1: **FSDP101** (manual) waits\n" in text
    assert "- line 2: **FSDP101** (native, **unsafe**) `x` becomes \\<y\\>\n" in text
    assert "```diff\n@@ lines 1 to 5 @@\n import a\n-x = 1\n+y = 1\n" in text
    assert "````diff\n@@ lines 20 to 23 @@\n" in text  # a fence that the lines don't close
    assert "Nothing changes here." in text


def test_nothing_of_the_program_is_obeyed() -> None:
    odd = replace(
        MANUAL, path=Path("<b>\x1b.py"), message="a `b` <script>alert(1)</script> \x1b[2J"
    )
    for text in (to_html(report(odd)), to_markdown(report(odd))):
        assert "\x1b" not in text
        assert "<script>" not in text
        assert "<b>\\x1b" not in text


class Parser(HTMLParser):
    """Sees that what is opened is closed, and notes where links lead and what they are for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] if tag not in VOID else []
        values = dict(attrs)
        assert not {"src", "onclick", "style"} & values.keys()
        self.links |= {str(values["href"])} if "href" in values else set()
        self.names |= {f"#{values['id']}"} if "id" in values else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_whole_and_needs_nothing_else() -> None:
    parser = Parser()
    parser.feed(to_html(report(NATIVE, MANUAL, HELD)))
    assert parser.open == []
    assert parser.links == parser.names == {"#file0", "#file1"}
    for said in ("Left to do", "write *that* | do_it", "1 wait", "-x = 1", "+y = 1", "unsafe"):
        assert said in parser.text


@pytest.mark.parametrize(("name", "start"), [("r.html", "<!doctype html>"), ("r.md", "# ")])
@pytest.mark.parametrize("write", [True, False])
def test_the_command_writes_it(
    name: str, start: str, write: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsdp_migrate.engine.migrate", Engine())
    monkeypatch.chdir(tmp_path)
    Path("net").mkdir()
    Path("net/train.py").write_text(OLD)
    ran = command("--report", name, *(["--write"] if write else []), "net/.")
    assert ran.code == (0 if write else 1)
    text = Path(name).read_text()
    assert text.startswith(start)
    assert "net: from FSDP1 to FSDP2" in text
    assert f"-{OLD.strip()}" in text
    assert f"+{NEW.strip()}" in text


def test_a_page_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "has to end in .html or .md" in command("--report", "x.pdf").err
    ran = command("--report", "no/x.md")
    assert ran.code == 2
    assert "no/x.md: cannot write: No such file or directory" in ran.err
