"""CPUOffload and MixedPrecision objects become policies where they are made, with all readers."""

from __future__ import annotations

import pytest

from support.wraps import migrated, plan

HALF = "MixedPrecision(param_dtype=torch.half, buffer_dtype=torch.half)"
WRAP = "model = FSDP(Block(), mixed_precision=x)\n"
OFFLOADED = "model = FSDP(Block(), cpu_offload=x)\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"x = {HALF}\n{WRAP}", ["x = MixedPrecisionPolicy(param_dtype=torch.half)"]),
        (f"x = {HALF}\n{WRAP}print(x.buffer_dtype)\n", ["print(x.param_dtype)"]),
        (f"x = {HALF}\n{WRAP}assert isinstance(x, MixedPrecision)\n",
         ["assert isinstance(x, MixedPrecisionPolicy)"]),
        (f"x: MixedPrecision = {HALF}\n{WRAP}", ["x: MixedPrecisionPolicy = Mixed"]),
        (f"x = CPUOffload(True)\n{OFFLOADED}", ["x = CPUOffloadPolicy()"]),
        (f"x = CPUOffload()\n{OFFLOADED}", ["x = OffloadPolicy()"]),
        (f"x = CPUOffload(offload_params=os.sep)\n{OFFLOADED}",
         ["x = CPUOffloadPolicy() if os.sep else OffloadPolicy()"]),
        (f"x = CPUOffload(True) if os.sep else None\n{OFFLOADED}if x:\n    print(1)\n",
         ["x = CPUOffloadPolicy() if os.sep else None", "offload_policy=x or OffloadPolicy()"]),
        (f"x = CPUOffload(True)\n{OFFLOADED}print(x.offload_params)\n",
         ["print(isinstance(x, CPUOffloadPolicy))"]),
        ("def f(x: CPUOffload):\n    return FSDP(Block(), cpu_offload=x)\n\n\n"
         "f(CPUOffload(True))\n", ["def f(x: OffloadPolicy):", "f(CPUOffloadPolicy())"]),
    ],
)  # fmt: skip
def test_all_that_makes_and_reads_them(text: str, lines: list[str]) -> None:
    after = migrated(text)
    assert "fsdp_migrate" not in after
    assert all(line in after for line in lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"x = {HALF}\n{WRAP}print(x.keep_low_precision_grads)\n", "keep_low_precision_grads"),
        (f"x = MixedPrecision(torch.half, buffer_dtype=torch.float)\n{WRAP}x.buffer_dtype\n",
         "an attribute of it is read"),
        (f"x = {HALF}\n{WRAP}x.param_dtype = torch.float\n", "an attribute of it is read"),
        (f"x = {HALF}\n{WRAP}print(type(x))\n", "it is asked for its class"),
        (f"x = {HALF}\n{WRAP}other.take(x)\n", "it is given to `other.take`"),
        (f"x = CPUOffload(*flags)\n{OFFLOADED}", "through `*`"),
    ],
)  # fmt: skip
def test_what_no_policy_has_an_answer_to(text: str, why: str) -> None:
    made = plan(text)
    assert made.native
    assert why in made.reason


def test_the_result_of_a_call_is_asked_once() -> None:
    text = (
        "def f(kind):\n"
        f"    if kind:\n        return MixedPrecision({'torch.half, torch.half, torch.half'})\n"
        "    return None\n\n\n"
        "model = FSDP(nn.BatchNorm1d(2), mixed_precision=f(1))\n"
    )
    after = migrated(text)
    assert after.count("f(1)") == 1
    assert "if mp_policy.param_dtype is not None:" in after
