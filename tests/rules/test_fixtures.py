"""Every before/after case, and what holds for any migration over every program there is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.rule import Example, no_uses
from fsdp_migrate.syntax.source import decode
from support import contract
from support.cases import FIXTURES, Case, all_cases, describe, update
from support.command import command
from support.programs import Run, migrate, read_folder

PROGRAMS = sorted(
    path.parent
    for kind in ("exam", "programs")
    for path in FIXTURES.parent.glob(f"{kind}/*/case.toml")
)
CASES = all_cases()


@cache
def _run(name: str) -> Run:
    return next(case for case in CASES if case.name == name).run()


def _parameters() -> list[object]:
    return [
        pytest.param(
            case,
            id=case.name,
            marks=[pytest.mark.xfail(reason=case.not_yet)] if case.not_yet else [],
        )
        for case in CASES
    ]


@pytest.fixture(scope="module", autouse=True)
def _update(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-fixtures", default=False):
        for path in sorted(FIXTURES.glob("*.md")):
            update(path)
        CASES[:] = all_cases()
        pytest.skip("fixtures/rules is written anew: read the diff")


# ---------------------------------------------------------------------- the cases
@pytest.mark.parametrize("case", _parameters())
def test_case(case: Case) -> None:
    """The output, file by file, the findings, and everything that holds for any migration."""
    run = _run(case.name)
    assert not run.errors, run.errors
    for name, text in case.expected.items():
        assert run.after[name] == text, name
    assert describe(run.findings) == case.findings
    contract.check(run)
    contract.check_variants(run)


def test_cases_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


def test_documents_are_as_update_would_write_them(tmp_path: Path) -> None:
    """So that an update shows what came out differently, and nothing else."""
    for path in sorted(FIXTURES.glob("*.md")):
        expected = [case for case in CASES if case.document == path.stem]
        assert path.read_text().count("\n## ") == len(expected), path.name


def test_every_rule_has_cases() -> None:
    """Each rule's code is found in the findings of a case, but for those about other files."""
    spoken = {word for case in CASES for word in case.findings.split() if word.startswith("FSDP")}
    python = {r.code for r in load_rules() if r.check is not no_uses or r.survey is not None}
    assert python - spoken == set()


# ---------------------------------------------------------------------- bytes
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"# -*- coding: latin-1 -*-\n# caf\xe9\n"])
def test_encodings_are_kept(mark: bytes) -> None:
    case = next(case for case in CASES if len(case.before) == 1 and not case.not_yet)
    (text,) = case.before.values()
    (after,) = case.after.values()
    source = decode(Path("/project/train.py"), mark + text.encode())
    run = migrate({"train.py": source.text})
    assert source.encode(run.after["train.py"]) == mark + after.encode()


# ---------------------------------------------------------------------- whole programs
NOT_YET: dict[str, str] = {}


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(
            folder,
            id=folder.name,
            marks=[pytest.mark.xfail(reason=NOT_YET[folder.name])]
            if folder.name in NOT_YET
            else [],
        )
        for folder in PROGRAMS
    ],
)
def test_program(folder: Path) -> None:
    """A program that trains comes out whole, or says what is left for a person."""
    config = (folder / "case.toml").read_text()
    run = migrate(read_folder(folder))
    contract.check(run)
    manual = [str(item) for item in run.findings if item.tier is Tier.MANUAL]
    if "[[manual]]" in config or re.search(r'^expect = "manual"', config, re.MULTILINE):
        assert manual
    else:
        assert run.changed
        assert not manual


# ---------------------------------------------------------------------- examples of the rules
EXAMPLES = [
    pytest.param(rule.code, example, id=f"{rule.code}-{number}")
    for rule in load_rules()
    for number, example in enumerate(rule.examples, 1)
]


@pytest.mark.parametrize(("code", "example"), EXAMPLES)
def test_example(
    code: str, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rule's documentation shows is what it does."""
    after = example.before if example.after is None else example.after
    if example.is_python:
        run = migrate({example.file: example.before}, context=dict(example.beside))
        if not example.beside:
            contract.check(run)
        assert run.after[example.file] == after
        assert code in {item.code for item in run.findings}
        return
    monkeypatch.chdir(tmp_path)
    for name, text in ((example.file, example.before), *example.beside):
        Path(name).write_text(text)
    assert code in command("--write", ".").out
    assert Path(example.file).read_text() == after


def test_every_rule_has_an_example() -> None:
    assert [rule.code for rule in load_rules() if not rule.examples] == []


def test_every_rule_that_leaves_something_says_what_to_write() -> None:
    """Of its own accord, and not because something else holds the place back."""
    said = re.compile(r" (FSDP\d+) manual(?: unsafe)?: (?!.*(?:held back by|; left: ))")
    leaves = {match[1] for case in CASES for match in said.finditer(case.findings)}
    assert {rule.code for rule in load_rules() if not rule.left} & leaves == set()
