"""Comments above what is left to a person."""

from __future__ import annotations

from dataclasses import replace
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


def test_what_is_held_back_and_lines_that_move_are_not_written_down() -> None:
    blocker = replace(left(4), message="see b.py:12:3 and c.py:7\nthen do it")
    held = replace(left(2), held_by=blocker.place)
    (comment,) = [x for x in mark(TEXT, [blocker, held]).splitlines() if "TODO" in x]
    assert comment.strip() == "# TODO(fsdp-migrate): X1 see b.py and c.py then do it"


def test_a_comment_goes_when_it_is_done_and_changes_with_what_is_to_do() -> None:
    once = mark(TEXT, [left(2), left(4)])
    assert mark(once, [replace(left(5), line=6)]) == mark(TEXT, [left(4)])
    assert mark(once, []) == TEXT
    assert mark(once, [], add=False) == TEXT
    assert mark(once, [left(6), left(6, "X2")], add=False) == mark(TEXT, [left(4)])
    assert mark(TEXT, [left(4)], add=False) == TEXT


def test_a_text_that_looks_like_a_comment_stays() -> None:
    text = 'x = """\n# TODO(fsdp-migrate): X1 do\n"""\ny = 1  # TODO(fsdp-migrate): X1 do\n'
    assert mark(text, []) == text


def test_nothing_is_put_into_the_middle_of_a_line_that_goes_on() -> None:
    text = "x = 1; \\\n    y = 2\n"
    assert mark(text, [left(2)]) == text


def test_a_file_that_also_changes_is_marked_and_a_later_run_cleans_up() -> None:
    text = dedent(
        """
        import torch
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

        model = FSDP(torch.nn.Linear(8, 8))


        def other(net):
            return [h.flat_param for h in FSDP(net)._handles]
        """
    )
    run = migrate(text, Options(mark=True))
    after = run.after["train.py"]
    assert "fully_shard(" in after
    assert after.count("TODO(fsdp-migrate)") == 1
    done = migrate(after.replace("[h.flat_param for h in FSDP(net)._handles]", "[]"))
    assert "TODO" not in done.after["train.py"]


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
