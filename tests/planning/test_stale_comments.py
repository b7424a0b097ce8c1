"""Comments that ask to leave a place alone, and do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import command

HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n"
WRAP = "model = FSDP(net)"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def warned(text: str) -> list[str]:
    """The warnings of a run over one file."""
    Path("train.py").write_text(text)
    lines = command("--check", ".").err.splitlines()
    start = "fsdp-migrate: warning: train.py: "
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{WRAP}  # fsdp-migrate: ignore\n", None),
        (f"{WRAP}  # fsdp-migrate: ignore[FSDP101]\n", None),
        (f"{WRAP}  # fsdp-migrate: ignore[FSDP101] kept for the old format\n", None),
        ("# fsdp-migrate: ignore-begin\n" + WRAP + "\n# fsdp-migrate: ignore-end\n", None),
        (
            f"{WRAP}  # fsdp-migrate: ignore[FSDP999]\n",
            "3:1 `ignore` names FSDP999, which is no code; did you mean FSDP",
        ),
        (
            f"{WRAP}  # fsdp-migrate: ignore[all]\n",
            "3:1 `ignore` names ALL, which is no code; see: fsdp-migrate rules",
        ),
        (
            f"{WRAP}  # fsdp-migrate: ignore[FSDP101, FSDP202]\n",
            "3:1 nothing here is reported as FSDP202",
        ),
        (f"{WRAP}\nx = 1  # fsdp-migrate: ignore\n", "4:1 nothing in this statement needs"),
        (f"{WRAP}\nx = 1  # fsdp-migrate: ignore[FSDP101]\n", "4:1 nothing here is reported as"),
        (f"{WRAP}  # fsdp-migrate: ignore[]\n", "3:1 `ignore[]` names no code"),
        (f"# fsdp-migrate: ignore-begin\n{WRAP}\n", "3:1 `ignore-begin` has no `ignore-end`"),
    ],
)
def test_what_does_nothing_is_said(text: str, expected: str | None) -> None:
    found = warned(HEAD + text)
    assert len(found) == (expected is not None)
    assert not found or found[0].startswith(str(expected))


def test_lines_are_those_of_the_file_where_calls_were_spelt_out() -> None:
    text = HEAD + (
        "def wrap(net, **options):\n    return FSDP(net, **options)\n\n\n"
        "model = wrap(net, cpu_offload=None)\nx = 1  # fsdp-migrate: ignore\n"
    )
    (said,) = warned(text)
    assert said.startswith("8:1 ")
