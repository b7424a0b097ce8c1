"""CPU offload: on, off, and every way to choose."""

from __future__ import annotations

import pytest

from support.wraps import migrated, shown, wrapped

ON = "CPUOffloadPolicy()"
OFF = "OffloadPolicy()"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("CPUOffload(offload_params=True)", ON),
        ("CPUOffload(True)", ON),
        ("CPUOffload(flag)", f"{ON} if flag else {OFF}"),
        ("CPUOffload(True) if flag else None", f"{ON} if flag else {OFF}"),
        ("None if flag else CPUOffload(True)", f"{OFF} if flag else {ON}"),
        (
            "CPUOffload(flag is None) if other else None",
            f"{ON} if flag is None else {OFF} if other",
        ),
    ],
)
def test_what_is_offloaded(argument: str, expected: str) -> None:
    plan = wrapped(f"cpu_offload={argument}")
    assert plan.native
    assert plan.parts.offload is not None
    assert shown(plan.fact.module, plan.parts.offload.policy).startswith(expected)


@pytest.mark.parametrize(
    "argument", ["None", "CPUOffload()", "CPUOffload(False)", "None if flag else CPUOffload()"]
)
def test_off_is_nothing_at_all(argument: str) -> None:
    plan = wrapped(f"cpu_offload={argument}")
    assert plan.native
    assert plan.parts.offload is None


@pytest.mark.parametrize("argument", ["flag", "CPUOffload(**flag)", "CPUOffload(*flag)"])
def test_what_only_the_run_knows(argument: str) -> None:
    assert "only at run time" in wrapped(f"cpu_offload={argument}").reason


def test_choices_nest() -> None:
    plan = wrapped(
        "cpu_offload=(CPUOffload(True) if flag is not None else None) if other else None"
    )
    assert plan.parts.offload is not None
    made = shown(plan.fact.module, plan.parts.offload.policy)
    assert made == f"{ON} if flag is not None else {OFF} if other else {OFF}"


def test_what_the_author_wrote_is_not_searched_for_words_of_ours() -> None:
    test = "flag == 'None CPUOffloadPolicy() OffloadPolicy()'"
    text = f"def build(net, flag):\n    return FSDP(net, cpu_offload=CPUOffload({test}))\n"
    assert f"if {test}\n" in migrated(text)
