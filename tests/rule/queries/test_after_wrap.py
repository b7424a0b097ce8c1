"""Whether code can run when a model is sharded."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.rule.queries.after_wrap import Running
from support.facts import Program

HEAD = """\
import functools
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy


def mark(m):
    return m


"""


def may_be_sharded(text: str) -> bool:
    program = Program(HEAD + text)
    module = program.module()
    (place,) = (n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "probe")
    return Running(program.facts).may_be_sharded(module, place)


@pytest.mark.parametrize(
    "text",
    [
        "def main(net, probe):\n    net(probe)\n    model = FSDP(net)\n",
        "def main(net):\n    net.apply(lambda m: probe(m))\n    model = FSDP(net)\n",
        "def init(m):\n    probe(m)\n\n\ndef main(net):\n    net.apply(init)\n    FSDP(net)\n",
        "def init(m):\n    probe(m)\n\n\ndef main(net):\n    FSDP(init(net))\n",
        "def main(net):\n    p = functools.partial(lambda_auto_wrap_policy, lambda_fn=lambda m: "
        "probe(m))\n    FSDP(net, auto_wrap_policy=p)\n",
        "def p(module, recurse, nonwrapped_numel):\n    return probe(module)\n\n\n"
        "def main(net):\n    FSDP(net, auto_wrap_policy=p)\n",
    ],
)
def test_before_the_wrap(text: str) -> None:
    assert not may_be_sharded(text)


@pytest.mark.parametrize(
    "text",
    [
        "def main(net):\n    model = FSDP(net)\n    probe(model)\n",
        "def main(net):\n    model = FSDP(net)\n    model.apply(lambda m: probe(m))\n",
        "def main(nets):\n    for net in nets:\n        FSDP(net)\n        probe(net)\n",
        "def main(nets):\n    for net in nets:\n        if net:\n            FSDP(net)\n"
        "    probe(nets)\n",
        "def hook(m):\n    probe(m)\n\n\ndef main(net):\n    net.register_forward_hook(hook)\n"
        "    FSDP(net)\n",
        "def nobody_knows(m):\n    probe(m)\n\n\ndef main(net):\n    FSDP(net)\n",
        "def f(m):\n    probe(m)\n\n\ndef main(net):\n    f(net)\n    FSDP(net)\n    f(1)\n",
    ],
)
def test_after_the_wrap_or_nobody_knows(text: str) -> None:
    assert may_be_sharded(text)
