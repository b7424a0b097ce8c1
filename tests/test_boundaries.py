"""Who may import whom: the runtime stands alone, rules speak the engine's vocabulary only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import fsdp_migrate
import measures

HOME = Path(next(iter(fsdp_migrate.__path__)))
RULES, RUNTIME = HOME / "rules", HOME / "runtime"
FILES = measures.files()

# What a room may import besides itself: other rooms, and libraries that aren't Python's own.
# A name stands for what is below it too.
ALLOWED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    room: (frozenset(rooms.split()), frozenset(libraries.split()))
    for room, rooms, libraries in (
        ("", "", ""),
        ("runtime", "", "torch"),
        ("syntax", "", ""),
        ("findings", "syntax", ""),
        ("analysis", "syntax findings", ""),
        ("lowering", "syntax findings analysis", ""),
        ("frameworks", "syntax findings", "ruamel"),
        ("rule", "syntax findings analysis lowering frameworks.settings", ""),
        (
            "rules",
            "syntax findings rule frameworks.settings frameworks.conversion"
            " frameworks.accelerate_plugin frameworks.composer frameworks.lightning"
            " frameworks.outside.class_paths"
            " frameworks.training_arguments",
            "",
        ),
        ("rule.registry", "rule rules", ""),
        ("discovery", "syntax findings frameworks.outside", "pathspec"),
        ("planning", "syntax findings analysis lowering rule", ""),
        ("rewriting", "syntax findings analysis rule planning.suppressions", "libcst"),
        ("reporting", "syntax findings rule discovery", ""),
        ("engine", "syntax findings analysis lowering rule planning rewriting", ""),
        (
            "cli",
            "syntax findings frameworks.config_files frameworks.outside rule discovery reporting"
            " engine runtime",
            "click torch",
        ),
        ("__main__", "cli", ""),
    )
}
# The programs around the runtime: started by the command line, never by a training program.
HARNESS = (
    "runtime.compare",
    "runtime.record",
    "runtime.rehearse",
    "runtime.report",
    "runtime.verify",
)


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


def below(name: str, allowed: Iterable[str]) -> bool:
    """Whether a module is one of those allowed, or in one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def trespasses(file: measures.File) -> list[str]:
    """The modules that a file imports and may not."""
    rooms, libraries = ALLOWED[file.room]
    if below(file.name, HARNESS):
        libraries = libraries | {"numpy"}
    if file.room != "rules":  # rules don't know each other
        rooms = rooms | {file.room}
    ours = [n for n in measures.imported(file, FILES) if n and not below(n, rooms)]
    others = {name.split(".")[0] for name in imports(file.path)}
    return ours + sorted(others - {"fsdp_migrate", *sys.stdlib_module_names, *libraries})


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_what_its_room_may(name: str) -> None:
    found = trespasses(FILES[name])
    assert not found, f"{name} imports {', '.join(found)}"


def test_only_verify_starts_the_runtime_and_asks_for_torch() -> None:
    users = {
        name
        for name, file in FILES.items()
        if file.room == "cli"
        and (
            any(below(n, ["runtime"]) for n in measures.imported(file, FILES))
            or any(n.split(".")[0] == "torch" for n in imports(file.path))
        )
    }
    assert users == {"cli.verify", "cli.two_versions"}


def test_training_programs_load_no_part_of_the_codemod() -> None:
    loaded = modules("import fsdp_migrate.runtime")
    assert not {"click", "libcst", "pathspec", "hypothesis"} & {n.split(".")[0] for n in loaded}
    ours = {n for n in loaded if n.startswith("fsdp_migrate.")}
    assert not {n for n in ours if not n.startswith("fsdp_migrate.runtime")}


def test_the_analysis_loads_neither_libcst_nor_torch() -> None:
    loaded = modules(
        "import fsdp_migrate.engine, fsdp_migrate.planning.ask, fsdp_migrate.rule.registry\n"
        "fsdp_migrate.rule.registry.load_rules()"
    )
    assert not {"libcst", "torch", "click"} & {n.split(".")[0] for n in loaded}


def test_no_module_has_two_names() -> None:
    """`migrate`, `rules` and `runtime` are folders; only `fsdp_migrate...` is ever imported."""
    for folder in (HOME, RULES, RUNTIME):
        for path in files(folder):
            for name in imports(path):
                assert name.split(".")[0] not in {"migrate", "rules", "runtime"}, path


def test_trees_are_walked_by_what_remembers_it() -> None:
    """`ast.walk` and its like look at every field of every node anew, and take most of a run."""
    slow = {"iter_child_nodes", "walk"}
    made_anew = ("findings.code", "rewriting.meant_code", "runtime", "syntax.nodes")
    for name, file in FILES.items():
        for node in ast.walk(file.tree) if not below(name, made_anew) else ():
            if isinstance(node, ast.Attribute) and node.attr in slow:
                assert ast.unparse(node.value) != "ast", (
                    f"{file.path}:{node.lineno}: use `nodes_in` and `children` of syntax/nodes.py"
                )
