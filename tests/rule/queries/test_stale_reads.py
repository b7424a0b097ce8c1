"""Parameters that get past the wrap in ways that the text of a function doesn't show."""

from __future__ import annotations

import pytest

from fsdp_migrate.findings.finding import Tier
from support.programs import Run, migrate

HEAD = """\
import collections
import copy
import dataclasses
import functools
import itertools
import operator
import queue
import types
import typing

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)


def groups_of(model):
    return [{"params": list(model.parameters())}]


def count(model):
    return sum(p.numel() for p in model.parameters())


"""
MAIN = """
def main():
    net = Net()
{taken}
    model = FSDP(net, use_orig_params=True)
    optimizer = torch.optim.AdamW({given}, lr=1e-3)
    return model, optimizer
"""


def _run(taken: str, given: str, defined: str = "") -> Run:
    indented = "\n".join(f"    {line}" for line in taken.splitlines())
    return migrate({"train.py": HEAD + defined + MAIN.format(taken=indented, given=given)})


def _said(run: Run) -> list[Tier]:
    return [item.tier for item in run.findings if item.code == "FSDP501"]


REFUSED = {
    "closure": (
        "get = later(net)",
        "get()",
        "def later(net):\n    kept = list(net.parameters())\n\n"
        "    def get():\n        return kept\n    return get\n",
    ),
    "dataclass": (
        "split = Split(list(net.body.parameters()), list(net.head.parameters()))",
        "[{'params': split.one}, {'params': split.two}]",
        "@dataclasses.dataclass\nclass Split:\n    one: list\n    two: list\n",
    ),
    "named tuple": (
        "split = Split(list(net.body.parameters()), list(net.head.parameters()))",
        "[*split.one, *split.two]",
        "class Split(typing.NamedTuple):\n    one: list\n    two: list\n",
    ),
    "namespace": ("state = types.SimpleNamespace(all=list(net.parameters()))", "state.all", ""),
    "setattr": (
        "state = types.SimpleNamespace()\nsetattr(state, 'all', list(net.parameters()))",
        "state.all",
        "",
    ),
    "global": (
        "remember(net)",
        "EVERY",
        "EVERY = []\n\n\ndef remember(net):\n    EVERY.extend(net.parameters())\n",
    ),
    "queue": (
        "waiting = queue.Queue()\nfor p in net.parameters():\n    waiting.put(p)",
        "[waiting.get() for _ in range(4)]",
        "",
    ),
    "applied": (
        "every = []\nnet.apply(lambda m: every.extend(m.parameters(recurse=False)))",
        "every",
        "",
    ),
    "unfollowed": ("every = list(operator.methodcaller('parameters')(net))", "every", ""),
}
UNKNOWN_MODEL = "def make(name):\n    return globals()[name]()\n"


def test_what_an_unknown_model_applies_is_said() -> None:
    run = _run(
        "net = make('Net')\nevery = []\n"
        "net.apply(lambda m: every.extend(m.parameters(recurse=False)))",
        "every",
        UNKNOWN_MODEL,
    )
    assert not run.changed
    assert _said(run) == [Tier.MANUAL]


def test_what_is_made_of_an_unknown_model_in_another_one_is_said() -> None:
    run = _run(
        "plain = make('Net')\nevery = list(operator.methodcaller('parameters')(plain))\n"
        "net = {'outer': nn.Sequential}['outer'](plain)",
        "every",
        UNKNOWN_MODEL,
    )
    assert not run.changed
    assert _said(run) == [Tier.MANUAL]


TAKEN_ALONG = {
    "setdefault": (
        "by_kind = {}\nfor n, p in net.named_parameters():\n"
        "    group = by_kind.setdefault(p.ndim, {'params': []})\n    group['params'].append(p)",
        "list(by_kind.values())",
        "",
    ),
    "setdefault in a function": (
        "made = by_kind(net)",
        "made",
        "def by_kind(model):\n    found = {}\n    for n, p in model.named_parameters():\n"
        "        group = found.setdefault(p.ndim, {'params': []})\n"
        "        group['params'].append(p)\n    return list(found.values())\n",
    ),
    "copied": ("every = copy.copy(list(net.parameters()))", "every", ""),
    "keys": ("every = dict.fromkeys(net.parameters())", "every", ""),
    "grouped": (
        "made = [{'params': [p for _, p in items]} for _, items in"
        " itertools.groupby(net.named_parameters(), key=lambda pair: pair[0].split('.')[0])]",
        "made",
        "",
    ),
    "reduced": (
        "every = functools.reduce(lambda all, pair: all + [pair[1]], net.named_parameters(), [])",
        "every",
        "",
    ),
    "a method put on the class": (
        "made = net.configure(0.1)",
        "made",
        "def configure(self, decay):\n"
        "    return [{'params': list(self.parameters()), 'weight_decay': decay}]\n\n\n"
        "Net.configure = configure\n",
    ),
    "private dicts": (
        "every = []\nfor m in net.modules():\n    for n, p in m._parameters.items():\n"
        "        every.append(p)",
        "every",
        "",
    ),
    "private dicts of vars": (
        "every = []\nfor m in net.modules():\n    every.extend(vars(m)['_parameters'].values())",
        "every",
        "",
    ),
}
QUIET = {
    "asked below": ("print(count(net))", "model.parameters()", ""),
    "by a function used above, too": ("print(groups_of(net))", "groups_of(model)", ""),
    "names": ("names = sorted(n for n, _ in net.named_parameters())", "model.parameters()", ""),
    "a number": ("rate = 1 / count(net)", "model.parameters()", ""),
    "bound anew": ("made = groups_of(net)\nprint(len(made))\ndel made", "groups_of(model)", ""),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_what_only_the_analysis_follows_is_said(
    case: tuple[str, str, str],
) -> None:
    run = _run(*case)
    assert not run.changed
    assert _said(run) == [Tier.MANUAL]


@pytest.mark.parametrize("case", TAKEN_ALONG.values(), ids=list(TAKEN_ALONG))
def test_lists_that_are_seen_through_go_below(case: tuple[str, str, str]) -> None:
    run = _run(*case)
    assert run.changed
    assert Tier.MANUAL not in _said(run)
    text = run.after["train.py"]
    below = text[text.index("fully_shard(net)") :]
    assert case[0].splitlines()[-1].strip() in below


@pytest.mark.parametrize("case", QUIET.values(), ids=list(QUIET))
def test_what_is_asked_of_the_sharded_model_is_quiet(case: tuple[str, str, str]) -> None:
    run = _run(*case)
    assert run.changed
    assert _said(run) == []
