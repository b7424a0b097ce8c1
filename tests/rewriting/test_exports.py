"""`__all__` without names that are gone."""

from __future__ import annotations

import pytest

from fsdp_migrate.rewriting.exports import unlisted
from support.edits import edited, module_of
from support.programs import migrate


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('__all__ = ["A", "B"]', '__all__ = ["B"]'),
        ('__all__ = ["A"]', "__all__ = []"),
        ('__all__ = ("A", "B")', '__all__ = ("B",)'),
        ('__all__ = ("A", "B", "C")', '__all__ = ("B", "C")'),
        ('__all__ = "A", "B", "C"', '__all__ = ("B", "C")'),
        ('__all__ = ("A",)', "__all__ = ()"),
        ('__all__: list[str] = ["A", "B"]', '__all__: list[str] = ["B"]'),
        ('__all__ += ["A", "B"]', '__all__ += ["B"]'),
        ('__all__ = ["A"] + b.__all__ + ["C"]', '__all__ = [] + b.__all__ + ["C"]'),
        ('__all__.extend(("A", "B"))', '__all__.extend(("B",))'),
        ('if x:\n    __all__ += ["A", "B"]', 'if x:\n    __all__ += ["B"]'),
        ('__all__ = ["B"]', '__all__ = ["B"]'),
        ('names = ["A"]', 'names = ["A"]'),
        ('class X:\n    __all__ = ["A"]', 'class X:\n    __all__ = ["A"]'),
    ],
)
def test_names_go_from_lists_and_tuples(before: str, after: str) -> None:
    module = module_of(before + "\n")
    assert edited(module, *unlisted(module, {"A"})) == after + "\n"


HEAD = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"
TAIL = "\n\ndef shard(model):\n    return FSDP(model)\n"


def test_a_name_goes_with_its_import() -> None:
    for listed, left in [
        ('__all__: list[str] = ["FSDP", "shard"]', '__all__: list[str] = ["shard"]'),
        ('__all__ = ["shard"]\n__all__ += ["FSDP"]', '__all__ = ["shard"]\n__all__ += []'),
    ]:
        after = migrate(f"{HEAD}\n{listed}\n{TAIL}").after["train.py"]
        assert after.startswith(f"from torch.distributed.fsdp import fully_shard\n\n{left}\n")


def test_a_name_that_cannot_be_taken_out_stays_imported() -> None:
    after = migrate(f'{HEAD}\n__all__ = ["shard"]\n__all__.append("FSDP")\n{TAIL}').after[
        "train.py"
    ]
    assert "FullyShardedDataParallel as FSDP" in after
