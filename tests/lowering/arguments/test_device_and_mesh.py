"""Devices and meshes: where the shards of a model go."""

from __future__ import annotations

import pytest

from fsdp_migrate.lowering.wrap_plan import WrapPlan
from support.wraps import migrated, plan, shown, wrapped

WORLD = "get_world_size()"
NAMES = 'mesh_dim_names=("replicate", "shard")'


def mesh(found: WrapPlan) -> str:
    """The mesh of a native plan."""
    assert found.native, found.reason
    return shown(found.fact.module, found.parts.mesh.code) if found.parts.mesh else ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("use_orig_params=True", ""),
        (
            "sharding_strategy=ShardingStrategy.NO_SHARD",
            f'init_device_mesh("cuda", ({WORLD}, 1), {NAMES})',
        ),
        (
            "sharding_strategy=ShardingStrategy.HYBRID_SHARD",
            f'init_device_mesh("cuda", ({WORLD} // device_count(), device_count()), {NAMES})',
        ),
        ("cpu_offload=CPUOffload(True)", ""),
        ("device_id=torch.device('cpu')", f'init_device_mesh("cpu", ({WORLD},))'),
        ("process_group=dist.new_group()", 'DeviceMesh.from_group(dist.new_group(), "cuda")'),
        (
            "process_group=flag",
            'DeviceMesh.from_group(flag or WORLD, "cuda")',
        ),
        (
            "process_group=other.group()",
            'DeviceMesh.from_group(other.group() or WORLD, "cuda")',
        ),
        ("device_mesh=other", "other"),
        ("device_mesh=None", ""),
    ],
)
def test_meshes(arguments: str, expected: str) -> None:
    assert mesh(wrapped(arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            "process_group=flag, sharding_strategy=other",
            "the process group is known only at run time",
        ),
        (
            "process_group=dist.new_group(), sharding_strategy=ShardingStrategy.NO_SHARD",
            "a process group together with this sharding strategy",
        ),
        (
            "device_mesh=dist.device_mesh.init_device_mesh('cuda', (2, 2))",
            "FSDP2 wants names for the dimensions of the mesh",
        ),
    ],
)
def test_meshes_that_have_no_native_form(arguments: str, reason: str) -> None:
    assert wrapped(arguments).reason == reason


def test_the_parts_of_a_model_share_a_mesh() -> None:
    text = """\
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = FSDP(Block())


outer = FSDP(Outer(), sharding_strategy=ShardingStrategy.NO_SHARD)
"""
    assert "FSDP101" not in migrated(text)
    assert 'fully_shard(outer, **sharding_kwargs("NO_SHARD"))' in migrated(text)


# ---------------------------------------------------------------------- devices
PLACE = 'int(os.environ["LOCAL_RANK"])'


@pytest.mark.parametrize(
    ("device", "lines"),
    [
        (PLACE, f"torch.cuda.set_device({PLACE})"),
        ("torch.device('cuda', 1)", "torch.cuda.set_device(torch.device('cuda', 1))"),
        ("torch.device('cuda')", ""),
        ("torch.cuda.current_device()", ""),
        (
            "rank",
            'if getattr(rank, "index", rank) is not None:\n        torch.cuda.set_device(rank)',
        ),
        (
            "pick()",
            'device = pick()\n    if getattr(device, "index", device) is not None:\n'
            "        torch.cuda.set_device(device)",
        ),
    ],
)
def test_the_device_becomes_the_current_one(device: str, lines: str) -> None:
    text = f"def build(net, rank, pick):\n    net = FSDP(net, device_id={device})\n    return net\n"
    above = f"    {lines}\n" if lines else ""
    assert migrated(text) == (
        f"def build(net, rank, pick):\n{above}    fully_shard(net)\n    return net\n"
    )


def test_nothing_is_said_where_the_program_sets_its_device() -> None:
    assert wrapped("device_id=flag", "torch.cuda.set_device(flag)").parts.device is None


@pytest.mark.parametrize(
    "line", ["# set_device, accelerate and lightning", "print('torch.cuda.set_device(0)')"]
)
def test_words_set_no_device(line: str) -> None:
    assert wrapped("device_id=flag", line).sets_device


def test_within_an_expression_a_note_has_to_do() -> None:
    found = plan("def build(net, rank):\n    return [FSDP(net, device_id=rank)]\n")
    assert found.parts.device is not None
    assert not found.sets_device


@pytest.mark.parametrize(
    "group", ["dist.group.WORLD", "dist.group.WORLD if flag else None", "dist.GroupMember.WORLD"]
)
def test_the_default_group_says_nothing(group: str) -> None:
    for strategy in ("FULL_SHARD", "NO_SHARD"):
        said = f"process_group={group}, sharding_strategy=ShardingStrategy.{strategy}"
        plan = wrapped(said)
        assert not plan.parts.residues
        assert (plan.parts.mesh is not None) == (strategy == "NO_SHARD")


def test_a_device_that_may_be_none_is_asked() -> None:
    filled = "kw = {}\nif os.sep:\n    kw['device_id'] = 1\n"
    found = plan(f"{filled}m = FSDP(Block(), device_id=kw.get('device_id'))\n")
    assert found.parts.device is not None
    assert not found.parts.device.has_number
