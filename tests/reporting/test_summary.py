"""What people are told after a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsdp_migrate.discovery.discover import Discovered
from fsdp_migrate.discovery.tree import File
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.reporting.summary import blocks, counts, formatter, next_steps, nothing, render

MANUAL = Finding(Path("a.py"), 3, 5, "X1", "two\nlines", Tier.MANUAL)
NOTE = Finding(Path("b.py"), 1, 1, "X2", "know", Tier.NOTE)
OLD = File(Path("a.py"), b"FullyShardedDataParallel")
NEW = File(Path("b.py"), b"from torch.distributed.fsdp import fully_shard")


def test_people_get_a_line_for_each_finding() -> None:
    assert render("text", [MANUAL, NOTE], {}, []) == "a.py:3:5 X1 two lines\nb.py:1:1 X2 know\n"


def test_what_can_change_a_run_is_marked_and_counted() -> None:
    risky = replace(MANUAL, tier=Tier.NATIVE, safety=Safety.UNSAFE)
    assert render("text", [risky], {}, []) == "a.py:3:5 X1 [unsafe] two lines\n"
    assert "1 native" in counts([risky])
    assert "1 marked [unsafe]" in counts([risky])
    assert "unsafe" not in counts([MANUAL])


def test_no_text_of_the_tree_steers_the_terminal() -> None:
    odd = replace(
        MANUAL, path=Path("a\x1b]0;x\x07\n::error::b.py"), message="do \x1b[2J\u202e that"
    )
    shown = render("text", [odd], {}, [])
    assert shown == "a\\x1b]0;x\\x07\\n::error::b.py:3:5 X1 do \\x1b[2J\\u202e that\n"
    assert "\x1b" not in render("text", [replace(odd, held_by=odd.place)], {}, [])
    assert "\x1b" not in nothing(Discovered(seen=1), [odd])


def test_what_is_held_back_stands_below_what_holds_it() -> None:
    held = [replace(NOTE, line=n, tier=Tier.MANUAL, held_by=MANUAL.place) for n in (1, 2)]
    assert render("text", [held[0], NOTE, MANUAL, held[1]], {}, []).splitlines() == [
        "a.py:3:5 X1 two lines; blocks 2 others",
        "  b.py:1:1 X2 know",
        "  b.py:2:1 X2 know",
        "b.py:1:1 X2 know",
    ]
    assert render("text", [held[0]], {}, []).splitlines() == [
        "a.py:3:5 X1 stays as it is; blocks 1 other",
        "  b.py:1:1 X2 know",
    ]
    assert blocks([MANUAL, *held]) == "1 place blocks 2 others."
    assert blocks([MANUAL]) == ""


def test_all_that_blocks_stands_above_what_is_held_back() -> None:
    held = replace(NOTE, tier=Tier.MANUAL, held_by=MANUAL.place)
    second = replace(MANUAL, line=9, blocks_with=MANUAL.place)
    assert render("text", [held, MANUAL, second], {}, []).splitlines() == [
        "a.py:3:5 X1 two lines; blocks 1 other, with the 1 place below",
        "a.py:9:5 X1 two lines; blocks the same",
        "  b.py:1:1 X2 know",
    ]
    assert blocks([held, MANUAL, second]) == "2 places block 1 other."


def test_what_comments_silence_is_not_nothing() -> None:
    assert nothing(Discovered((OLD,), seen=1), [MANUAL]) == (
        "Left because of `fsdp-migrate: ignore` comments: 1 use of FSDP1, a.py:3. "
        "Nothing else to do."
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Discovered(), "No Python files here: nothing to do."),
        (
            Discovered(configs=(OLD,)),
            "No Python files here, and nothing of FSDP1 in 1 other file that may speak of it.",
        ),
        (Discovered(seen=1200), "No FSDP in 1,200 Python files: nothing to do."),
        (Discovered((NEW,), seen=3, fsdp2=1), "Already FSDP2 in 1 file of 3: nothing to do."),
    ],
)
def test_not_every_nothing_is_the_same(found: Discovered, said: str) -> None:
    assert nothing(found) == said


def test_a_name_that_is_only_mentioned() -> None:
    assert nothing(Discovered((OLD, NEW), seen=3, fsdp2=1)).startswith(
        "FSDP1 is mentioned in 1 file of 3, but none uses it"
    )


def test_counts() -> None:
    assert counts([MANUAL, NOTE]) == ("2 findings in 2 files: 0 native, 0 shim, 1 manual, 1 note.")


def test_next_steps_before_and_after_writing() -> None:
    path = Path("not_there/a.py")
    changes = {path: "from fsdp_migrate.runtime import wrap\n"}
    assert next_steps([NOTE], changes, [], ["--exclude", "*.gen.py", "my code"]) == [
        "Would change 1 file. To see how, and to do it:",
        "    fsdp-migrate --diff --exclude '*.gen.py' 'my code'",
        "    fsdp-migrate --write --exclude '*.gen.py' 'my code'",
    ]
    done = next_steps([MANUAL], changes, [path], [])
    assert done[0] == "Changed 1 file."
    assert done[1].startswith("1 place left to you (manual)")
    assert done[2] == "    fsdp-migrate explain X1"
    every = [replace(MANUAL, code=f"X{n}") for n in (5, 2, 4, 1, 3, 1)]
    assert next_steps(every, {}, [], [])[1] == "    fsdp-migrate explain X1 X2 X3 X4 X5"
    assert done[3].startswith("Training needs fsdp-migrate")


def test_the_nearest_project_file_names_the_formatter(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.py").touch()
    assert formatter([inner / "a.py"]) == f"ruff format {inner / 'a.py'}"
    (inner / "pyproject.toml").write_text("[project]\n")
    assert formatter([inner / "a.py"]) is None
    assert formatter([tmp_path / "gone.py"]) is None
