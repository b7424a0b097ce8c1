"""Findings with the lines that they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.reporting.excerpts import Terminal, with_excerpts
from fsdp_migrate.reporting.summary import entries

FOUND = Finding(Path("a.py"), 2, 9, "FSDP101", "why", Tier.NATIVE)
TEXT = ["import torch", "model = FSDP.wrap(net)  # a remark", "", "\tx = 'a\x1b[2J'; y.z()"]


def shown(*findings: Finding, lines: list[str] | None = TEXT, **terminal: object) -> list[str]:
    settings = Terminal(**terminal)  # type: ignore[arg-type]
    return list(with_excerpts(entries(findings), lambda path: lines, settings))


def test_the_line_stands_below_with_a_mark() -> None:
    assert shown(FOUND) == [
        "a.py:2:9 FSDP101 why",
        "2 | model = FSDP.wrap(net)  # a remark",
        "  |         ^^^^^^^^^",
    ]


def test_a_line_that_is_spoken_of_twice_is_shown_once() -> None:
    again, other = replace(FOUND, message="more"), replace(FOUND, line=1, col=8)
    assert shown(FOUND, again, other) == [
        "a.py:2:9 FSDP101 why",
        "2 | model = FSDP.wrap(net)  # a remark",
        "  |         ^^^^^^^^^",
        "a.py:2:9 FSDP101 more",
        "",
        "a.py:1:8 FSDP101 why",
        "1 | import torch",
        "  |        ^^^^^",
    ]


def test_what_waits_for_another_place_has_no_line_of_its_own() -> None:
    blocks = replace(FOUND, code="FSDP406", tier=Tier.MANUAL)
    held = replace(FOUND, line=1, tier=Tier.MANUAL, held_by=blocks.place)
    assert shown(blocks, held) == [
        "a.py:2:9 FSDP406 why; blocks 1 other",
        "2 | model = FSDP.wrap(net)  # a remark",
        "  |         ^^^^^^^^^",
        "  a.py:1:9 FSDP101 why",
    ]


@pytest.mark.parametrize(("line", "lines"), [(9, TEXT), (3, TEXT), (1, None)])
def test_where_there_is_nothing_to_show(line: int, lines: list[str] | None) -> None:
    assert len(shown(replace(FOUND, line=line), lines=lines)) == 1


def test_nothing_of_the_source_steers_the_terminal_and_tabs_keep_the_mark_in_place() -> None:
    _, line, mark = shown(replace(FOUND, line=4, col=15))
    assert line == "4 |     x = 'a\\x1b[2J'; y.z()"
    assert line[mark.index("^") :] == "y.z()"
    assert mark.count("^") == 3


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("col", [1, 50, 190])
def test_long_lines_fit_and_show_what_is_marked(width: int, col: int) -> None:
    text = "x" * (col - 1) + "(name)" + "y" * 100
    first = replace(FOUND, line=1, col=col + 1)
    _, line, mark = shown(first, lines=[text], width=width)
    assert len(line) <= width
    assert line[mark.index("^") :].startswith("name")
    assert mark.rstrip().endswith("^" * 4)


def test_colours_are_there_where_they_are_wanted() -> None:
    risky = replace(FOUND, safety=Safety.UNSAFE)
    first, *rest = shown(risky, colour=True)
    assert first == "\x1b[1ma.py:2:9\x1b[0m \x1b[36mFSDP101\x1b[0m\x1b[33m [unsafe]\x1b[0m why"
    assert all("\x1b[34m" in line for line in rest)
    assert not any("\x1b" in line for line in shown(risky))
