"""The command line: what it accepts, what it prints where, and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsdp_migrate import __version__
from fsdp_migrate.cli.main import cli
from support.command import NEW, OLD, Engine, command

PLAIN = "import torch\n"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A simple engine, and an empty working folder."""
    simple = Engine()
    monkeypatch.setattr("fsdp_migrate.engine.migrate", simple)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    return simple


def put(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_by_default_findings_are_reported_and_nothing_is_written() -> None:
    path = put("pkg/train.py", PLAIN + OLD)
    ran = command()
    assert ran.code == 1
    assert ran.out == "pkg/train.py:2:36 FSDP101 a FullyShardedDataParallel\n"
    assert "1 finding in 1 file: 1 native, 0 shim, 0 manual, 0 notes." in ran.err
    assert "--write" in ran.err
    assert path.read_text() == PLAIN + OLD


def test_write_changes_the_files_and_a_second_run_has_nothing_to_do() -> None:
    path = put("train.py", OLD)
    ran = command("--write", "train.py")
    assert (ran.code, path.read_text()) == (0, NEW)
    assert "Changed 1 file." in ran.err
    again = command("--write", "train.py")
    assert (again.code, again.out) == (0, "")
    assert "Already FSDP2 in 1 file of 1" in again.err


def test_write_with_something_left_for_a_person() -> None:
    path = put("train.py", OLD + "# MANUAL\n")
    ran = command("--write")
    assert (ran.code, path.read_text()) == (1, NEW + "# MANUAL\n")
    assert "1 place left to you" in ran.err


def test_notes_alone_are_no_work() -> None:
    put("train.py", NEW + "# NOTE\n")
    ran = command()
    assert ran.code == 0
    assert ran.out == "train.py:2:3 FSDP101 a NOTE\n"
    assert "1 note." in ran.err


def test_check_says_the_same_without_advice() -> None:
    path = put("train.py", OLD)
    ran = command("--check")
    assert (ran.code, ran.out) == (1, command().out)
    assert "--write" not in ran.err
    assert path.read_text() == OLD
    path.write_text(NEW)
    assert command("--check").code == 0


def test_quiet_prints_findings_only() -> None:
    put("train.py", OLD)
    ran = command("--quiet")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out
    put("train.py", PLAIN)
    assert command("-q") == type(ran)(0, "", "", b"")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No Python files here: nothing to do."),
        (PLAIN, "No FSDP in 1 Python file: nothing to do."),
        (NEW, "Already FSDP2 in 1 file of 1: nothing to do."),
        ("from torch.distributed._composable.fsdp import fully_shard\n", "Already FSDP2 in 1 file"),
        ("import torch.distributed.fsdp\n", "FSDP1 is mentioned in 1 file of 1, but none uses it"),
    ],
)
def test_every_kind_of_nothing_says_which_it_is(text: str | None, message: str) -> None:
    if text is not None:
        put("train.py", text)
    ran = command()
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(message)


def test_a_file_that_cannot_be_parsed_is_an_error_and_the_others_go_on() -> None:
    broken, good = put("broken.py", OLD + "BROKEN"), put("good.py", OLD)
    ran = command("--write")
    assert ran.code == 2
    assert "error: broken.py: 1:1 cannot be parsed: invalid syntax" in ran.err
    assert (broken.read_text(), good.read_text()) == (OLD + "BROKEN", NEW)


def test_a_linked_file_that_cannot_be_parsed_is_a_warning() -> None:
    put("train.py", OLD)
    put("user.py", "import train  # BROKEN\n")
    ran = command("--write")
    assert ran.code == 0
    assert "warning: user.py: 1:1 cannot be parsed" in ran.err


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\0" + OLD.encode(), "null bytes"), (OLD.encode() + b"# \xe9", "is not utf-8")],
)
def test_a_file_that_is_not_text_is_an_error(data: bytes, message: str) -> None:
    path = put("train.py", data)
    ran = command("--write")
    assert ran.code == 2
    assert message in ran.err
    assert path.read_bytes() == data


def test_what_the_engine_is_told(engine: Engine) -> None:
    put("pkg/train.py", OLD + "import helper\n")
    put("pkg/helper.py", PLAIN)
    put("pkg/alone.py", PLAIN)
    command("--runtime", "never", "--mark", "--style", "shim")
    assert sorted(engine.sources) == ["pkg/helper.py", "pkg/train.py"]
    assert engine.options is not None
    assert engine.options.runtime == "never"
    assert engine.options.mark
    assert engine.options.style == "shim"
    command("pkg/train.py")
    assert engine.sources == ["pkg/train.py"]
    assert engine.context == ["pkg/helper.py"]


