"""Settings in pyproject.toml, and the codes that a run is about."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsdp_migrate.cli.configuration import SETTINGS
from support.command import NEW, OLD, Engine, command

if sys.version_info < (3, 11):
    pytest.importorskip("tomli")


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A simple engine, and an empty working folder."""
    simple = Engine()
    monkeypatch.setattr("fsdp_migrate.engine.migrate", simple)
    monkeypatch.chdir(tmp_path)
    return simple


def put(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def configure(settings: str, folder: str = ".") -> None:
    put(f"{folder}/pyproject.toml", f"[tool.fsdp-migrate]\n{settings}\n")


class TestFinding:
    """Which file counts."""

    def test_settings_are_used(self, engine: Engine) -> None:
        configure('style = "shim"\nmark = true\nruntime = "never"\nstate-dict = "dtensor"')
        put("train.py", OLD)
        command()
        assert engine.options is not None
        assert (engine.options.style, engine.options.mark) == ("shim", True)
        assert (engine.options.runtime, engine.options.state_dict) == ("never", "dtensor")

    def test_the_command_line_comes_first(self, engine: Engine) -> None:
        configure('style = "shim"\nruntime = "never"')
        put("train.py", OLD)
        command("--style", "native")
        assert engine.options is not None
        assert (engine.options.style, engine.options.runtime) == ("native", "never")

    def test_the_nearest_file_with_the_table_counts(self, engine: Engine) -> None:
        configure('style = "shim"')
        put("pkg/pyproject.toml", "[project]\ndependencies = ['fsdp-migrate']\n")
        put("pkg/in/train.py", OLD)
        command("pkg/in/train.py")
        assert engine.options is not None
        assert engine.options.style == "shim"
        configure("mark = true", "pkg/in")
        command("pkg/in")
        assert (engine.options.style, engine.options.mark) == ("native", True)
        command("pkg/in", "pkg")  # of what is given, the common folder
        assert engine.options.style == "shim"

    def test_standard_input_is_where_its_name_is(self, engine: Engine) -> None:
        configure("mark = true", "pkg")
        assert command("-", "--stdin-filename", "pkg/train.py", stdin=OLD).out == NEW
        assert engine.options is not None
        assert engine.options.mark

    def test_isolated_reads_none(self, engine: Engine) -> None:
        configure("no-such = 1")
        put("train.py", OLD)
        ran = command("--isolated")
        assert engine.options is not None
        assert "fsdp-migrate --write --isolated" in ran.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("exlude = []", "[tool.fsdp-migrate] has no setting `exlude`; did you mean `exclude`?"),
        ("state_dict = 'dcp'", "did you mean `state-dict`?"),
        ("zzz = 1", "has no setting `zzz`; there are allow-incomplete, "),
        ("style = 'nativ'", "`style` in [tool.fsdp-migrate] has to be one of native, shim"),
        ("style = true", "has to be one of native, shim, not True"),
        ("mark = 'yes'", "`mark` in [tool.fsdp-migrate] has to be true or false"),
        ("exclude = '*.py'", "has to be a list of texts"),
        ("exclude = [1]", "has to be a list of texts"),
        ("mark = ", "pyproject.toml: "),
        ("[tool]\nfsdp-migrate = 1", "pyproject.toml: "),
    ],
)
def test_what_makes_no_sense_is_an_error(settings: str, said: str) -> None:
    path = put("train.py", OLD)
    configure(settings)
    ran = command("--write")
    assert (ran.code, ran.out, path.read_text()) == (2, "", OLD)
    assert ran.err.startswith("fsdp-migrate: error: pyproject.toml: ")
    assert said in ran.err


def test_what_is_excluded_is_relative_to_the_file(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('exclude = ["a/x.py", "*.gen.py"]')
    for name in ("a/x.py", "a/y.py", "a/z.gen.py", "b/a/x.py"):
        put(name, OLD)
    command()
    assert engine.sources == ["a/y.py", "b/a/x.py"]
    monkeypatch.chdir("a")
    command()
    assert engine.sources == ["y.py"]
    ran = command("--exclude", "y.py")
    assert "FSDP101" not in ran.out


def test_settings_can_be_shown() -> None:
    configure('style = "shim"\nexclude = ["a"]\nrespect-gitignore = false')
    ran = command("--show-settings", "--exclude", "b", "--mark")
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0] == f"# [tool.fsdp-migrate] of {os.path.abspath('pyproject.toml')}"
    names = [line.removeprefix("# ").split(" ")[0] for line in lines[1:]]
    assert names == list(SETTINGS)
    assert "# baseline is not set" in lines
    assert 'style = "shim"  # pyproject.toml' in lines
    assert 'exclude = ["a", "b"]  # pyproject.toml, command line' in lines
    assert "mark = true  # command line" in lines
    assert "respect-gitignore = false  # pyproject.toml" in lines
    assert 'runtime = "import"' in lines
    assert command("--show-settings", "--isolated").out.startswith("# no [tool.fsdp-migrate]")


def test_files_can_be_shown() -> None:
    put("a/train.py", OLD)
    put("a/helper.py", "import train\n")
    put("a/plain.py", "x = 1\n")
    put("a/left.py", OLD)
    ran = command("--show-files", "--exclude", "left.py", ".")
    assert (ran.code, ran.out) == (0, "a/helper.py\na/train.py\n")


class TestCodes:
    """`--select` and `--ignore`."""

    @pytest.mark.parametrize(
        ("args", "select", "ignore"),
        [
            (["--select", "FSDP1,fsdp201"], ("FSDP1", "FSDP201"), ()),
            (["--select", "FSDP1", "--select", "no-sync"], ("FSDP1", "FSDP201"), ()),
            (["--ignore", "notebook"], (), ("FSDP620",)),
        ],
    )
    def test_codes_beginnings_and_names(
        self, engine: Engine, args: list[str], select: tuple[str, ...], ignore: tuple[str, ...]
    ) -> None:
        put("train.py", OLD)
        command(*args)
        assert engine.options is not None
        assert (engine.options.select, engine.options.ignore) == (select, ignore)

    def test_they_can_be_configured(self, engine: Engine) -> None:
        configure('select = ["FSDP1"]\nignore = ["unused-import"]')
        put("train.py", OLD)
        ran = command()
        assert engine.options is not None
        assert engine.options.rules_out("FSDP103")
        assert engine.options.rules_out("FSDP201")
        assert not engine.options.rules_out("FSDP101")
        assert "--select" not in ran.err
        command("--select", "FSDP2")
        assert not engine.options.rules_out("FSDP201")

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["--select", "FSDP777"], "--select: no code begins with 'FSDP777'. Did you mean"),
            (["--ignore", "no-sink"], "'no-sink'. Did you mean no-sync?"),
            (["--ignore", "E501"], "See: fsdp-migrate rules"),
        ],
    )
    def test_near_misses_are_named(self, args: list[str], said: str) -> None:
        ran = command(*args)
        assert ran.code == 2
        assert said in ran.err
