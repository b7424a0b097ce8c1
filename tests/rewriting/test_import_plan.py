"""Which imports go, move or come."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_plan import ImportPlan, plan_imports, wanted_elsewhere
from fsdp_migrate.syntax.project import module_name
from support.facts import Program
from support.programs import FOLDER, Files

FSDP, SHIM = "torch.distributed.fsdp", "fsdp_migrate.runtime"
IMPORT = f"from {FSDP} import FullyShardedDataParallel as FSDP\n"
STRATEGY = f"from {FSDP} import ShardingStrategy\n"


def plan(
    before: str, after: str, *exported: str, needs: frozenset[Import] = frozenset()
) -> ImportPlan:
    """The plan for a file that reads `after` the names that it is left with."""
    program = Program(before)
    tree = ast.parse(before + after)
    return plan_imports(program.facts, program.module(), tree, needs, frozenset(exported))


def test_names_that_nothing_reads_any_more_go() -> None:
    assert plan(IMPORT, "").gone == {"FSDP"}
    assert plan(IMPORT + STRATEGY, "").gone == {"FSDP", "ShardingStrategy"}
    assert plan(f"import {FSDP} as fsdp\n", "").gone == {"fsdp", FSDP}
    assert plan(f"from {FSDP} import *\n", "").gone == {f"*{FSDP}"}


def test_names_that_are_read_stay_or_move_to_the_shim() -> None:
    assert plan(IMPORT, "FSDP").gone == set()
    assert plan(IMPORT, "FSDP").moved == {}
    moved = plan(STRATEGY, "ShardingStrategy")
    assert moved.gone == set()
    assert moved.moved == {"ShardingStrategy": Import(SHIM, "ShardingStrategy")}
    other = plan(f"from {FSDP} import ShardingStrategy as S\n", "S").moved
    assert other == {"S": Import(SHIM, "ShardingStrategy", "S")}
    renamed = plan(f"from {FSDP}.wrap import _or_policy\n", "_or_policy").moved
    assert renamed == {"_or_policy": Import(SHIM, "or_policy", "_or_policy")}


def test_other_names_go_if_the_edits_have_left_them_without_a_reader() -> None:
    program = Program("import os, sys\nsys\nos\n")
    tree = ast.parse("import os, sys\nsys\n")
    found = plan_imports(program.facts, program.module(), tree, frozenset(), frozenset())
    assert found.gone == {"os"}
    assert plan("import os\n", "").gone == set()  # nothing read it before


def test_names_that_are_only_listed_go_from_the_list() -> None:
    found = plan(IMPORT + "__all__ = ['FSDP']\n", "")
    assert (found.gone, found.unlisted) == ({"FSDP"}, {"FSDP"})
    read = plan(IMPORT + "__all__ = ['FSDP']\n", "FSDP")
    assert (read.gone, read.unlisted) == (set(), set())
    apart = plan(IMPORT + "__all__.append('FSDP')\n", "")
    assert (apart.gone, apart.unlisted) == (set(), set())


def test_names_that_other_files_take_stay() -> None:
    assert plan(IMPORT, "", "FSDP").gone == set()
    found = plan(STRATEGY, "", "ShardingStrategy")
    assert (found.gone, found.keep) == (set(), {"ShardingStrategy"})
    assert found.moved == {"ShardingStrategy": Import(SHIM, "ShardingStrategy")}


@pytest.mark.parametrize(
    ("name", "need"),
    [
        ("ShardingStrategy", Import(SHIM, "ShardingStrategy")),
        ("FSDPModule", Import(FSDP, "FSDPModule")),
        ("fully_shard", Import(FSDP, "fully_shard")),
    ],
)
def test_what_a_star_brought_in_is_imported_by_name(name: str, need: Import) -> None:
    found = plan(f"from {FSDP} import *\n{name}\n", "")
    assert need in found.needed


def test_needs_of_edits_are_passed_on() -> None:
    need = Import("torch", None)
    assert plan(IMPORT, "", needs=frozenset({need})).needed == {need}


def wanted(files: Files, after: Mapping[str, str]) -> dict[str, set[str]]:
    trees: dict[Path, ast.Module] = {FOLDER / n: ast.parse(text) for n, text in after.items()}
    found = wanted_elsewhere(Program(files).facts, trees)
    names = {module_name(FOLDER / name): name for name in files}
    return {names[module]: set(taken) for module, taken in found.items() if taken}


def test_what_files_take_from_each_other() -> None:
    files = {
        "names.py": IMPORT + STRATEGY,
        "train.py": "from names import FSDP, ShardingStrategy as S\nFSDP, S\n",
        "other.py": "import names\nnames.ShardingStrategy\n",
    }
    assert wanted(files, {}) == {"names.py": {"FSDP", "ShardingStrategy"}}
    gone = {"train.py": "from names import FSDP, ShardingStrategy as S\nS\n", "other.py": ""}
    assert wanted(files, gone) == {"names.py": {"ShardingStrategy"}}
    assert wanted(files, {"train.py": "", "other.py": ""}) == {}


def test_what_a_package_imports_is_for_others() -> None:
    files = {"names.py": IMPORT, "lib/__init__.py": "from names import FSDP\n"}
    assert wanted(files, {}) == {"names.py": {"FSDP"}}


def test_a_star_takes_what_is_read() -> None:
    files = {"names.py": IMPORT, "train.py": "from names import *\nFSDP\n"}
    assert "FSDP" in wanted(files, {})["names.py"]
