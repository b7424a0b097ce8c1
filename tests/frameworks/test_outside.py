"""FSDP1 outside of Python: scripts, notebooks, and classes that configurations name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsdp_migrate.cli.main import cli

LINE = re.compile(r"(\S+?):(\d+):\d+ (FSDP62\d) (.*)")
TRAINER = "from transformers import HfArgumentParser, TrainingArguments\n"
OWN = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--fsdp')\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**files: str) -> None:
    """Write files, whose names have `_0` for a slash and `_1` for a dot."""
    for name, text in files.items():
        path = Path(name.replace("_0", "/").replace("_1", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(*args: str) -> tuple[list[tuple[str, int, str, str]], str]:
    """What is listed by a run: file, line, code, message; and all that is printed."""
    result = CliRunner().invoke(cli, args or ["."])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    found = [LINE.match(line) for line in result.output.splitlines()]
    listed = [(m[1], int(m[2]), m[3], m[4]) for m in found if m]
    assert not listed or "nothing to do" not in result.output
    return listed, result.output


def only(listed: list[tuple[str, int, str, str]]) -> tuple[str, int, str, str]:
    assert len(listed) == 1, listed
    return listed[0]


# ---------------------------------------------------------------------- Accelerate's flags
@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.sh", "accelerate launch --use_fsdp train.py\n", 1),
        ("a.sbatch", "#!/bin/bash\n#SBATCH -N 2\nsrun accelerate launch --use-fsdp t.py\n", 3),
        ("a.slurm", "accelerate launch \\\n  --num_processes 8 \\\n  --use_fsdp t.py\n", 3),
        ("Makefile", "train:\n\taccelerate launch --use_fsdp train.py\n", 2),
        ("Dockerfile", 'CMD ["accelerate", "launch", "--use_fsdp", "train.py"]\n', 1),
        ("docker/Dockerfile.gpu", "CMD accelerate launch --use_fsdp t.py\n", 1),
        ("launch", "#!/usr/bin/env bash\naccelerate launch --use_fsdp t.py\n", 2),
        ("a.sh", 'ARGS=(\n  --use_fsdp\n)\naccelerate launch "${ARGS[@]}" t.py\n', 2),
        ("a.sh", 'A="accelerate launch --use_fsdp"\n$A t.py\n', 1),
        ("a.sh", "cd x && python -m accelerate.commands.launch --use_fsdp t.py\n", 1),
        ("a.sh", "accelerate launch --config_file c.yaml --fsdp_offload_params true t.py\n", 1),
        ("a.sh", "export ACCELERATE_USE_FSDP=true\naccelerate launch t.py\n", 1),
        ("ci.yaml", "run: |\n  accelerate launch --use_fsdp t.py\n", 2),
        ("pod.yaml", "command: [accelerate, launch]\nargs:\n- --use_fsdp\n- t.py\n", 3),
        ("pod.yaml", 'env:\n  - ACCELERATE_USE_FSDP: "true"\n', 2),
        ("launch.json", '{"args": [\n  "accelerate", "launch",\n  "--use_fsdp", "t.py"]}\n', 3),
        ("pyproject.toml", '[tool.x]\ntrain = "accelerate launch --use_fsdp t.py"\n', 2),
    ],
)
def test_flags_of_accelerates_launcher(name: str, text: str, line: int) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    file, at, code, message = only(run()[0])
    assert (file, at, code) == (name, line, "FSDP621")
    assert "fsdp_version" in message.lower()


@pytest.mark.parametrize(
    "text",
    [
        "accelerate launch --use_fsdp --fsdp_version 2 t.py\n",
        "accelerate launch --use_fsdp --fsdp_version=2 t.py\n",
        "accelerate launch t.py --use_fsdp\n",
        "torchrun t.py --use_fsdp --fsdp_sharding_strategy FULL_SHARD\n",
        "# accelerate launch --use_fsdp t.py\naccelerate launch t.py\n",
        "python -m train --use_fsdp\n",
        "export FSDP_VERSION=2 ACCELERATE_USE_FSDP=true\naccelerate launch t.py\n",
        "export ACCELERATE_USE_FSDP=false\n",
        "echo accelerate-cli fsdp\n",
    ],
)
def test_other_commands_are_left_alone(text: str) -> None:
    write(a_1sh=text)
    assert run()[0] == []


def test_the_flags_to_write_say_what_the_old_ones_said() -> None:
    write(
        a_1sh="accelerate launch --use_fsdp --num_processes 16 --num_machines 2 "
        "--fsdp_sharding_strategy HYBRID_SHARD --fsdp_use_orig_params true "
        "--fsdp_state_dict_type=SHARDED_STATE_DICT t.py --lr 1\n"
    )
    message = only(run()[0])[3]
    for flag in (
        "--use_fsdp --fsdp_version 2",
        "--fsdp_reshard_after_forward true",
        "--fsdp_state_dict_type SHARDED_STATE_DICT",
        "--parallelism_config_dp_replicate_size 2",
        "--parallelism_config_dp_shard_size 8",
    ):
        assert flag in message
    assert "orig_params" not in message
    write(a_1sh="accelerate launch --use_fsdp --fsdp_sharding_strategy NO_SHARD t.py\n")
    assert "MULTI_GPU" in only(run()[0])[3]


# ---------------------------------------------------------------------- the Trainer's flags
@pytest.mark.parametrize(
    "text",
    [
        'torchrun train.py --fsdp "full_shard auto_wrap"\n',
        "torchrun train.py --fsdp full_shard\n",
        "torchrun train.py --fsdp=shard_grad_op\n",
        "python -m torch.distributed.run train.py \\\n --fsdp full_shard auto_wrap\n",
        "python -m train --fsdp full_shard\n",
        "accelerate launch train.py --fsdp full_shard\n",
        "torchrun other.py --fsdp 'full_shard auto_wrap offload'\n",
        "torchrun other.py --num_train_epochs 3 --fsdp full_shard\n",
        'ARGS="--fsdp full_shard auto_wrap --fsdp_config fsdp.json"\ntorchrun $ARGS\n',
    ],
)
def test_flags_of_the_trainer(text: str) -> None:
    write(a_1sh=text, train_1py=TRAINER)
    file, _, code, message = only(run()[0])
    assert (file, code) == ("a.sh", "FSDP621")
    assert "--fsdp true" in message


@pytest.mark.parametrize(
    "text",
    [
        "torchrun own.py --fsdp full_shard\n",
        "torchrun own.py --fsdp\n",
        "torchrun own.py --fsdp true --lr 1\n",
        "torchrun other.py --fsdp\n",
        "torchrun other.py --fsdp_size 8\n",
        "torchrun other.py --fsdp my_config\n",
    ],
)
def test_flags_of_a_projects_own_program(text: str) -> None:
    write(a_1sh=text, own_1py=OWN)
    assert run()[0] == []


# ---------------------------------------------------------------------- paths of classes
@pytest.mark.parametrize(
    ("name", "text", "line", "word"),
    [
        ("a.yaml", "w:\n  _target_: torch.distributed.fsdp.FullyShardedDataParallel\n", 2, "fully"),
        ("a.yml", "_target_: torch.distributed.fsdp.api.MixedPrecision\n", 1, "mp_policy"),
        ("a.yaml", "w: ${get_class:torch.distributed.fsdp.CPUOffload}\n", 1, "offload_policy"),
        (
            "a.yaml",
            "a:\n- path: torch.distributed.fsdp.ShardingStrategy.FULL_SHARD\n",
            2,
            "reshard",
        ),
        (
            "a.yaml",
            "_target_: functools.partial\n_args_:\n"
            "- torch.distributed.fsdp.wrap.transformer_auto_wrap_policy\n",
            3,
            "units",
        ),
        ("a.json", '{"class_path": "torch.distributed.fsdp.StateDictType"}', 1, "StateDictOptions"),
        (
            "a.sh",
            "python t.py w._target_=torch.distributed.fsdp.FullyShardedDataParallel\n",
            1,
            "f",
        ),
        (
            "a.sh",
            "python - <<END\nfrom torch.distributed.fsdp import ShardedGradScaler\nEND\n",
            2,
            "torch.amp.GradScaler",
        ),
        ("a.yaml", "_target_: accelerate.FullyShardedDataParallelPlugin\n", 1, "fsdp_version: 2"),
    ],
)
def test_classes_that_are_named_by_path(name: str, text: str, line: int, word: str) -> None:
    Path(name).write_text(text)
    file, at, code, message = only(run()[0])
    assert (file, at, code) == (name, line, "FSDP622")
    assert word in message


@pytest.mark.parametrize(
    "text",
    [
        "_target_: torch.distributed.fsdp.fully_shard\n",
        "_target_: torch.distributed.fsdp.MixedPrecisionPolicy\n",
        "# _target_: torch.distributed.fsdp.FullyShardedDataParallel\nfsdp: 1\n",
        "a: 1  # was torch.distributed.fsdp.FullyShardedDataParallel\n",
        "_target_: accelerate.FullyShardedDataParallelPlugin\nfsdp_version: 2\n",
        "_target_: project.torch_distributed.fsdp.Wrapper\n",
        "logger: torch.distributed.fsdp\n",
    ],
)
def test_paths_of_fsdp2_and_comments(text: str) -> None:
    write(a_1yaml=text)
    assert run()[0] == []


def test_what_a_configuration_makes_holds_back_files_that_make_nothing() -> None:
    write(
        a_1yaml="w:\n  _target_: torch.distributed.fsdp.FullyShardedDataParallel\n",
        use_1py=f"{IMPORT}\ndef show(m):\n    return isinstance(m, FSDP)\n",
        own_1py=f"{IMPORT}\nmodel = FSDP(net)\n",
    )
    _, output = run("--write", ".")
    assert "held back by FSDP622 at a.yaml:2" in output
    assert "FullyShardedDataParallel" in Path("use.py").read_text()
    assert "fully_shard(" in Path("own.py").read_text()


# ---------------------------------------------------------------------- Lightning
@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "trainer:\n  strategy:\n    class_path: FSDPStrategy\n", 3),
        ("a.yaml", "strategy:\n  _target_: pytorch_lightning.strategies.FSDPStrategy\n", 2),
        ("a.yaml", "trainer:\n  accelerator: gpu\n  strategy: fsdp\n", 3),
        ("a.yaml", "_target_: lightning.Trainer\nstrategy: fsdp_cpu_offload  # all\n", 2),
        ("a.yaml", "trainer:\n  strategy: fsdp_native\n  devices: 2\n  max_epochs: 1\n", 2),
        ("a.sh", "python main.py fit --trainer.strategy fsdp\n", 1),
        ("a.sh", "python main.py fit --trainer.strategy=fsdp\n", 1),
        ("a.sh", "python main.py trainer.strategy=fsdp\n", 1),
        ("a.sh", "fabric run main.py --strategy fsdp\n", 1),
    ],
)
def test_lightnings_strategy(name: str, text: str, line: int) -> None:
    Path(name).write_text(text)
    file, at, code, message = only(run()[0])
    assert (file, at, code) == (name, line, "FSDP623")
    assert "ModelParallelStrategy" in message


def test_a_strategy_of_no_framework() -> None:
    write(a_1yaml="train:\n  strategy: fsdp\n  lr: 1\n", a_1sh="python t.py --strategy fsdp\n")
    assert run()[0] == []
    write(main_1py="from lightning.pytorch.cli import LightningCLI\nLightningCLI()\n")
    assert only(run()[0])[0] == "a.yaml"


def test_the_sharding_below_a_class() -> None:
    text = "s:\n  class_path: FSDPStrategy\n  init_args:\n    sharding_strategy: SHARD_GRAD_OP\n"
    write(a_1yaml=text)
    assert "reshard_after_forward=False" in only(run()[0])[3]


# ---------------------------------------------------------------------- notebooks
def notebook(*cells: str | list[str], indent: int | None = 1) -> str:
    """A notebook of code cells."""
    made = [{"cell_type": "markdown", "source": ["# FullyShardedDataParallel\n"]}]
    for cell in cells:
        source = cell if isinstance(cell, list) else cell.splitlines(keepends=True)
        made.append({"cell_type": "code", "source": source, "outputs": []})  # type: ignore[dict-item]
    return json.dumps({"cells": made, "nbformat": 4}, indent=indent)


IMPORT = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


def test_each_place_in_a_notebook_is_listed_by_its_line() -> None:
    text = notebook(IMPORT, "%matplotlib inline\nmodel = FSDP(net)\n", "!ls\nx = !ls\nnet?\n")
    write(a_1ipynb=text)
    file, line, code, message = only(run()[0])
    assert (file, code) == ("a.ipynb", "FSDP620")
    assert "FSDP(net)" in text.splitlines()[line - 1]
    assert "fully_shard" in message
    assert "FSDP101" in message


def test_places_that_hold_each_other_back_say_what_they_would_be() -> None:
    write(a_1ipynb=notebook(IMPORT + "m = FSDP(net)\nm._handle.flat_param\n"))
    listed, _ = run("a.ipynb")
    assert len(listed) >= 2
    assert not any("held back" in message for *_, message in listed)


def test_commands_in_a_notebook() -> None:
    text = notebook("!accelerate launch --use_fsdp t.py\n", "%%bash\naccelerate launch --use_fsdp")
    write(a_1ipynb=text)
    listed, _ = run()
    assert [code for _, _, code, _ in listed] == ["FSDP621", "FSDP621"]
    assert "!accelerate" in text.splitlines()[listed[0][1] - 1]


def test_a_cell_that_is_no_python() -> None:
    write(a_1ipynb=notebook(IMPORT + "model = FSDP(\n"))
    assert "can't be read" in only(run()[0])[3]


@pytest.mark.parametrize("text", ['{"cells": [', "FSDPStrategy", '{"cells": {"a": 1}, "x": "%s"}'])
def test_a_broken_notebook_is_named_and_spoils_nothing(text: str) -> None:
    path = "torch.distributed.fsdp.FullyShardedDataParallel"
    write(a_1ipynb=text.replace("%s", path) + path, b_1py=IMPORT + "m = FSDP(net)\n")
    listed, output = run()
    assert only(listed)[0] == "a.ipynb"
    assert "b.py:2" in output


def test_a_notebook_that_only_speaks_of_it() -> None:
    write(a_1ipynb=notebook("print(1)\n"))
    assert run()[0] == []


def test_bytes_that_are_no_text_spoil_nothing() -> None:
    Path("a.sh").write_bytes(b"\xff\xfe\0\naccelerate launch --use_fsdp t.py\n")
    assert only(run()[0])[1] == 2


# ---------------------------------------------------------------------- whose settings they are
READS = "import json, sys\nfrom torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"fsdp": true, "lr": 1}'),
        ("a.json", '{"fsdp": "full_shard", "model": "x"}'),
        ("a.json", '{"train": {"fsdp": "shard_grad_op", "output_dir": "x"}}'),
        ("a.json", '{"use_orig_params": true, "limit_all_gathers": true}'),
        ("a.json", '{"sync_module_states": true, "sharding_strategy": "FULL_SHARD"}'),
        ("a.yaml", "fsdp: true\nuse_orig_params: true\n"),
        ("a.yaml", "distributed_type: FSDP\nlr: 1\n"),
        ("a.yaml", "fsdp:\n  sharding_strategy: FULL_SHARD\n"),
    ],
)
def test_a_projects_own_settings_are_left_alone(name: str, text: str) -> None:
    Path(name).write_text(text)
    write(train_1py=READS + "m = FSDP(net)\n")
    output = run("--write", ".")[1]
    assert Path(name).read_text() == text
    assert name not in output.replace("train.py", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"fsdp": "full_shard", "per_device_train_batch_size": 1}'),
        ("a.json", '{"fsdp": true, "fsdp_config": {"use_orig_params": true}}'),
        ("a.yaml", "fsdp: full_shard auto_wrap\n"),
        ("a.yaml", "_target_: transformers.TrainingArguments\nfsdp: full_shard\n"),
        ("a.json", '{"fsdp_transformer_layer_cls_to_wrap": ["A"], "fsdp_use_orig_params": true}'),
        ("a.yaml", "distributed_type: FSDP\nfsdp_config:\n  fsdp_use_orig_params: true\n"),
        (
            "a.yaml",
            "distributed_type: FSDP\nnum_processes: 2\nfsdp_config:\n  offload_params: no\n",
        ),
    ],
)
def test_settings_that_only_a_framework_has_are_migrated(name: str, text: str) -> None:
    Path(name).write_text(text)
    write(train_1py=READS)
    run("--write", ".")
    assert "version" in Path(name).read_text()


def test_the_project_says_whose_settings_they_are() -> None:
    write(a_1json='{"fsdp": "full_shard", "seed": 1}', train_1py=TRAINER)
    run("--write", ".")
    assert '"version": 2' in Path("a.json").read_text()


# ---------------------------------------------------------------------- what is ruled out
def test_a_configuration_that_is_ruled_out_stays_as_it_is() -> None:
    text = "distributed_type: FSDP\nfsdp_config:\n  fsdp_sharding_strategy: FULL_SHARD\n"
    Path("config.yaml").write_text(text)
    _, said = run("--write", "--ignore", "FSDP611", ".")
    assert Path("config.yaml").read_text() == text
    assert "Left because of --select or --ignore: " in said
    run("--write", ".")
    assert Path("config.yaml").read_text() != text


def test_a_configuration_with_something_unsafe_can_be_left() -> None:
    text = "distributed_type: FSDP\nfsdp_config:\n  fsdp_sharding_strategy: FULL_SHARD\n"
    Path("safe.yaml").write_text(text)
    Path("unsafe.yaml").write_text(text + "mixed_precision: bf16\n")
    _, said = run("--write", "--safe-only", ".")
    assert Path("safe.yaml").read_text() != text
    assert Path("unsafe.yaml").read_text() == text + "mixed_precision: bf16\n"
    assert "left: something in this file can change the outcome of a run" in said
