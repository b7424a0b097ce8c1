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
from fsdp_migrate.runtime.verify.scratch import copy_project


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
    torchrun, each in a copy of the folder of its script; what they write there is compared, and
    so is what they write to `{out}` in the arguments, a fresh folder for each.  Without a GPU,
    CUDA programs are rehearsed on the CPU.
    """
    __tracebackhide__ = True
    with tempfile.TemporaryDirectory(prefix="fsdp-migrate-") as work:
        copies = Path(work).resolve()
        before = _program(Path(old), copies / "old", module, arguments)
        after = _program(Path(new), copies / "new", module, arguments)
        proof = prove(before, after, copies / "recordings", launch or Launch(), tolerance)
    if not proof.verdict.passed:
        raise AssertionError(str(proof.verdict))
    return proof.verdict


def _program(path: Path, copy: Path, module: str | None, arguments: tuple[str, ...]) -> Program:
    path = path.resolve()
    copy_project(path if module is not None else path.parent, copy)
    target = module if module is not None else str(copy / path.name)
    return Program(copy, target, arguments, module is not None, copy, scratch=True)