def test_exclude_and_gitignore() -> None:
    for name in ("a.py", "tests/b.py", "ignored.py"):
        put(name, OLD)
    put(".gitignore", "ignored.py\n")
    assert [line.split(":")[0] for line in command().out.splitlines()] == ["a.py", "tests/b.py"]
    assert command("--exclude", "tests/", "--exclude", "a.*").out == ""
    assert len(command("--no-respect-gitignore").out.splitlines()) == 3


class TestStandardInput:
    """A dash as the path."""

    def test_it_comes_out_migrated(self) -> None:
        ran = command("-", stdin=OLD + "# NOTE\n")
        assert (ran.code, ran.out) == (0, NEW + "# NOTE\n")
        assert "<stdin>:1:36 FSDP101" in ran.err

    @pytest.mark.parametrize(
        "data",
        [
            b"import os\r\n\xef",
            b"",
            OLD.encode() + b"BROKEN",
            OLD.encode() + b"\xe9",
            b"\0" + OLD.encode(),
        ],
    )
    def test_what_is_not_migrated_comes_out_as_it_went_in(self, data: bytes) -> None:
        ran = command("-", stdin=data)
        assert ran.out_bytes == data
        assert ran.code == (2 if OLD.encode() in data else 0)

    def test_bytes_are_kept(self) -> None:
        data = b"\xef\xbb\xbf" + OLD.replace("\n", "\r\n").encode() + b"x = '\xc3\xa9'"
        ran = command("-", stdin=data)
        assert ran.out_bytes == data.replace(b"FullyShardedDataParallel", b"fully_shard")

    def test_the_file_name_is_for_findings_and_imports(self, engine: Engine) -> None:
        put("pkg/helper.py", PLAIN)
        text = OLD + "import helper\n"
        ran = command("-", "--stdin-filename", "pkg/train.py", stdin=text)
        assert "pkg/train.py:1:36 FSDP101" in ran.err
        assert engine.context == ["pkg/helper.py"]
        assert not Path("pkg/train.py").exists()

    def test_a_file_on_disk_of_that_name_is_not_read(self) -> None:
        path = put("train.py", "x = 1\n")
        ran = command("-", "--stdin-filename", "train.py", stdin=OLD)
        assert ran.out == NEW
        assert path.read_text() == "x = 1\n"

    def test_manual_work_shows_in_the_exit_code(self) -> None:
        assert command("-", stdin=OLD + "# MANUAL\n").code == 1

    def test_check_and_diff_print_no_program(self) -> None:
        checked = command("-", "--check", stdin=OLD)
        assert (checked.code, checked.out) == (
            1,
            "<stdin>:1:36 FSDP101 a FullyShardedDataParallel\n",
        )
        diffed = command("-", "--diff", stdin=OLD)
        assert diffed.out.startswith("--- a/<stdin>\n+++ b/<stdin>\n@@ -1 +1 @@\n-from")

    def test_a_report_for_programs_stands_alone_on_standard_output(self) -> None:
        ran = command("-", "--output-format", "json", stdin=OLD)
        report = json.loads(ran.out)
        assert (ran.code, report["changes"], report["text"]) == (1, ["<stdin>"], NEW)
        assert json.loads(command("-", "--output-format", "json", stdin=PLAIN).out)["changes"] == []
        assert json.loads(command("-", "--output-format", "sarif", stdin=OLD).out)["runs"]
        assert command("-", "--output-format", "github", stdin=OLD).out.startswith("::warning ")

    def test_nothing_on_standard_input_is_said_on_standard_output(self) -> None:
        assert command("-", stdin=PLAIN).out == PLAIN


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere.py"], "does not exist"),
        (["--no-such-option"], "No such option"),
        (["--runtime", "other"], "is not one of"),
        (["--write", "--diff"], "--write excludes"),
        (["--write", "--check"], "--write excludes"),
        (["-", "."], "can't be combined"),
        (["-", "--write"], "has no meaning"),
        (["--stdin-filename", "x.py"], "needs -"),
        (["explain", "FSDP999"], "No rule is called"),
        (["explain", "FSDP101", "FSDP999"], "No rule is called"),
        (["verfy"], "does not exist. Did you mean the command verify?"),
        (["Explain", "FSDP101"], "Did you mean the command explain?"),
    ],
)
def test_usage_errors(args: list[str], message: str) -> None:
    ran = command(*args)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert "Usage: fsdp-migrate" in ran.err


