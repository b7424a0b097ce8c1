"""The list of what an FSDP1 model has, against models of the installed torch: nothing is missing.

What the list says of a member is held too: a rule answers with a fix or with a finding, and where
nothing changes nothing is said.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed import fsdp  # noqa: E402
from torch.distributed.fsdp import (  # noqa: E402
    FullyShardedDataParallel,
    ShardingStrategy,
    _init_utils,
    _runtime_utils,
    fully_sharded_data_parallel,
)

from fsdp_migrate.findings.finding import Tier  # noqa: E402
from fsdp_migrate.rule.registry import load_rules  # noqa: E402
from fsdp_migrate.syntax.fsdp1_members import (  # noqa: E402
    ATTRIBUTES,
    METHODS,
    MODULE,
    PRIVATE,
    Account,
    Kind,
)
from support.programs import migrate  # noqa: E402

REGISTRY = load_rules()
OWN: Mapping[str, Account] = {**ATTRIBUTES, **PRIVATE, **METHODS}
STATE = frozenset({"fsdp_state", "root_state", "self", "state"})


@pytest.fixture(scope="module")
def members() -> Iterator[set[str]]:
    """What FSDP1 models have that plain modules have not, before and after a step."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    found: set[str] = set()
    for use_orig_params in (True, False):
        for strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.NO_SHARD):
            net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            plain = {*dir(net), *vars(net)}
            model = FullyShardedDataParallel(
                net,
                device_id=torch.device("cpu"),
                sharding_strategy=strategy,
                use_orig_params=use_orig_params,
            )
            found |= {*dir(model), *vars(model)} - plain
            model(torch.ones(2, 4)).sum().backward()
            found |= {*dir(model), *vars(model)} - plain
    yield {name for name in found if not name.startswith("__")}
    dist.destroy_process_group()


def test_every_member_of_a_model_is_accounted_for(members: set[str]) -> None:
    assert not members - set(OWN)


def test_what_is_listed_is_there(members: set[str]) -> None:
    """But for the few that are set in other settings, or were in older versions."""
    elsewhere = {
        "_handles",
        "_streams",
        "_all_gather_stream",
        "_lazy_init",
        "_reshard",
        "flat_param",
    }
    assert set(OWN) - members <= elsewhere | assigned()
    assert set(METHODS) | {"module"} <= members


def assigned() -> set[str]:
    """The attributes that FSDP1's sources set on the state of a model."""
    found: set[str] = set()
    for source in (_init_utils, _runtime_utils, fully_sharded_data_parallel):
        for node in ast.walk(ast.parse(Path(inspect.getfile(source)).read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in STATE:
                    found.add(node.attr)
    return found


def test_every_attribute_that_the_sources_set_is_accounted_for() -> None:
    assert not assigned() - set(OWN)


def test_every_member_of_modules_is_accounted_for() -> None:
    public = {name for name in dir(nn.Module()) if not name.startswith("_")}
    assert public == set(MODULE)


def test_no_member_is_listed_twice() -> None:
    tables = (ATTRIBUTES, PRIVATE, METHODS, MODULE)
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(OWN))
def test_whom_a_member_belongs_to(name: str) -> None:
    """The rule that is named in the list is the one that is asked."""
    account = OWN[name]
    static = isinstance(inspect.getattr_static(FullyShardedDataParallel, name, None), staticmethod)
    if name in REGISTRY.by_method:
        assert REGISTRY.by_method[name].code == account.rule
    else:
        assert static
    if static and not name.startswith("_"):
        symbol = f"torch.distributed.fsdp.FullyShardedDataParallel.{name}"
        assert account.rule in {rule.code for rule in REGISTRY.owners(symbol)}


def program(line: str) -> str:
    return "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n\n\n" + (
        textwrap.dedent(f"""\
            def main(net):
                model = FSDP(net)
                value = {line}
                return value
            """)
    )


@pytest.mark.parametrize("name", sorted({**ATTRIBUTES, **PRIVATE}))
def test_reading_a_member_is_answered(name: str) -> None:
    """With a fix where there is a rule, and with words where a person has to decide."""
    account = {**ATTRIBUTES, **PRIVATE}[name]
    field = {"mixed_precision": ".param_dtype", "cpu_offload": ".offload_params"}.get(name, "")
    run = migrate(program(f"model.{name}{field}"))
    tiers = {item.tier for item in run.findings if item.code == account.rule}
    if account.kind is Kind.RULE and account.rule != "FSDP406":
        assert tiers == {Tier.NATIVE}
        assert f".{name}" not in run.after["train.py"]
    else:
        assert tiers == {Tier.MANUAL}


@pytest.mark.parametrize("name", [n for n, a in MODULE.items() if a.kind is Kind.SAME])
def test_nothing_is_said_of_what_does_not_change(name: str) -> None:
    run = migrate(program(f"model.{name}"))
    assert {item.code for item in run.findings} == {"FSDP101"}


def test_every_function_of_fsdp_is_owned() -> None:
    """Public names have a test of their own; this one is about the private modules."""
    folder = Path(inspect.getfile(fsdp)).parent
    private = {path.stem for path in folder.glob("_*.py")} - {"__init__"}
    for stem in sorted(private - {"_fully_shard"}):
        assert REGISTRY.owners(f"torch.distributed.fsdp.{stem}.anything"), stem
