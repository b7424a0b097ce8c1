"""The report: self-contained, escaped, readable by machines and by a browser without complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fsdp_migrate.runtime import report
from fsdp_migrate.runtime.compare import compare
from fsdp_migrate.runtime.record.fingerprint import fingerprint
from fsdp_migrate.runtime.report import charts, series
from harness import synthetic
from harness.synthetic import WEIGHT, events

NASTY = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Checks that elements are closed, and collects what a test asks for."""

    VOID = ("meta", "link", "br", "rect", "line", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID or (tag == "rect" and self.get_starttag_text()[-2] != "/"):  # type: ignore[index]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def page(
    tmp_path: Path, *changes: dict[str, Any], printed: str = "loss 2.0\n", **kwargs: Any
) -> str:
    """The report of two recordings, of which the new one has these changes."""
    old = synthetic.write(tmp_path / "old", events())
    new = synthetic.write(tmp_path / "new", events(*changes, **kwargs), printed=printed)
    target = tmp_path / "report.html"
    report.write(target, compare(old, new), old, new, migration(tmp_path))
    return target.read_text()


def migration(tmp_path: Path) -> tuple[report.FileChange, ...]:
    """A file with one changed line, and a finding that changed nothing."""
    for name, call in (("a", "FSDP(model)"), ("b", "fully_shard(model)")):
        (tmp_path / name).mkdir(exist_ok=True)
        lines = [f"# line {n} {NASTY}" for n in range(1, 30)]
        lines[19] = f"model = {call}"
        (tmp_path / name / "train.py").write_text("\n".join(lines))
    findings = [
        {"path": "train.py", "line": 20, "code": "FSDP101", "message": NASTY, "tier": "native"},
        {"path": "train.py", "line": 3, "code": "FSDP401", "message": "left", "tier": "manual"},
    ]
    return report.changes(tmp_path / "a", tmp_path / "b", findings, ["train.py"])


def different(tmp_path: Path) -> str:
    name = NASTY + ".weight"
    return page(
        tmp_path,
        {"parameters": {"weight": fingerprint(WEIGHT * 2), name: None}},
        {"parameters": {"weight": fingerprint(WEIGHT * 3), name: fingerprint(WEIGHT)}},
        losses=(2.0, 1.75),
        printed=NASTY,
    )


def test_a_report_of_identical_runs(tmp_path: Path) -> None:
    text = page(tmp_path)
    parsed = Page(text)
    assert not parsed.open
    assert "IDENTICAL" in parsed.text
    assert "equal at all steps" in parsed.text
    assert "all differences are exactly zero" in parsed.text


def test_a_report_of_different_runs(tmp_path: Path) -> None:
    parsed = Page(different(tmp_path))
    assert not parsed.open
    for words in ("DIFFERENT", "First divergence", "Likely cause", "Parameters by step", "1e-"):
        assert words in parsed.text
    assert len(parsed.of("svg")) == 3
    assert len(parsed.of("h1")) == 1


def test_everything_is_escaped(tmp_path: Path) -> None:
    parsed = Page(different(tmp_path))
    assert not parsed.of("script")
    assert NASTY in parsed.text


def test_nothing_is_loaded(tmp_path: Path) -> None:
    text = different(tmp_path)
    parsed = Page(text)
    for attribute in ("src", "href", "action"):
        links = [a[attribute] for _, a in parsed.tags if attribute in a]
        assert all(str(link).startswith(("#", "data:")) for link in links)
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?://", text)
    assert "default-src 'none'" in text


def test_charts_speak_and_can_be_reached(tmp_path: Path) -> None:
    parsed = Page(different(tmp_path))
    for chart in parsed.of("svg"):
        assert chart["role"] == "img"
        assert chart["aria-label"]
    scrolled = [a for a in parsed.of("div") if a.get("class") == "scroll"] + parsed.of("pre")
    assert scrolled
    for region in scrolled:
        assert (region["role"], region["tabindex"]) == ("region", "0")
        assert region["aria-label"]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for a in parsed.of("section")} <= set(ids)
    assert {str(a["href"]).removeprefix("#") for a in parsed.of("a")} <= set(ids)
    assert parsed.of("html") == [{"lang": "en"}]
    assert any(link.get("class") == "skip" for link in parsed.of("a"))
    assert all(head["scope"] in ("col", "row") for head in parsed.of("th"))


def test_the_migration_shows_hunks_and_rules(tmp_path: Path) -> None:
    (change,) = migration(tmp_path)
    (hunk,) = change.hunks
    assert [site.code for site in hunk.sites] == ["FSDP101"]
    assert [site.code for site in change.rest] == ["FSDP401"]
    signs = [sign for sign, _ in hunk.lines]
    assert (signs.count("-"), signs.count("+"), signs.count(" ")) == (1, 1, 6)
    text = Page(page(tmp_path)).text
    assert "-model = FSDP(model)" in text
    assert "lines 17 to 23" in text
    assert "+model = fully_shard(model)" in text


def test_a_report_of_a_failure(tmp_path: Path) -> None:
    old = synthetic.write(tmp_path / "old", events())
    target = tmp_path / "report.html"
    report.write(target, compare(old, tmp_path / "none"), old, tmp_path / "none")
    parsed = Page(target.read_text())
    assert "NOT PROVEN" in parsed.text
    assert "no recording" in parsed.text


@pytest.mark.parametrize(
    "values",
    [[], [None], [0.0], [1.0], [1.0, 1.0], [1e-9, 0.0, None, 3.0], [float("inf")], [7e5, 7e-5]],
)
def test_charts_of_little(values: list[float | None]) -> None:
    curves = [charts.Series("old", "old", values)]
    for text in (
        charts.line_chart("t", "d", curves, range(len(values)), "step"),
        charts.log_chart("t", "d", values, range(len(values)), "step"),
        charts.heat_map("t", "d", ["row"], [str(n) for n in range(len(values))], [values]),
    ):
        assert not Page(text).open
        assert not re.search(r'="[^"]*\b(nan|inf)\b', re.sub("<title>.*?</title>", "", text))


def test_long_curves_are_thinned_out_but_keep_the_largest_difference() -> None:
    old = [float(n) for n in range(5000)]
    new = [*old[:3333], old[3333] + 0.5, *old[3334:], 1.0]
    places, drawn = series.Losses([*old], [*new]).drawn()
    assert len(places) <= series.POINTS
    assert 3333 in places
    assert max(d for d in drawn.apart if d is not None) == 0.5
    nan = float("nan")
    assert series.Losses([nan, nan, None], [nan, 1.0, 1.0]).apart == [0.0, float("inf"), None]


def test_shades_grow_with_the_difference() -> None:
    shades = [charts.level(v) for v in (None, 0.0, 1e-9, 1e-6, 1e-4, 5e-3, 0.05, 1.0, float("inf"))]
    assert shades == [0, 0, 1, 2, 3, 4, 5, 6, 6]


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("scheme", [0, 1])
def test_a_browser_has_nothing_to_complain_about(tmp_path: Path, scheme: int) -> None:
    different(tmp_path)
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"),
            *(f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"),
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shot.stat().st_size > 10_000
    assert "CONSOLE" not in done.stderr