def test_an_error_of_ours_is_no_verdict_on_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("unthinkable")

    monkeypatch.setattr("fsdp_migrate.engine.migrate", fails)
    path = put("train.py", OLD)
    ran = command("--write")
    assert ran.code == 2
    assert "this is a bug of fsdp-migrate" in ran.err
    assert "unthinkable" in ran.err
    assert "no file was changed" in ran.err
    assert path.read_text() == OLD
    assert command("-", stdin=OLD).out == OLD


def test_an_interrupt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fsdp_migrate.engine.migrate", interrupted)
    path = put("train.py", OLD)
    ran = command("--write")
    assert ran.code == 130
    assert "interrupted; no file was changed" in ran.err
    assert path.read_text() == OLD


class TestText:
    """Findings for people."""

    def test_pipes_get_a_line_each_and_full_can_be_asked_for(self) -> None:
        put("train.py", PLAIN + OLD)
        line = "train.py:2:36 FSDP101 a FullyShardedDataParallel"
        assert command().out == f"{line}\n"
        assert command("--output-format", "concise").out == f"{line}\n"
        assert command("--output-format", "full").out == (
            f"{line}\n2 | {OLD}  | {' ' * 35}{'^' * 24}\n"
        )

    def test_the_line_is_shown_as_it_was(self) -> None:
        put("train.py", OLD)
        assert f"1 | {OLD}" in command("--output-format", "full", "--write").out
        assert f"1 | {OLD}" in command("-", "--output-format", "full", stdin=OLD).err

    def test_a_terminal_gets_colours_unless_they_are_unwanted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("train.py", OLD)
        monkeypatch.setattr("fsdp_migrate.cli.answer._is_terminal", lambda stream: True)
        monkeypatch.delenv("NO_COLOR", raising=False)
        shown = CliRunner().invoke(cli, ["."], color=True).stdout
        assert "\x1b[36mFSDP101\x1b[0m" in shown
        monkeypatch.setenv("NO_COLOR", "1")
        plain = CliRunner().invoke(cli, ["."], color=True).stdout
        assert "\x1b" not in plain
        assert "^^^" in plain


class TestFormats:
    """Findings for other programs."""

    def test_json(self) -> None:
        put("train.py", OLD + "# MANUAL\n")
        ran = command("--output-format", "json")
        report = json.loads(ran.out)
        assert report["version"] == __version__
        assert report["findings"][0] == {
            "path": "train.py",
            "line": 1,
            "col": 36,
            "code": "FSDP101",
            "message": "a FullyShardedDataParallel",
            "tier": "native",
            "safety": "safe",
            "held_back_by": None,
        }
        assert report["changes"] == ["train.py"]
        assert report["errors"] == []
        assert report["summary"] == {"native": 1, "shim": 0, "manual": 1, "note": 0}

    def test_json_has_the_errors_and_is_whole_when_there_is_nothing(self) -> None:
        report = json.loads(command("--output-format", "json").out)
        assert (report["findings"], report["errors"]) == ([], [])
        put("train.py", OLD + "BROKEN")
        report = json.loads(command("--output-format", "json").out)
        assert [error["path"] for error in report["errors"]] == ["train.py"]

    def test_github(self) -> None:
        put("a,b.py", OLD + "# MANUAL\n")
        lines = command("--output-format", "github").out.splitlines()
        assert lines == [
            "::warning title=fsdp-migrate FSDP101,file=a%2Cb.py,line=1,col=36"
            "::a FullyShardedDataParallel",
            "::error title=fsdp-migrate FSDP101,file=a%2Cb.py,line=2,col=3::a MANUAL",
        ]

    def test_sarif(self) -> None:
        put("my train.py", OLD + "# MANUAL\n# NOTE\n")
        log = json.loads(command("--output-format", "sarif").out)
        assert log["version"] == "2.1.0"
        (run,) = log["runs"]
        assert [result["level"] for result in run["results"]] == ["warning", "error", "note"]
        where = run["results"][0]["locations"][0]["physicalLocation"]
        assert where["artifactLocation"]["uri"] == "my%20train.py"
        assert where["region"] == {
            "startLine": 1, "startColumn": 36, "endLine": 1, "endColumn": 60,
        }  # fmt: skip
        assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {"FSDP101"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("[tool.ruff]\nline-length = 100\n", "ruff format train.py"),
        ("[tool.ruff.lint]\n", "ruff format train.py"),
        ("[tool.ruff]\n[tool.black]\n", "black train.py"),
        ("[tool.other]\n", None),
    ],
)
def test_the_formatter_of_the_project_is_named(config: str, expected: str | None) -> None:
    put("pyproject.toml", config)
    put("train.py", OLD)
    ran = command("--write")
    assert (f"Format what changed:\n    {expected}\n" in ran.err) == (expected is not None)


