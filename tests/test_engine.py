"""The engine as a whole: what it takes, and what it does not say."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from fsdp_migrate import engine
from fsdp_migrate.findings.options import Options
from support.programs import FOLDER, dedent, migrate, source

PROGRAM = dedent(
    r"""
    import re
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

    DIGITS = re.compile("\d+")
    model = FSDP(nn.Linear(2, 2))
    """
)


@pytest.mark.parametrize("options", [Options(), Options("vendor"), Options(mark=True)])
def test_what_python_thinks_of_the_users_code_is_not_repeated(options: Options) -> None:
    """Up to Python 3.11 `"\\d"` is worth a DeprecationWarning, from 3.12 on a SyntaxWarning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = migrate(PROGRAM, options)
    assert run.changed
    assert not run.errors


def test_a_file_that_cannot_be_parsed_is_an_error_unless_it_is_only_looked_at() -> None:
    broken = source("broken.py", "def (:\n")
    train = source("train.py", PROGRAM)
    done = engine.migrate([train, broken], Options())
    assert [(each.path.name, each.message) for each in done.errors] == [
        ("broken.py", "1:5 cannot be parsed: invalid syntax")
    ]
    assert list(done.changes) == [FOLDER / "train.py"]
    assert not engine.migrate([train], Options(), [broken]).errors


def test_a_file_can_ask_to_be_left_alone() -> None:
    run = migrate(f"# fsdp-migrate: ignore-file\n{PROGRAM}")
    assert not run.changed
    assert not run.findings


def test_nothing_comes_of_nothing() -> None:
    assert engine.migrate([], Options()) == engine.Migration()


def test_findings_are_in_the_order_of_the_files() -> None:
    run = migrate({"b.py": PROGRAM, "a.py": PROGRAM})
    places = [(item.path, item.line, item.col) for item in run.findings]
    assert places == sorted(places)
    assert {path for path, _, _ in places} == {Path("/project/a.py"), Path("/project/b.py")}
