"""A project's own tests can keep the proof.

def test_training_is_unchanged():
    assert_trains_identically("train_fsdp1.py", "train_fsdp2.py", "--steps", "5")
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fsdp_migrate.runtime.compare import Tolerance, Verdict
from fsdp_migrate.runtime.verify.launch import Launch, Program
from fsdp_migrate.runtime.verify.proof import prove


def assert_trains_identically(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *arguments: str,
    module: str | None = None,
    launch: Launch | None = None,
    tolerance: Tolerance | None = None,
) -> Verdict:
    """Run two versions of a training program and fail with the first divergence.

    `old` and `new` are scripts, or the folders of two versions of `module`.  Both run under
    torchrun, each in the folder of its script; `{out}` in the arguments is a fresh folder for
    each, whose files are compared.  Without a GPU, CUDA programs are rehearsed on the CPU.
    """
    __tracebackhide__ = True
    programs = _program(Path(old), module, arguments), _program(Path(new), module, arguments)
    with tempfile.TemporaryDirectory(prefix="fsdp-migrate-") as work:
        proof = prove(*programs, Path(work), launch or Launch(), tolerance)
    if not proof.verdict.passed:
        raise AssertionError(str(proof.verdict))
    return proof.verdict


def _program(path: Path, module: str | None, arguments: tuple[str, ...]) -> Program:
    path = path.resolve()
    if module is not None:
        return Program(path, module, arguments, module=True)
    return Program(path.parent, str(path), arguments)