def test_the_commands_say_what_the_rules_are() -> None:
    listed = command("rules")
    assert listed.code == 0
    code, name, *_ = listed.out.splitlines()[0].split()
    for said in (code, code.lower(), name):
        page = command("explain", said)
        assert page.code == 0
        assert page.out.startswith(f"{code} {name}\n")
    assert "Did you mean FSDP" in command("explain", code[:-1]).err
    both = command("explain", "FSDP900", "FSDP101", "FSDP900").out
    assert [line for line in both.splitlines() if line.startswith("FSDP")] == [
        "FSDP900 unowned",
        "FSDP101 constructor",
    ]
    as_json = json.loads(command("rules", "--output-format", "json").out)
    assert [rule["code"] for rule in as_json] == [
        line.split()[0] for line in listed.out.partition("\n\n")[0].splitlines()
    ]
    assert "\nFullyShardedDataParallel.no_sync\n    FSDP201  native or shim, safe:" in listed.out
    assert "FullyShardedDataParallel.no_sync" in {
        surface["name"] for rule in as_json for surface in rule["surfaces"]
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ex"], ["plain,explain", "file,ex"]),
        (["train.py", "ex"], ["file,ex"]),
        (["--sty"], ["plain,--style"]),
        (["explain", "fsdp90"], ["plain,FSDP900"]),
        (["explain", "unown"], ["plain,unowned"]),
    ],
)
def test_shells_complete_commands_options_and_codes(words: list[str], expected: list[str]) -> None:
    environment = {
        "_FSDP_MIGRATE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["fsdp-migrate", *words]),
        "COMP_CWORD": str(len(words)),
    }
    put("train.py", PLAIN)
    ran = CliRunner().invoke(cli, [], prog_name="fsdp-migrate", env=environment)
    assert ran.stdout.split() == expected


def test_a_path_called_like_a_command_can_be_given() -> None:
    put("rules/x.py", OLD)
    assert command("./rules").out.startswith("rules/x.py:1:36")
    assert command("--", "rules").out.startswith("rules/x.py:1:36")


def test_help_and_version() -> None:
    for args in (["--help"], ["-h"], ["."], ["--version"]):
        assert command(*args).code == 0
    text = command("--help").out
    assert text.startswith("Usage: fsdp-migrate [OPTIONS] [PATHS]...")
    assert "explain" in text
    assert command("--version").out == f"fsdp-migrate {__version__}\n"
    assert "Usage: fsdp-migrate rules" in command("rules", "--help").out


@pytest.mark.parametrize("entry", ["module", "script"])
def test_both_ways_to_start_it_are_the_same(entry: str) -> None:
    script = shutil.which("fsdp-migrate", path=str(Path(sys.executable).parent))
    if entry == "script" and script is None:
        pytest.skip("not installed as a script")
    start = [sys.executable, "-m", "fsdp_migrate"] if entry == "module" else [str(script)]
    put("train.py", PLAIN)
    ran = subprocess.run([*start, "."], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "No FSDP in 1 Python file: nothing to do.\n"


def test_starting_up_loads_nothing_heavy() -> None:
    """Neither for help nor for a tree without FSDP1."""
    put("train.py", PLAIN)
    code = (
        "import sys; from fsdp_migrate.cli.main import main\n"
        "sys.argv = ['fsdp-migrate', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "heavy = {'libcst', 'torch', 'pathspec', 'rich', 'difflib', 'fsdp_migrate.engine',\n"
        "         'fsdp_migrate.rule.registry', 'hypothesis', 'json', 'asyncio', 'tempfile'}\n"
        "print('LOADED', *sorted(heavy & set(sys.modules)))"
    )
    for args in (["--help"], ["."], ["--version"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
        )
        assert ran.stdout.splitlines()[-1] == "LOADED", args
