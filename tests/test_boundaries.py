"""Who may import whom: the runtime stands alone, rules speak the engine's vocabulary only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fsdp_migrate

HOME = Path(next(iter(fsdp_migrate.__path__)))
RULES, RUNTIME = HOME / "rules", HOME / "runtime"
# The engine's machinery: what works on files and runs, which a rule has no business with.
MACHINERY = {"cli", "discovery", "engine", "planning", "reporting", "rewriting"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a thing comes from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder: Path) -> list[Path]:
    """The modules below a folder of the package."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def modules(code: str) -> set[str]:
    """The modules that are loaded after `code` has run in an interpreter of its own."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    environment = {"PYTHONPATH": str(HOME.parent), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    return set(done.stdout.split())


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports(HOME / "__init__.py")) == []


# The programs around the runtime: started by the command line, never by a training program.
HARNESS = {"compare", "launch", "proof", "record", "rehearse", "report", "verify"}


@pytest.mark.parametrize("path", files(RUNTIME), ids=lambda p: p.relative_to(RUNTIME).as_posix())
def test_the_runtime_stands_alone(path: Path) -> None:
    allowed = {"torch", "fsdp_migrate", *sys.stdlib_module_names}
    if path.relative_to(RUNTIME).parts[0].removesuffix(".py") in HARNESS:
        allowed |= {"numpy"}
    for name in imports(path):
        assert name.split(".")[0] in allowed, name
        if name.startswith("fsdp_migrate"):
            assert name.startswith("fsdp_migrate.runtime"), name


@pytest.mark.parametrize("path", files(RULES), ids=lambda p: p.stem)
def test_rules_speak_the_engines_vocabulary(path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] in {"fsdp_migrate", *sys.stdlib_module_names}, name
        if name.startswith("fsdp_migrate."):
            part = name.split(".")[1]
            assert part not in MACHINERY, f"{path.name} imports {name}"
            assert part != "runtime", f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in files(HOME) if not p.is_relative_to(RULES) and not p.is_relative_to(RUNTIME)],
    ids=lambda p: p.relative_to(HOME).as_posix(),
)
def test_the_engine_knows_no_rule_and_no_runtime(path: Path) -> None:
    """It finds the rules through the registry; `verify` starts the runtime's programs."""
    for name in imports(path):
        if path.stem != "registry":
            assert not name.startswith("fsdp_migrate.rules"), name
        if path.stem not in {"main", "verify"}:
            assert not name.startswith("fsdp_migrate.runtime"), name
        assert name.split(".")[0] != "torch" or path.stem == "verify", name


def test_training_programs_load_no_part_of_the_codemod() -> None:
    loaded = modules("import fsdp_migrate.runtime")
    assert not {"click", "libcst", "pathspec", "hypothesis"} & {n.split(".")[0] for n in loaded}
    ours = {n for n in loaded if n.startswith("fsdp_migrate.")}
    assert not {n for n in ours if not n.startswith("fsdp_migrate.runtime")}


def test_the_analysis_loads_neither_libcst_nor_torch() -> None:
    loaded = modules(
        "import fsdp_migrate.engine, fsdp_migrate.planning.ask, fsdp_migrate.rule.registry\n"
        "fsdp_migrate.rule.registry.all_rules()"
    )
    assert not {"libcst", "torch", "click"} & {n.split(".")[0] for n in loaded}


def test_no_module_has_two_names() -> None:
    """`migrate`, `rules` and `runtime` are folders; only `fsdp_migrate...` is ever imported."""
    for folder in (HOME, RULES, RUNTIME):
        for path in files(folder):
            for name in imports(path):
                assert name.split(".")[0] not in {"migrate", "rules", "runtime"}, path
