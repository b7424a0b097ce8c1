"""`--allow-incomplete`: the rest is migrated, and what is left stops the program where it runs."""

from __future__ import annotations

from fsdp_migrate.findings.finding import Tier
from fsdp_migrate.findings.options import Options
from support.programs import Run, dedent, migrate

INCOMPLETE = Options(allow_incomplete=True)
HEAD = """\
import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

"""
WRAP = "model = FSDP(nn.Linear(2, 2))\n"


def run(context: dict[str, str] | None = None, **files: str) -> Run:
    return migrate({f"{n}.py": dedent(t) for n, t in files.items()}, INCOMPLETE, context)


def stops(text: str) -> list[tuple[int, str]]:
    """The lines that raise an error of ours, and the statement below each."""
    lines = text.splitlines()
    return [
        (n, lines[n].strip())
        for n, line in enumerate(lines, 1)
        if line.strip().startswith("raise NotImplementedError('fsdp-migrate FSDP406: ")
        or line.strip().startswith('raise NotImplementedError("fsdp-migrate FSDP406: ')
    ]


def test_the_rest_is_migrated_and_the_place_raises() -> None:
    done = run(train=HEAD + WRAP + "print(model._handle)\nmodel.clip_grad_norm_(1.0)\n")
    after = done.after["train.py"]
    assert "\nfully_shard(model)\n" in after
    assert "nn.utils.clip_grad_norm_(model.parameters(), 1.0)" in after
    assert [below for _, below in stops(after)] == ["print(model._handle)"]
    (left,) = [item for item in done.findings if item.tier is Tier.MANUAL]
    assert left.code == "FSDP406"


def test_a_second_run_adds_nothing() -> None:
    done = run(train=HEAD + WRAP + "print(model._handle)\n")
    assert done.second.after == done.after


def test_a_statement_raises_once_and_where_it_runs() -> None:
    used = """
    def peek(x):
        '''Look.'''
        if x:
            return 1
        elif model._is_root:
            return 2
        return model._handle, model._handles

    peek(1)
    """
    after = run(train=HEAD + WRAP + dedent(used)).after["train.py"]
    assert [below for _, below in stops(after)] == ["if x:", "return model._handle, model._handles"]


def test_a_model_that_stays_keeps_its_users() -> None:
    """There is nothing incomplete about a program that is FSDP1's in all its parts."""
    net = HEAD + "class Net(FSDP):\n    pass\n"
    steps = HEAD + "def clip(model):\n    if isinstance(model, FSDP):\n        pass\n"
    train = "from net import Net\nfrom steps import clip\n\nclip(Net(1))\n"
    assert not run(net=net, steps=steps, train=train).changed
    comment = "  # fsdp-migrate: ignore\nprint(model._handle)\n"
    assert not run(train=HEAD + WRAP.rstrip() + comment).changed


def test_a_file_that_is_not_given_is_named() -> None:
    wrap = HEAD + "def shard(net):\n    return FSDP(net)\n"
    train = "from wrap import shard\n\nshard(None).clip_grad_norm_(1.0)\n"
    done = run(wrap=wrap, context={"train.py": train})
    assert done.changed == ["wrap.py"]
    assert [item.path.name for item in done.findings if item.code == "FSDP110"] == ["train.py"]
    done = migrate({"train.py": train}, INCOMPLETE, {"wrap.py": wrap})
    assert not done.changed
