"""Process groups that can communicate tensors on the CPU."""

from __future__ import annotations

import pytest

from fsdp_migrate.rule.queries.cpu_backends import has_cpu_backend
from support.facts import Program

HEAD = "import torch\nimport torch.distributed as dist\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('dist.init_process_group("cpu:gloo,cuda:nccl")', True),
        ('dist.init_process_group(backend="cuda:nccl, cpu:gloo")', True),
        ('dist.init_process_group("gloo", rank=0)', True),
        ('BACKEND = "cpu:gloo,cuda:nccl"\ndist.init_process_group(BACKEND)', True),
        ('from torch.distributed import init_process_group as init\ninit("gloo")', True),
        ('dist.init_process_group("nccl")', False),
        ("dist.init_process_group()", False),
        ("dist.init_process_group(None)", False),
        ("def main(args):\n    dist.init_process_group(args.backend)", False),
        ("def main(kw):\n    dist.init_process_group(**kw)", False),
        ('d = "nccl" if torch.cuda.is_available() else "gloo"\ndist.init_process_group(d)', False),
        ('dist.init_process_group("gloo")\ndist.init_process_group("nccl")', False),
        ("x = 1", False),
    ],
)
def test_backends(text: str, expected: bool) -> None:
    assert has_cpu_backend(Program(HEAD + text + "\n").facts) is expected
