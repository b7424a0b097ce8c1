"""Units whose inputs are in the dtype of their parameters, whoever casts them."""

from __future__ import annotations

import pytest

from support.wraps import migrated, plans

ONE = "fully_shard(module, mp_policy=mp_policy)"
APART = "unit_policy = replace(mp_policy, cast_forward_inputs=False)"


def unit(forward: str, layer: str = "nn.Linear(4, 4)", more: str = "", around: str = "") -> str:
    """A program whose units have that `forward`."""
    return f"""\
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, hidden):
        return self.first(hidden).relu()


class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = {layer}
        self.second = nn.Linear(4, 4)

{forward}

{more}
def build():
    {around or "pass"}
    net = FSDP(
        nn.Sequential(Unit(), Unit()),
        mixed_precision=MixedPrecision(torch.bfloat16),
        auto_wrap_policy=ModuleWrapPolicy({{Unit}}),
    )
    return net
"""


@pytest.mark.parametrize(
    ("forward", "layer"),
    [
        ("    def forward(self, x):\n        return x + self.first(x)", "nn.Linear(4, 4)"),
        ("    def forward(self, x):\n        return self.first(x)", "nn.LayerNorm(4)"),
        ("    def forward(self, x):\n        return self.first(x)", "Inner()"),
        (
            "    def forward(self, x):\n        return self.first(x)",
            "nn.Sequential(nn.LayerNorm(4), nn.ReLU())",
        ),
        (
            "    def forward(self, x):\n        x = x + self.first(x)\n        return x",
            "nn.Linear(4, 4)",
        ),
        ("    def forward(self, ids):\n        return self.first(ids)", "nn.Embedding(4, 4)"),
    ],
)
def test_one_policy(forward: str, layer: str) -> None:
    after = migrated(unit(forward, layer))
    assert APART not in after
    assert ONE in after


@pytest.mark.parametrize(
    ("forward", "layer"),
    [
        ("    def forward(self, x, mask):\n        return self.first(x) + mask", "nn.Linear(4, 4)"),
        ("    def forward(self, *x):\n        return self.first(x)", "nn.Linear(4, 4)"),
        ("    def forward(self, x):\n        return self.first(x.half())", "nn.Linear(4, 4)"),
        ("    def forward(self, x):\n        return self.first(x)", "nn.RMSNorm(4)"),
        (
            "    def forward(self, x):\n        return self.first(x)",
            "nn.LayerNorm(4, elementwise_affine=False)",
        ),
        (
            "    def forward(self, x):\n        x = x.bfloat16()\n        return self.first(x)",
            "nn.Linear(4, 4)",
        ),
        (
            "    def forward(self, x):\n        if x.ndim:\n            return self.first(x)\n"
            "        return x",
            "nn.Linear(4, 4)",
        ),
    ],
)
def test_other_inputs_keep_their_dtype(forward: str, layer: str) -> None:
    assert APART in migrated(unit(forward, layer))


FORWARD = "    def forward(self, x):\n        return self.first(x)"


def test_autocast_takes_any_dtype() -> None:
    assert APART in migrated(unit(FORWARD, around='torch.autocast("cuda")'))


def test_a_class_below_may_take_more() -> None:
    more = "class Below(Unit):\n    def forward(self, x, mask=None):\n        return x\n\n"
    assert APART in migrated(unit(FORWARD, more=more))


@pytest.mark.parametrize(
    ("forward", "native"),
    [
        (FORWARD, True),
        ("    def forward(self, x, mask):\n        return self.first(x) + mask", False),
    ],
)
def test_a_root_that_may_be_a_unit_inside_another(forward: str, native: bool) -> None:
    text = f"""\
class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)

{forward}


class Holder(nn.Module):
    def __init__(self, unit):
        super().__init__()
        self.unit = unit


def shard():
    return FSDP(Unit(), mixed_precision=MixedPrecision(torch.bfloat16))


whole = FSDP(Holder(shard()))
"""
    inner = plans(text)[0]
    assert inner.native == native
