"""What is installed, what is shipped, and that the documents say what the program does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import readme
from fsdp_migrate.cli.configuration import SETTINGS
from fsdp_migrate.cli.main import SUBCOMMANDS, cli

ROOT = readme.ROOT
PACKAGES = {
    "migrate": "fsdp_migrate",
    "rules": "fsdp_migrate/rules",
    "runtime": "fsdp_migrate/runtime",
}


def shipped(*suffixes: str) -> set[str]:
    """The files of the three folders as they are called when installed."""
    return {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes or path.name == "py.typed"
    }


@pytest.mark.parametrize("part", readme.PARTS, ids=" ".join)
def test_the_documents_are_fresh(part: tuple[str, str]) -> None:
    document, name = part
    text = (ROOT / document).read_text(encoding="utf-8")
    assert readme.part(text, name)[0] == readme.PARTS[part]() + "\n", "run: python tests/readme.py"


def test_the_readme_is_short() -> None:
    assert readme.README.read_text(encoding="utf-8").count("\n") < 200


LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for name, _ in LINK.findall(document.read_text(encoding="utf-8")):
        assert "://" in name or (document.parent / name).exists(), name


def test_every_document_is_in_the_navigation() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name in listed


def test_every_setting_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in SETTINGS)


def test_every_option_and_command_has_help() -> None:
    for parameter in cli.default.params:
        assert parameter.param_type_name == "argument" or getattr(parameter, "help", None)
    for name in SUBCOMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help


def test_the_commands_of_the_readme_are_those_of_the_checks() -> None:
    text = readme.README.read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -e '.[test]' && pytest\n" in text
    assert "pip install" in script
    assert "-e '.[test]'" in script
    assert re.search(r"^pytest$", script, re.MULTILINE)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("hook", ["fsdp-migrate", "fsdp-migrate-check"])
def test_the_hooks_run_the_command(hook: str) -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    block = re.search(rf"- id: {hook}\n((?:  .*\n)+)", text)
    assert block is not None
    entry = re.search(r"entry: fsdp-migrate (.*)", block[1])
    assert entry is not None
    options = {option for parameter in cli.default.params for option in parameter.opts}
    assert set(entry[1].split()) <= options
    assert "pass_filenames: false" in block[1]
    assert "require_serial: true" in block[1]


def test_importing_the_package_loads_nothing() -> None:
    """Training jobs import it for its runtime: no click, no LibCST, nothing of the engine."""
    code = (
        "import sys, fsdp_migrate\n"
        "print('LOADED', *sorted(name for name in sys.modules if name.startswith('fsdp_migrate.')\n"
        "      or name.partition('.')[0] in ('click', 'libcst', 'torch', 'pathspec')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["LOADED"]


def test_the_sources_go_by_their_import_names() -> None:
    """`import migrate` would be a second copy of the same module under another name."""
    wrong = re.compile(r"^\s*(?:from|import) (?:migrate|rules|runtime)\b", re.MULTILINE)
    for folder in (*PACKAGES, "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not wrong.search(path.read_text(encoding="utf-8")), path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, built from the source distribution, and that."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t"]
    subprocess.run([*hatch, "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    source = folder / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*hatch, "wheel"], cwd=source, check=True, capture_output=True)
    return folder


def test_the_wheel_has_all_packages(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "fsdp-migrate = fsdp_migrate.__main__:main" in archive.read(entry).decode()
    assert shipped(".py") <= names
    assert "fsdp_migrate/py.typed" in names
    assert all(name.startswith("fsdp_migrate/") for name in names)


def test_the_wheel_runs_by_itself(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (tmp_path / "train.py").write_text("import torch\n")
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        "import fsdp_migrate, fsdp_migrate.cli.main as cli\n"
        f"assert fsdp_migrate.__file__.startswith({str(wheel)!r}), fsdp_migrate.__file__\n"
        "sys.argv = ['fsdp-migrate', '.']; cli.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "No FSDP in 1 Python file: nothing to do.\n")


@pytest.mark.slow
def test_an_editable_install_works_from_anywhere(tmp_path: Path) -> None:
    """Into a fresh environment, from a copy of what is under version control."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "-e", "."]
    subprocess.run([str(python), *install], cwd=source, check=True)
    ran = subprocess.run(
        [
            str(python),
            "-c",
            "import fsdp_migrate, fsdp_migrate.rules; print(fsdp_migrate.__file__)",
        ],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(source) in ran.stdout
