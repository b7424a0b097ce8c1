"""Stubs that name FSDP1."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.frameworks.outside.stubs import listed
from fsdp_migrate.syntax.source import Source
from support.command import command

IMPORT = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (IMPORT, ["FullyShardedDataParallel"]),
        ("if True:\n    " + IMPORT, ["FullyShardedDataParallel"]),
        ("import torch.distributed.fsdp.wrap as w\n", ["wrap"]),
        ("from torch.distributed.fsdp.api import StateDictType\n", ["StateDictType"]),
        (
            "from torch.distributed.fsdp import FSDPModule, CPUOffload, MixedPrecision\n",
            ["CPUOffload, MixedPrecision"],
        ),
        ("from torch.distributed.fsdp import FSDPModule, fully_shard\n", []),
        ("from torch.distributed.fsdp._fully_shard import FSDPModule\n", []),
        ("import torch.distributed.fsdp\n", []),
        ("from .fsdp import FullyShardedDataParallel\n", []),
        ("# torch.distributed.fsdp.FullyShardedDataParallel\n", []),
        ("def broken(\n", []),
    ],
)
def test_names_of_fsdp1_are_listed(text: str, names: list[str]) -> None:
    found = list(listed(Source(Path("m.pyi"), text)))
    assert [item.tier for item in found] == [Tier.MANUAL] * len(names)
    assert [item.message.split(" of FSDP1")[0] for item in found] == [
        f"this stub names {name}" for name in names
    ]


def test_a_folder_with_a_stub_is_not_done() -> None:
    Path("m.pyi").write_text(IMPORT)
    ran = command(".")
    assert ran.out.startswith("m.pyi:1:1 FSDP622 this stub names FullyShardedDataParallel")
    assert ran.code == 1
    Path("train.py").write_text("import torch\n")
    assert "nothing to do" not in command(".").err


def test_a_stub_that_is_given_is_migrated() -> None:
    Path("m.pyi").write_text(IMPORT + "model: FSDP\n")
    assert command("--write", "m.pyi").code == 0
    assert "FSDPModule" in Path("m.pyi").read_text()
    assert "nothing of FSDP1" in command(".").err
