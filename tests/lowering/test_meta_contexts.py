"""Models that are made on the meta device, beside the one that is sharded."""

from __future__ import annotations

import pytest

from support.wraps import migrated

PROGRAM = """\
class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([Part(), Part()])


class Tool(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = {inside}


def load(path, make):
    with torch.device("meta"):
        tool = {made}
    tool.load_state_dict(torch.load(path), assign=True)
    return tool


def build(path, make):
    tool = load(path, make)
    net = {net}
    return tool, FSDP(net, device_id=0)
"""


def _after(inside: str = "nn.Conv2d(1, 1, 1)", made: str = "Tool()", net: str = "Net()") -> str:
    return migrated(PROGRAM.format(inside=inside, made=made, net=net))


def test_another_model_is_on_the_meta_device() -> None:
    assert "materialize" not in _after()


@pytest.mark.parametrize(
    "change",
    [
        {"inside": "Part()"},
        {"made": "Net()"},
        {"made": "make()"},
        {"made": "nn.Linear(2, 2)"},
        {"net": "make()"},
        {"net": "Tool()"},
    ],
    ids=str,
)
def test_the_model_may_be_there_too(change: dict[str, str]) -> None:
    assert "materialize" in _after(**change)
