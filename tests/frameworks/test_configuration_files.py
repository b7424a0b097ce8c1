"""Configuration files on the command line: found, shown, written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fsdp_migrate.cli.main import cli
from fsdp_migrate.discovery.discover import Discovered, discover, uses_fsdp1
from fsdp_migrate.frameworks.config_files import LARGEST

YAML = "distributed_type: FSDP\nfsdp_config:\n  fsdp_sharding_strategy: 1  # all\n"
JSON = '{"fsdp": "full_shard auto_wrap"}\n'


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "conf/fsdp.yaml": YAML,
        "conf/args.json": JSON,
        "conf/other.yml": "a: 1\n",
        "data/big.json": '{"fsdp": "full_shard", "x": "' + "x" * LARGEST + '"}',
        "node_modules/x/fsdp.json": JSON,
        "train.py": "print()\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(found: Discovered) -> list[str]:
    return [file.path.as_posix() for file in found.configs]


def run(*args: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(cli, args, input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_files_that_name_fsdp_are_found() -> None:
    assert names(discover(["."])) == ["conf/args.json", "conf/fsdp.yaml"]
    assert names(discover(["conf/fsdp.yaml"])) == ["conf/fsdp.yaml"]
    assert discover(["conf/fsdp.yaml"]).candidates == ()
    assert names(discover(["."], exclude=["conf/*.json"])) == ["conf/fsdp.yaml"]


def test_ignored_files_are_left_out_unless_they_are_named() -> None:
    Path(".gitignore").write_text("conf/\n")
    assert names(discover(["."])) == []
    assert names(discover(["conf/fsdp.yaml"])) == ["conf/fsdp.yaml"]


def test_a_file_that_is_not_there() -> None:
    found = discover(["conf/none.yaml"])
    assert found.configs == ()
    assert [error.path.as_posix() for error in found.unreadable] == ["conf/none.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        b"from transformers import TrainingArguments\nTrainingArguments(fsdp='full_shard')\n",
        b'from trl import SFTConfig\nconfig = {"fsdp": "full_shard"}\n',
        b"from accelerate import FullyShardedDataParallelPlugin\n",
        b"from accelerate import Accelerator\na.state.fsdp_plugin.auto_wrap_policy = p\n",
        b"from lightning.pytorch.strategies import FSDPStrategy\n",
        b"import pytorch_lightning as pl\npl.Trainer(strategy='fsdp')\n",
        b"import composer\ncomposer.Trainer(parallelism_config={'fsdp': {}})\n",
    ],
)
def test_programs_of_frameworks_are_candidates(text: bytes) -> None:
    assert uses_fsdp1(text)


@pytest.mark.parametrize(
    "text",
    [
        b"fsdp = None\n",
        b"import transformers\nif fsdp == 1: pass\n",
        b"print('fsdp')\n",
        b"from torch.distributed import fully_shard\n",
    ],
)
def test_other_programs_are_not(text: bytes) -> None:
    assert not uses_fsdp1(text)


def test_a_run_over_everything() -> None:
    code, output = run(".")
    assert code == 1
    assert "conf/args.json:1:2 FSDP612" in output
    assert "conf/fsdp.yaml:3:3 FSDP611" in output
    assert Path("conf/fsdp.yaml").read_text() == YAML
    code, output = run("--diff", ".")
    assert "+  fsdp_reshard_after_forward: true  # all\n" in output


def test_files_are_written() -> None:
    code, _ = run("--write", ".")
    assert code == 0
    assert "fsdp_version: 2\n" in Path("conf/fsdp.yaml").read_text()
    assert '"version": 2' in Path("conf/args.json").read_text()
    assert run(".")[0] == 0


def test_standard_input() -> None:
    code, output = run("-", "--stdin-filename", "fsdp.yaml", "--quiet", text=YAML)
    assert code == 0
    assert "  fsdp_reshard_after_forward: true  # all\n" in output


@pytest.mark.parametrize("code", ["FSDP611", "FSDP612", "FSDP601"])
def test_codes_are_explained(code: str) -> None:
    assert run("explain", code)[0] == 0
