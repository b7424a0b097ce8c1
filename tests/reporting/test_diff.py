"""Diffs that `git apply` and `patch` take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fsdp_migrate.reporting.diff import unified_diff
from fsdp_migrate.syntax.source import Source, decode


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_change_is_no_diff() -> None:
    assert unified_diff(Source(Path("a.py"), "x\n"), "x\n") == b""


def test_paths_are_relative_and_a_missing_newline_is_remarked_on() -> None:
    source = Source(Path("pkg/../pkg/a.py").absolute(), "x\ny")
    assert unified_diff(source, "x\nz\n").decode() == (
        "--- a/pkg/a.py\n+++ b/pkg/a.py\n@@ -1,2 +1,2 @@\n x\n-y\n"
        "\\ No newline at end of file\n+z\n"
    )


def test_a_new_file_comes_from_nowhere(here: Path) -> None:
    assert unified_diff(Source(here / "new.py", ""), "x\n").startswith(b"--- /dev/null\n")
    (here / "empty.py").touch()
    assert unified_diff(Source(here / "empty.py", ""), "x\n").startswith(b"--- a/empty.py\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a b.py", "b/a b.py\t"), ('a"b.py', '"b/a\\"b.py"'), ("a\tb.py", '"b/a\\tb.py"')],
)
def test_odd_names_are_written_as_git_writes_them(name: str, expected: str) -> None:
    second = unified_diff(Source(Path(name), "x\n"), "y\n").decode().split("\n")[1]
    assert second == f"+++ {expected}"


def test_the_bytes_of_the_file_are_kept() -> None:
    latin = decode(Path("a.py"), "# coding: latin-1\nx = 'é'\r\n".encode("latin-1"))
    assert b"+y = '\xe9'\r\n" in unified_diff(latin, latin.text.replace("x", "y"))
    marked = decode(Path("a.py"), b"\xef\xbb\xbfx\n")
    assert b"-\xef\xbb\xbfx\n+\xef\xbb\xbfy\n" in unified_diff(marked, "y\n")


def test_only_a_line_feed_ends_a_line() -> None:
    lines = unified_diff(Source(Path("a.py"), "x\x0c\x1cy\nz\n"), "x\x0c\x1cy\nw\n")
    assert b" x\x0c\x1cy\n-z\n+w\n" in lines


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a\x1b\x07.py", '"b/a\\033\\007.py"'), ("a\udcff.py", '"b/a\\377.py"'), ("é.py", "b/é.py")],
)
def test_names_are_shown_and_not_obeyed(name: str, expected: str) -> None:
    second = unified_diff(Source(Path(name), "x\n"), "y\n").decode().split("\n")[1]
    assert second == f"+++ {expected}"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_diff_made_below_the_top_of_a_tree_applies_at_the_top_and_below(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    names = ["top.py", "a/below.py", "a/with space.py", 'a/quo"te.py']
    (here / "a").mkdir()
    for name in names:
        (here / name).write_text("x\n")
    monkeypatch.chdir(here / "a")
    diff = b"".join(unified_diff(Source(here / name, "x\n"), "y\n") for name in names)
    diff += unified_diff(Source(Path("new.py"), ""), "z\n")
    apply = ["git", "apply", "-"]
    subprocess.run(apply, input=diff, check=True)  # below: git takes what is there
    assert [(here / name).read_text() for name in names] == ["x\n", *["y\n"] * 3]
    assert (here / "a/new.py").read_text() == "z\n"
    subprocess.run([*apply, "-R"], input=diff, check=True)
    monkeypatch.chdir(here)
    subprocess.run(apply, input=diff, check=True)
    assert {(here / name).read_text() for name in names} == {"y\n"}
