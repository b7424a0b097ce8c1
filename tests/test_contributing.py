"""What CONTRIBUTING.md shows is what happens: its example is a rule, and is run as one."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsdp_migrate import rules
from fsdp_migrate.cli.main import cli
from fsdp_migrate.rule.rule import Rule
from support import contract
from support.cases import Case, describe, read_cases, update
from support.programs import migrate

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "fixtures/README.md")
TEXT = GUIDE.read_text(encoding="utf-8")
_FENCE = re.compile(r"^(`{3,})(\w+)(?: (\S+))?\n(.*?)^\1\n", re.MULTILINE | re.DOTALL)
_OUTPUTS = re.compile(r"^```(?:python after|text)\n.*?^```\n", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?<![\w/])(?:migrate|rules|runtime|tests|fixtures|\.ci)/[\w./-]*")

FILES = {name: text for _, _, name, text in _FENCE.findall(TEXT) if name}
RULE_FILE, FIXTURE_FILE = "rules/moved_to_device.py", "fixtures/rules/moved-to-device.md"


def blocks(language: str) -> list[str]:
    """The blocks of the guide in a language that are no file."""
    return [text for _, kind, name, text in _FENCE.findall(TEXT) if kind == language and not name]


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rule]:
    """The rule of the example, found beside the others because its file is there."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / Path(RULE_FILE).name).write_text(FILES[RULE_FILE], encoding="utf-8")
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(folder)])
    name = f"{rules.__name__}.{Path(RULE_FILE).stem}"
    yield importlib.import_module(name).RULE
    del sys.modules[name]
    delattr(rules, Path(RULE_FILE).stem)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """The fixture of the example as the guide shows it."""
    path = tmp_path / Path(FIXTURE_FILE).name
    path.write_text(FILES[FIXTURE_FILE], encoding="utf-8")
    return path


def cases(path: Path) -> list[Case]:
    """The cases of a document, of which there are some."""
    found = list(read_cases(path))
    assert found
    return found


# ---------------------------------------------------------------------- the example
def test_the_guide_shows_a_rule_and_its_fixture() -> None:
    assert set(FILES) == {RULE_FILE, FIXTURE_FILE}
    assert not [name for name in FILES if (ROOT / name).exists()], "the example is real by now"


def test_the_rule_does_what_its_fixture_shows(rule: Rule, document: Path) -> None:
    for case in cases(document):
        run = case.run()
        for name, text in case.expected.items():
            assert run.after[name] == text
        assert describe(run.findings) == case.findings
        assert rule.code in {item.code for item in run.findings}
        contract.check(run)
        contract.check_variants(run)


def test_the_fixture_is_written_by_the_command(rule: Rule, document: Path) -> None:
    shown = document.read_text(encoding="utf-8")
    document.write_text(_OUTPUTS.sub("", shown), encoding="utf-8")
    update(document)
    assert document.read_text(encoding="utf-8") == shown


def test_the_examples_of_the_rule_hold(rule: Rule) -> None:
    assert rule.examples
    for example in rule.examples:
        run = migrate(example.before)
        contract.check(run)
        assert run.after["train.py"] == example.after


def test_without_the_rule_the_surface_has_none(document: Path) -> None:
    codes = {item.code for case in cases(document) for item in case.run().findings}
    assert codes == {"FSDP101"}


def test_the_command_prints_what_is_shown(
    rule: Rule, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(cases(document)[0].before["train.py"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (session,) = blocks("console")
    _, *commands = re.split(r"^\$ fsdp-migrate ", session, flags=re.MULTILINE)
    for command, _, shown in (text.partition("\n") for text in commands):
        words, _, word = command.partition(" | grep ")
        printed = CliRunner().invoke(cli, words.split(), prog_name="fsdp-migrate").output
        lines = [line for line in printed.splitlines() if word in line]
        assert not shown or "\n".join(lines) + "\n" == shown
        assert rule.code in printed


def test_the_rule_is_clean(rule: Rule, tmp_path: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache"]
        options = ["--config", str(ROOT / "pyproject.toml"), str(tmp_path / RULE_FILE)]
        done = subprocess.run([*ruff, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------- the rest of the guide
def test_the_sessions_with_python_are_as_they_would_be() -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    (session,) = blocks("pycon")
    printed: list[str] = []
    runner.run(parser.get_doctest(session, {}, "CONTRIBUTING.md", None, 0), out=printed.append)
    assert runner.tries
    assert not printed, "".join(printed)


def test_code_that_is_quoted_is_there() -> None:
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "migrate").rglob("*.py")]
    for text in blocks("python"):
        assert any(text in file for file in files), text


def test_every_room_is_in_the_table() -> None:
    rooms = {path.parent.name for path in (ROOT / "migrate").glob("*/__init__.py")}
    named = set(re.findall(r"`migrate/(\w+)/`", TEXT))
    assert rooms - named == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    shell = [block for _, kind, _, block in _FENCE.findall(text) if kind == "sh"]
    plain = "".join([_FENCE.sub("", text), *shell])
    paths = {path.rstrip("./") for path in _PATH.findall(plain)}
    missing = [path for path in sorted(paths) if not (ROOT / path).exists()]
    assert not missing
