"""Where the values of FSDP1's attributes come from."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.code import Code, Kept, Literal, Name, Part
from fsdp_migrate.rule.queries.model_attributes import (
    ends_distributed,
    is_of_inner,
    is_repeatable,
    value_now,
)
from support.facts import Program

HEAD = """\
import torch
import torch.distributed as dist
from torch.distributed.fsdp import CPUOffload, FullyShardedDataParallel as FSDP, MixedPrecision
from torch.distributed.fsdp import ShardingStrategy


def main(net, group, flag):
"""


def value(arguments: str, attribute: str) -> Part | None:
    body = f"    model = FSDP(net{arguments})\n    return model.{attribute}\n"
    program = Program(HEAD + body)
    use = program.use(attribute.partition(".")[0])
    return value_now(program.facts, use.module, use.node, use.wraps, tuple(attribute.split(".")))


def said(part: Part | None) -> str | None:
    match part:
        case None:
            return None
        case Literal():
            return part.source
        case Name():
            return str(part)
        case Kept():
            return "kept"
        case Code():
            filled = {}
            for name, hole in part.holes:
                parts = hole if isinstance(hole, tuple) else (hole,)
                filled[name] = ", ".join(str(said(p)) for p in parts)  # type: ignore[arg-type]
            return part.template.format(**filled)
    return "?"


RANK = "torch.distributed.get_rank()"
DEVICE = 'torch.device("cuda", torch.cuda.current_device())'


@pytest.mark.parametrize(
    ("arguments", "attribute", "expected"),
    [
        ("", "rank", RANK),
        (", process_group=None", "rank", RANK),
        (", process_group=dist.group.WORLD", "rank", RANK),
        (", process_group=group", "rank", "torch.distributed.get_rank(kept)"),
        (", process_group=group", "process_group", "kept"),
        (", process_group=flag()", "rank", None),
        (", **flag", "rank", None),
        (", sharding_strategy=flag", "world_size", None),
        (", sharding_strategy=ShardingStrategy.HYBRID_SHARD", "rank", None),
        (", device_mesh=group", "world_size", "kept.size(0)"),
        ("", "process_group", "torch.distributed.group.WORLD"),
        ("", "compute_device", DEVICE),
        (", device_id=torch.device('cpu')", "compute_device", 'torch.device("cpu")'),
        ("", "limit_all_gathers", "True"),
        (", forward_prefetch=True", "forward_prefetch", "True"),
        (", forward_prefetch=flag", "forward_prefetch", None),
        ("", "cpu_offload.offload_params", "False"),
        (", cpu_offload=CPUOffload(True)", "cpu_offload.offload_params", "True"),
        (", cpu_offload=flag", "cpu_offload.offload_params", None),
        ("", "mixed_precision.reduce_dtype", "None"),
        (
            ", mixed_precision=MixedPrecision(torch.float16)",
            "mixed_precision.param_dtype",
            "torch.float16",
        ),
        ("", "mixed_precision", None),
        ("", "sharding_strategy", None),
    ],
)
def test_values(arguments: str, attribute: str, expected: str | None) -> None:
    assert said(value(arguments, attribute)) == expected


def test_models_have_to_agree() -> None:
    program = Program(
        HEAD + "    model = FSDP(net) if flag else FSDP(net, process_group=group)\n"
        "    return model.rank\n"
    )
    use = program.use("rank")
    assert value_now(program.facts, use.module, use.node, use.wraps, ("rank",)) is None


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("dist.destroy_process_group()\n    return model.rank", True),
        ("first = model.rank\n    dist.destroy_process_group()", False),
    ],
)
def test_the_end_of_the_process_group(text: str, ended: bool) -> None:
    program = Program(f"{HEAD}    model = FSDP(net)\n    {text}\n")
    use = program.use("rank")
    assert ends_distributed(program.facts, use.module, use.node) is ended


def test_the_module_inside() -> None:
    program = Program(
        f"{HEAD}    model = FSDP(net)\n    inner = model.module\n    return inner, model\n"
    )
    module = program.module()
    assert is_of_inner(program.facts, module, program.node("inner"))
    assert is_of_inner(program.facts, module, program.node("model.module"))
    assert not is_of_inner(program.facts, module, program.node("model"))


def test_what_can_be_left_out() -> None:
    for text, expected in (("a.b[0]", True), ("a[i].b", True), ("a()", False), ("a[f()]", False)):
        assert is_repeatable(ast.parse(text, mode="eval").body) is expected
