"""Calls that name the arguments which a dict has for them."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.spread_arguments import spelt_out
from fsdp_migrate.syntax.splices import splice
from support.programs import Analysis, dedent

HEAD = """\
import os
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

"""


def _spelt(text: str) -> str:
    """The program with all arguments named, without the head."""
    whole = HEAD + dedent(text)
    found = Analysis(whole)
    spelt = spelt_out(found.solver, found.solver.wraps.values())
    made = splice(found.module().source.text, [s for each in spelt for s in each.splices])
    assert made.text.startswith(HEAD)
    assert made.text.count("\n") == whole.count("\n")
    return made.text.removeprefix(HEAD)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'kw = {"cpu_offload": None}\nm = FSDP(net, **kw)\n',
            'm = FSDP(net, cpu_offload=kw["cpu_offload"])\n',
        ),
        (
            "kw = {}\nif net:\n    kw['sync_module_states'] = True\nm = FSDP(net, **kw)\n",
            "m = FSDP(net, sync_module_states=kw.get('sync_module_states', False))\n",
        ),
        (
            "kw = dict(forward_prefetch=True)\nprint(kw)\nm = FSDP(net, **kw)\n",
            "m = FSDP(net, limit_all_gathers=True)\n",
        ),
        (
            "def kw():\n    return dict(cpu_offload=None)\n\n\nm = FSDP(nn.Linear(2, 2), **kw())\n",
            'm = nn.Linear(2, 2); kwargs = kw(); m = FSDP(m, cpu_offload=kwargs["cpu_offload"])\n',
        ),
    ],
)
def test_a_dict_of_known_keys_is_read_key_by_key(before: str, after: str) -> None:
    assert _spelt(f"net = nn.Linear(2, 2)\n{before}").endswith(after)


def test_keywords_that_are_handed_on_become_parameters() -> None:
    text = """
        def wrap(net, **kw):
            return FSDP(net, **kw)


        wrap(nn.Linear(2, 2), cpu_offload=None)
        wrap(nn.Linear(2, 2), use_orig_params=True)
    """
    made = _spelt(text)
    assert "def wrap(net, cpu_offload=None, use_orig_params=False):\n" in made
    assert "FSDP(net, cpu_offload=cpu_offload, use_orig_params=use_orig_params)\n" in made


@pytest.mark.parametrize(
    "line",
    [
        "print(kw)",  # something else reads the dict
        "cpu_offload = 1",  # there is a variable of that name
    ],
)
def test_keywords_are_read_where_they_can_be_no_parameters(line: str) -> None:
    text = f"def wrap(net, **kw):\n    {line}\n    return FSDP(net, **kw)\n\n\n"
    made = _spelt(f"{text}wrap(nn.Linear(2, 2), cpu_offload=None)\n")
    assert "def wrap(net, **kw):\n" in made
    assert 'FSDP(net, cpu_offload=kw.get("cpu_offload"))\n' in made


@pytest.mark.parametrize(
    "text",
    [
        "def wrap(net, **kw):\n    return FSDP(net, **kw)\n",  # nobody here calls it
        "def wrap(net, kw):\n    return FSDP(net, **kw)\n\n\nwrap(nn.Linear(2, 2), os.environ)\n",
        "def kw():\n    return {'cpu_offload': None}\n\n\nprint(FSDP(nn.Linear(2, 2), **kw()))\n",
    ],
)
def test_what_is_not_known_stays(text: str) -> None:
    assert _spelt(text) == dedent(text)


def test_what_fsdp1_refuses_has_been_taken_out() -> None:
    text = """
        kw = {"name": 1, "cpu_offload": None}
        name = kw.pop("name")
        m = FSDP(nn.Linear(2, 2), **kw)
    """
    assert 'FSDP(nn.Linear(2, 2), cpu_offload=kw["cpu_offload"])\n' in _spelt(text)
