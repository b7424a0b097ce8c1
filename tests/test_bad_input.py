"""One file that nobody can read or follow spoils nothing: it is named, and the others go on."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Ran, command

HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\nimport torch\n\n"
WRAP = "model = FSDP(torch.nn.Linear(8, 8).cuda())\n"
GOOD = HEAD + WRAP


def _run(folder: Path, name: str, data: bytes) -> Ran:
    """Migrate a folder with a good file and the one that `data` is; the good one has to go on."""
    (folder / "good.py").write_text(GOOD)
    (folder / name).write_bytes(data)
    ran = command("--write", folder)
    assert "fully_shard(" in (folder / "good.py").read_text(), ran.err
    assert "Traceback" not in ran.err
    assert "bug" not in ran.err
    return ran


@pytest.mark.parametrize(
    "coding",
    [
        "hex",
        "rot13",
        "base64",
        "zlib",
        "undefined",
        "punycode",
        "idna",
        "unicode_escape",
        "utf-16",
        "utf-32-le",
        "mbcs",
        "no",
    ],
)
def test_a_coding_that_is_none_for_text(tmp_path: Path, coding: str) -> None:
    data = f"# -*- coding: {coding} -*-\n{GOOD}".encode()
    ran = _run(tmp_path, "bad.py", data)
    assert ran.code == 2
    assert "bad.py" in ran.err
    assert (tmp_path / "bad.py").read_bytes() == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD.encode() + b"\0", id="null byte"),
        pytest.param(codecs.BOM_UTF8 * 2 + GOOD.encode(), id="two marks"),
        pytest.param(
            codecs.BOM_UTF8 + b"# coding: latin-1\n" + GOOD.encode(), id="mark and coding"
        ),
        pytest.param(codecs.BOM_UTF8 + GOOD.encode() + b"s = '\xe9'\n", id="mark and wrong byte"),
        pytest.param(b"# coding: utf-7\n" + GOOD.encode() + b"s = '+AGE-'\n", id="not as written"),
    ],
)
def test_bytes_that_are_no_program(tmp_path: Path, data: bytes) -> None:
    ran = _run(tmp_path, "bad.py", data)
    assert ran.code == 2
    assert "bad.py" in ran.err
    assert (tmp_path / "bad.py").read_bytes() == data


def test_a_linked_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ran = _run(tmp_path, "user.py", b"# coding: hex\nimport good\n\ngood.model\n")
    assert "user.py" in ran.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes by name")
@pytest.mark.parametrize("name", ["pipe.py", "config.yaml", ".gitignore", "run.sh"])
def test_a_pipe_does_not_keep_a_run_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / "good.py").write_text(GOOD)
    ran = command("--write", tmp_path)
    assert "fully_shard(" in (tmp_path / "good.py").read_text()
    assert ("pipe.py: cannot read: not a regular file" in ran.err) == (name == "pipe.py")


DEEP: dict[str, Callable[[int], str]] = {
    "sum": lambda n: "x = " + " + ".join(["a"] * n),
    "calls": lambda n: "x = o" + ".f()" * n,
    "attributes": lambda n: "x = o" + ".f" * n,
    "subscripts": lambda n: "x = o" + "[0]" * n,
    "brackets": lambda n: "x = " + "[" * n + "]" * n,
    "not": lambda n: "x = " + "not " * n + "1",
    "conditional": lambda n: "x = " + "a if b else " * n + "1",
    "lambda": lambda n: "x = " + "lambda: " * n + "1",
    "elif": lambda n: "if a: pass\n" + "elif b: pass\n" * n,
    "and": lambda n: "x = " + "a and b or " * n + "c",
    "strings": lambda n: "x = (" + '"a"\n' * n + ")",
    "blocks": lambda n: "".join(" " * i + "if a:\n" for i in range(n)) + " " * n + "pass",
}


@pytest.mark.parametrize("size", [2_000, 20_000])
@pytest.mark.parametrize("kind", DEEP)
def test_what_is_too_deep_is_named(tmp_path: Path, kind: str, size: int) -> None:
    if kind == "blocks" and size > 2_000:
        pytest.skip("a file of gigabytes")
    data = f"{HEAD}{DEEP[kind](size)}\n{WRAP}".encode()
    ran = _run(tmp_path, "big.py", data)
    assert ran.code == 2
    assert "big.py" in ran.err
    assert (tmp_path / "big.py").read_bytes() == data


@pytest.mark.parametrize("kind", sorted(DEEP.keys() - {"brackets", "blocks", "calls"}))
def test_what_is_deep_is_migrated(tmp_path: Path, kind: str) -> None:
    ran = _run(tmp_path, "big.py", f"{HEAD}a = b = o = None\n{DEEP[kind](190)}\n{WRAP}".encode())
    assert ran.code == 0, ran.err
    assert "fully_shard(" in (tmp_path / "big.py").read_text()


ACCELERATE = "distributed_type: FSDP\nfsdp_config:\n  fsdp_sharding_strategy: FULL_SHARD\n"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(
            "a0: &a0 [x]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
            id="lists",
        ),
        pytest.param(
            "a0: &a0 {x: 1}\n"
            + "".join(
                f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n"
                for i in range(1, 12)
            ),
            id="tables",
        ),
        pytest.param("a: &a [*a]\nm: &m {k: *m}\n", id="in itself"),
        pytest.param(f"n: {'9' * 6000}\n", id="long number"),
        pytest.param("# -*- coding: hex -*-\n", id="a comment for Python"),
    ],
)
def test_yaml_that_is_odd_elsewhere_is_migrated(tmp_path: Path, before: str) -> None:
    _run(tmp_path, "config.yaml", (before + ACCELERATE).encode())
    assert (tmp_path / "config.yaml").read_text().startswith(before)
    assert "fsdp_version: 2" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("c.yaml", f"a: {'[' * 3000}{']' * 3000}\n{ACCELERATE}", id="deep YAML"),
        pytest.param("c.yaml", f"{ACCELERATE}fsdp_config: {{}}\n", id="a key twice"),
        pytest.param("c.yaml", f'{ACCELERATE}x: "\0"\n', id="null byte"),
        pytest.param("c.json", f'{{"fsdp": "full_shard", "n": {"9" * 6000}}}', id="long number"),
        pytest.param("c.json", f'{{"fsdp": "x", "n": {"[" * 9000}{"]" * 9000}}}', id="deep"),
        pytest.param("c.json", f'{{"fsdp": "x", "n": {"[" * 450}{"]" * 450}}}', id="half as deep"),
    ],
)
def test_configurations_that_cannot_be_followed_are_kept(
    tmp_path: Path, name: str, text: str
) -> None:
    _run(tmp_path, name, text.encode())
    assert (tmp_path / name).read_text() == text
