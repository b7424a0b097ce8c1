"""Whole FSDP1 programs: migrated by the command line, they train as they did.

Every folder below `fixtures/programs` and `fixtures/exam` has a `case.toml` that says how it is
run and what is expected of it.  By default the three programs are trained with a clip that never
scales (whose norm alone is summed in another order), bit for bit, and a few of the cases as they
are; `pytest -m slow tests/test_programs.py` trains the rest as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fsdp_migrate.runtime.compare import Tolerance
from support.training import train_identically

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIXTURES = Path(__file__).parent.parent / "fixtures"
ALWAYS = {
    "accumulate_if_else_zero2",
    "bare_wrap_fully_qualified",
    "dcp_stateful_app",
    "hybrid_without_mesh",
    "meta_rank0_sync_buffers",
    "strategy_if_elif_no_shard",
}


def _cases() -> list[Any]:
    folders = sorted(path.parent for path in FIXTURES.glob("*/*/case.toml"))
    return [
        pytest.param(
            folder, id=folder.name, marks=() if folder.name in ALWAYS else pytest.mark.slow
        )
        for folder in folders
    ]


def _migrate(folder: Path) -> str:
    """Run the command on a folder; what it printed."""
    command = [sys.executable, "-m", "fsdp_migrate", "--write", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("folder", _cases())
def test_the_migrated_program_trains_as_before(folder: Path, tmp_path: Path) -> None:
    case = tomllib.loads((folder / "case.toml").read_text())
    new = tmp_path / "new"
    shutil.copytree(folder, new, ignore=shutil.ignore_patterns("__pycache__"))
    report = _migrate(new)
    once = {path: path.read_bytes() for path in new.rglob("*.py")}
    _migrate(new)
    assert once == {path: path.read_bytes() for path in new.rglob("*.py")}, "a second run"
    if case["expect"] == "manual":
        for site in case["manual"]:
            lines = (folder / site["file"]).read_text().splitlines()
            numbers = [n for n, line in enumerate(lines, 1) if site["contains"] in line]
            told = [n for n in numbers if f"{Path(site['file']).name}:{n}:" in report]
            assert told, f"`{site['contains']}` is left without a finding"
        return
    close = case["expect"] == "close"
    verdict = train_identically(
        folder,
        new,
        case.get("module", case.get("script", "train.py")),
        [str(arg) for arg in case.get("args", [])],
        case.get("nproc", 2),
        gpus=case.get("gpus_per_node"),
        env={k: str(v) for k, v in case.get("env", {}).items()},
        tolerance=Tolerance(
            case.get("rtol", 1e-4) if close else 0.0,
            case.get("atol", 1e-6) if close else 0.0,
            collectives=case.get("comm", "same"),
        ),
    )
    reported = all(
        any(
            f"{Path(site['file']).name}:{n}:" in report
            for n, line in enumerate((folder / site["file"]).read_text().splitlines(), 1)
            if site["contains"] in line
        )
        for site in case.get("or_report", [])
    )
    assert verdict.passed or (case.get("or_report") and reported), verdict


NEVER_SCALES = {
    "finetune_recipe": ("gradient_clipping_threshold: float = 0.6", []),
    "single_script": ("default=0.5", ["--precision", "fp32"]),
    "trainer_classes": ("max_norm: float = 0.4", []),
}


@pytest.mark.parametrize("name", sorted(NEVER_SCALES))
def test_the_programs_train_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Losses, gradients, parameters, optimizer state and files, after `--write`, nothing manual."""
    threshold, args = NEVER_SCALES[name]
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(FIXTURES / "programs" / name, old, ignore=shutil.ignore_patterns("__pycache__"))
    (file,) = [path for path in old.rglob("*.py") if threshold in path.read_text()]
    file.write_text(file.read_text().replace(threshold, f"{threshold.rpartition('=')[0]}= 1e6"))
    case = tomllib.loads((old / "case.toml").read_text())
    shutil.copytree(old, new)
    assert "0 manual" in _migrate(new)
    verdict = train_identically(
        old, new, case.get("script", "train.py"), [*case["args"], *args], case.get("nproc", 2)
    )
    assert verdict.passed, verdict
    assert verdict.identical, verdict
