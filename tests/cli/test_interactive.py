"""Changes that are made part by part, as the user answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsdp_migrate.cli.interactive import parts_of
from fsdp_migrate.cli.request import Result
from fsdp_migrate.discovery.discover import Discovered
from fsdp_migrate.discovery.tree import File
from fsdp_migrate.findings.finding import Finding, Fix, Tier
from support.command import NEW, OLD, Engine, command

A, B, C, D = (Path(f"{name}.py") for name in "abcd")
FOUND = Finding(A, 1, 1, "FSDP101", "why", Tier.NATIVE)


@pytest.fixture(autouse=True)
def _engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simple engine, and three programs, of which two belong together."""
    monkeypatch.setattr("fsdp_migrate.engine.migrate", Engine())
    monkeypatch.chdir(tmp_path)
    A.write_text(OLD)
    B.write_text(OLD + "import c\n")
    C.write_text(OLD)


def changed() -> list[str]:
    return [path.name for path in (A, B, C) if path.read_text().startswith(NEW)]


@pytest.mark.parametrize(
    ("answers", "files", "code"),
    [
        ("y\ny\n", ["a.py", "b.py", "c.py"], 0),
        ("y\nn\n", ["a.py"], 1),
        ("n\ny\n", ["b.py", "c.py"], 1),
        ("n\nn\n", [], 1),
        ("y\nq\n", ["a.py"], 1),
        ("q\n", [], 1),
        ("what\ny\ny\n", ["a.py", "b.py", "c.py"], 0),
        ("y\n", [], 1),  # and no more answers: as an interrupt
    ],
)
def test_what_is_wanted_is_written(answers: str, files: list[str], code: int) -> None:
    ran = command("--interactive", stdin=answers)
    assert (changed(), ran.code) == (files, code)
    assert "Part 1 of 2: a.py\na.py:1:36 FSDP101 a FullyShardedDataParallel\n" in ran.out
    assert "+++ b/a.py" in ran.out
    assert ("No file was changed." in ran.err) == (not files)


def test_rules_are_explained() -> None:
    ran = command("--interactive", stdin="e\nq\n")
    assert "FSDP101 constructor\n" in ran.out
    assert ran.out.count("Make these changes?") == 2


def test_what_has_to_change_together_is_one_part() -> None:
    def parts(*findings: Finding, data: bytes = b"") -> list[tuple[Path, ...]]:
        files = (*(File(path, b"") for path in (A, B, C)), File(D, data))
        changes = dict.fromkeys((A, B, C, D), "")
        return parts_of(Result(Discovered(files), findings=findings, changes=changes))

    assert parts() == [(A,), (B,), (C,), (D,)]
    model = replace(FOUND, models=frozenset({"m"}))
    assert parts(model, replace(model, path=C)) == [(A, C), (B,), (D,)]
    assert parts(replace(FOUND, fix=Fix({A: (), D: ()}))) == [(A, D), (B,), (C,)]
    assert parts(data=b"import b\n") == [(A,), (B, D), (C,)]
    both = (model, replace(model, path=B), replace(FOUND, fix=Fix({B: (), C: ()})))
    assert parts(*both) == [(A, B, C), (D,)]


def test_a_new_file_belongs_to_all() -> None:
    changes = dict.fromkeys((A, B, Path("runtime_copy.py")), "")
    result = Result(Discovered((File(A, b""), File(B, b""))), changes=changes)
    assert len(parts_of(result)) == 1


@pytest.mark.parametrize(
    "args", [["--check"], ["--diff"], ["-"], ["--output-format", "json"]], ids=" ".join
)
def test_questions_need_somebody_to_answer(args: list[str]) -> None:
    ran = command("--interactive", *args, stdin=OLD)
    assert ran.code == 2
    assert "--interactive" in ran.err
