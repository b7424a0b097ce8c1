"""Tests wait for the program that they run, and it doesn't wait for them."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.finding import Tier
from support.programs import Run, migrate

LIBRARY = """\
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def build():
    return FSDP(nn.Linear(4, 4))
"""
TRAIN = "from build import build\n\nmodel = build()\nmodel.clip_grad_norm_(1.0)\n"
TEST = """\
from build import build


def test_clip():
    model = build()
    model.clip_grad_norm_(1.0)


def test_flat():
    model = build()
    model.clip_grad_norm_(1.0)
    assert model.params
"""
HELPED = "from tests.helper import check\n\n\ndef test_flat():\n    check()\n"
HELPER = """\
from build import build


def check():
    model = build()
    assert model.params
"""


def run(**files: str) -> Run:
    return migrate({f"{name.replace('__', '/')}.py": text for name, text in files.items()})


def lines(done: Run) -> list[tuple[str, int]]:
    """What is left to a person, by file and line."""
    return [(f.path.name, f.line) for f in done.findings if f.tier is Tier.MANUAL]


def test_only_the_test_that_cannot_be_migrated_stays() -> None:
    done = run(build=LIBRARY, train=TRAIN, tests__test_build=TEST)
    assert sorted(done.changed) == ["build.py", "tests/test_build.py", "train.py"]
    assert lines(done) == [("test_build.py", 11), ("test_build.py", 12)]


@pytest.mark.parametrize("name", ["test_build", "build_test", "conftest"])
def test_names_of_tests(name: str) -> None:
    assert "train.py" in run(build=LIBRARY, train=TRAIN, **{name: TEST}).changed


def test_what_stands_beside_tests_is_one_if_only_they_import_it() -> None:
    done = run(build=LIBRARY, train=TRAIN, tests__helper=HELPER, tests__test_build=HELPED)
    assert done.changed == ["build.py", "train.py"]
    used = f"from tests.helper import check\n{TRAIN}check()\n"
    assert not run(
        build=LIBRARY, train=used, tests__helper=HELPER, tests__test_build=HELPED
    ).changed


def test_a_program_that_only_tests_run_waits_for_them() -> None:
    assert not run(tests__test_build=LIBRARY + TEST.partition("\n\n\n")[2]).changed
