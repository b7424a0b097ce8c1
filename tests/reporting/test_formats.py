"""Findings for programs to read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier
from fsdp_migrate.reporting.formats import to_github, to_json, to_sarif
from fsdp_migrate.rule.rule import Rule, no_uses
from fsdp_migrate.syntax.source import SourceError

FINDINGS = [
    Finding(Path("a b.py"), 3, 5, "X1", "what is: 100%\nsure", Tier.NATIVE, Safety.UNSAFE),
    Finding(Path("c,d.py"), 1, 1, "X2", "look", Tier.MANUAL),
    Finding(Path("c,d.py"), 2, 1, "X1", "know", Tier.NOTE),
]
ERROR = SourceError(Path("e.py"), "cannot be read")


def test_json_counts_the_tiers() -> None:
    answer = json.loads(to_json(FINDINGS, {Path("b.py"): "", Path("a b.py"): ""}, [ERROR]))
    assert answer["changes"] == ["a b.py", "b.py"]
    assert answer["errors"] == [{"path": "e.py", "message": "cannot be read"}]
    assert answer["summary"] == {"native": 1, "shim": 0, "manual": 1, "note": 1}
    assert answer["findings"][0] == {
        "path": "a b.py", "line": 3, "col": 5, "code": "X1",
        "message": "what is: 100%\nsure", "tier": "native", "safety": "unsafe",
        "held_back_by": None,
    }  # fmt: skip


def test_json_says_what_holds_back() -> None:
    place = Place(Path("c,d.py"), 1, 1, "X2")
    held = replace(FINDINGS[0], tier=Tier.MANUAL, held_by=place)
    answer = json.loads(to_json([held], {}, []))
    assert answer["findings"][0]["held_back_by"] == {
        "path": "c,d.py", "line": 1, "col": 1, "code": "X2",
    }  # fmt: skip


def test_github_escapes_what_ends_a_command_or_a_property() -> None:
    assert to_github(FINDINGS, [ERROR]).splitlines() == [
        "::warning title=fsdp-migrate X1,file=a b.py,line=3,col=5::[unsafe] what is: 100%25%0Asure",
        "::error title=fsdp-migrate X2,file=c%2Cd.py,line=1,col=1::look",
        "::notice title=fsdp-migrate X1,file=c%2Cd.py,line=2,col=1::know",
        "::error title=fsdp-migrate,file=e.py::cannot be read",
    ]


def test_sarif_has_ends_where_a_name_is_and_what_is_suppressed() -> None:
    lines = {Path("a b.py"): ["", "", "    model.no_sync()"]}
    log = json.loads(to_sarif([FINDINGS[0]], [], [], [FINDINGS[1]], lines.get))
    first, second = log["runs"][0]["results"]
    regions = [r["locations"][0]["physicalLocation"]["region"] for r in (first, second)]
    assert regions == [
        {"startLine": 3, "startColumn": 5, "endLine": 3, "endColumn": 18},
        {"startLine": 1, "startColumn": 1},
    ]
    assert "suppressions" not in first
    assert second["suppressions"] == [{"kind": "inSource"}]


def test_github_says_what_holds_others_back() -> None:
    manual = FINDINGS[1]
    held = [replace(FINDINGS[2], line=n, held_by=manual.place) for n in (5, 6)]
    beside = replace(manual, line=9, blocks_with=manual.place)
    first, *others, last = to_github([manual, *held, beside], []).splitlines()
    assert first.endswith("::look; blocks 2 others")
    assert not any("blocks" in line for line in others)
    assert last.endswith("::look; blocks the same")


def test_sarif_describes_the_rules_that_spoke() -> None:
    rules = [
        Rule("X1", "first", "one", "because", "", no_uses, references=("https://example.org",)),
        Rule("X2", "second", "two", "because", "", no_uses),
        Rule("X3", "third", "three", "because", "", no_uses),
    ]
    (run,) = json.loads(to_sarif(FINDINGS, [ERROR], rules))["runs"]
    first, second = run["tool"]["driver"]["rules"]
    assert (first["id"], first["helpUri"]) == ("X1", "https://example.org")
    assert first["help"]["text"].startswith("because\n\nSafety of the fix: ")
    assert (second["id"], "helpUri" in second) == ("X2", False)
    assert [result["level"] for result in run["results"]] == ["warning", "error", "note"]
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.py"
    assert place["region"] == {"startLine": 3, "startColumn": 5}
