"""Names that began with a wrapper's name: where that matters, and where it doesn't."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.names_read import children_asked, names_read
from support.facts import Program

HEAD = """
import logging, re
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

model = FSDP(net, use_orig_params=True)
"""
LOOP = "for n, p in model.named_parameters():\n    "


@pytest.mark.parametrize(
    "text",
    [
        f"{LOOP}if n.startswith('head'): p.slow = True",
        f"{LOOP}if n == 'head.weight': p.slow = True",
        f"{LOOP}if n in wanted: p.slow = True",
        f"{LOOP}first = n.split('.')[0]",
        f"{LOOP}if re.match('head', n): p.slow = True",
        "slow = [p for n, p in model.named_parameters() if not n.startswith('head')]",
        "for i, (n, p) in enumerate(model.named_parameters()):\n    a = n.partition('.')",
        "for n, m in model.named_modules():\n    b = n != 'head'",
    ],
)
def test_its_beginning_decides(text: str) -> None:
    (found,) = names_read(Program(HEAD + text).facts)
    assert found.tests


@pytest.mark.parametrize(
    "text",
    [
        f"{LOOP}print(n, p.shape)",
        f"{LOOP}logging.info(f'{{n}} is here')",
        "print([n for n, _ in sorted(model.named_parameters())][:2])",
    ],
)
def test_it_is_printed(text: str) -> None:
    (found,) = names_read(Program(HEAD + text).facts)
    assert not found.tests


@pytest.mark.parametrize(
    "text",
    [
        f"{LOOP}if 'bias' in n: p.slow = True",
        f"{LOOP}if n.endswith('bias'): p.slow = True",
        f"{LOOP}last = n.split('.')[-1]",
        f"{LOOP}print(p.shape)",
        f"{LOOP}mean[n] = p.detach()",
        f"{LOOP}print(n.replace('_fsdp_wrapped_module.', ''))",
        "with FSDP.summon_full_params(model):\n    for n, p in model.named_parameters():\n"
        "        print(n)",
        "for n, p in net.named_parameters():\n    print(n)",
        "for n, p in model.module.named_parameters():\n    print(n)",
    ],
)
def test_nothing_is_asked_of_it(text: str) -> None:
    assert not list(names_read(Program(HEAD + text).facts))


def test_children_of_the_wrapper() -> None:
    assert len(list(children_asked(Program(f"{HEAD}list(model.children())").facts))) == 1
    for quiet in (
        "list(model.module.children())",
        "list(net.children())",
        "def walk(m):\n    for c in m.children():\n        walk(c)\nwalk(model)",
    ):
        assert not list(children_asked(Program(HEAD + quiet).facts)), quiet
