"""Comments above what is left to a person."""

from __future__ import annotations

from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rewriting.todo_comments import mark
from support.programs import dedent, migrate

TEXT = dedent(
    """
    # says what it does
    @decorated
    def build(model):
        x = call(
            model,
        )
    """
)


def left(line: int, code: str = "X1", tier: Tier = Tier.MANUAL) -> Finding:
    return Finding(Path("a.py"), line, 1, code, f"do {code}", tier)


def test_the_comment_stands_above_the_statement() -> None:
    assert mark(TEXT, [left(5)]) == TEXT.replace(
        "    x = call(", "    # TODO(fsdp-migrate): X1 do X1\n    x = call("
    )


def test_a_decorated_function_is_marked_above_its_decorators() -> None:
    assert mark(TEXT, [left(2)]).splitlines()[:3] == [
        "# says what it does", "# TODO(fsdp-migrate): X1 do X1", "@decorated",
    ]  # fmt: skip


def test_one_comment_for_each_code_and_none_for_what_is_no_work() -> None:
    once = mark(TEXT, [left(4), left(5), left(4, "X2"), left(4, "X3", Tier.NOTE)])
    assert once.count("TODO") == 2
    assert "X3" not in once


def test_a_second_run_adds_nothing() -> None:
    once = mark(TEXT, [left(4)])
    assert mark(once, [left(5)]) == once


def test_line_ends_are_those_of_the_file() -> None:
    marked = mark("x = 1\r\ny = 2\r\n", [left(2)])
    assert marked == "x = 1\r\n# TODO(fsdp-migrate): X1 do X1\r\ny = 2\r\n"


def test_files_that_are_left_alone_are_marked() -> None:
    text = dedent(
        """
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

        class Sharded(FSDP):
            pass
        """
    )
    run = migrate(text, Options(mark=True))
    assert "# TODO(fsdp-migrate): FSDP" in run.after["train.py"]
    assert not migrate(text).changed
