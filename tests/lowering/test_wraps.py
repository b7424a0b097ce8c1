"""The plans of a program."""

from __future__ import annotations

import pytest

from support.wraps import migrated, plans

HALF = "half = MixedPrecision(torch.bfloat16)\nprint(half)\n"


def test_every_wrap_has_a_plan() -> None:
    assert [p.fact.node.lineno for p in plans("a = FSDP(Block())\nb = FSDP(Block())\n")] == [18, 19]


def test_an_object_is_rewritten_where_all_readers_are_native() -> None:
    text = (
        f"{HALF}a = FSDP(Block(), mixed_precision=half)\nb = FSDP(Block(), mixed_precision=half)\n"
    )
    assert all(plan.native for plan in plans(text))


def test_one_reader_that_is_not_takes_the_others_along() -> None:
    text = f"""\
{HALF}other = MixedPrecision(torch.float16)
print(other)
a = FSDP(Block(), mixed_precision=half)
b = FSDP(Block(), mixed_precision=half if a else other)
c = FSDP(Block(), mixed_precision=other, other=print)
"""
    found = plans(text)
    assert all(plan.leaves("mixed_precision") for plan in found)
    assert [plan.native for plan in found] == [True, True, False]


def test_each_program_has_facts_of_its_own() -> None:
    alone = {"alone.py": "import torch\n\ntorch.cuda.set_device(0)\n"}
    (plan,) = plans("def f(net, d):\n    net = FSDP(net, device_id=d)\n    return net\n", alone)
    assert plan.parts.device is not None


@pytest.mark.parametrize(
    "taken",
    [
        "{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}",
        "dataclasses.asdict(self)",
        "dict(vars(self))",
        "self.__dict__",
    ],
)
def test_a_call_whose_arguments_are_not_seen_may_be_given_anything(taken: str) -> None:
    text = f"""\
import dataclasses


@dataclasses.dataclass
class Options:
    mixed_precision: object = None
    cpu_offload: object = None

    def as_kwargs(self):
        return {taken}


def build(flag):
    options = Options(MixedPrecision(torch.bfloat16), CPUOffload(flag))
    return FSDP(Block(), **options.as_kwargs())
"""
    after = migrated(text)
    assert "fully_shard_from_fsdp1(Block(), **options.as_kwargs())" in after
    assert "Options(MixedPrecision(torch.bfloat16), CPUOffload(flag))" in after


@pytest.mark.parametrize(
    ("spread", "native"),
    [
        ("def wrap(**kw):\n    return FSDP(Block(), **kw)\n", True),
        ("def wrap(**kw):\n    kw['x'] = 1\n    return FSDP(Block(), **dict(kw, a=1))\n", True),
        ("def wrap(kw):\n    return FSDP(Block(), **kw)\n", False),
        ("def wrap(*a, **kw):\n    return FSDP(*a, **kw)\n", False),
    ],
)
def test_callers_outside_of_the_program_have_values_of_their_own(spread: str, native: bool) -> None:
    *_, plan = plans(f"{spread}\n\n{HALF}model = FSDP(Block(), mixed_precision=half)\n")
    assert plan.leaves("mixed_precision") is not native
