"""What a proof makes of a value that is partly known."""

from __future__ import annotations

from fsdp_migrate.analysis.values import MODEL, Instance, Result, Unknown, Wrapped
from support.values import probed

SAVE = """
    def save(x):
        FSDP.state_dict_type(x, 1)
        probe = x
        probe
    """


def test_a_plain_module_is_the_one_inside() -> None:
    value = probed(f"{SAVE}\n    save(Net())")
    assert value >= MODEL
    assert {type(atom) for atom in value} == {Instance, Wrapped}


def test_so_is_a_module_of_torch() -> None:
    assert probed(f"{SAVE}\n    save(nn.Linear(2, 2))") >= MODEL


def test_ddp_is_not() -> None:
    value = probed(f"{SAVE}\n    save(DDP(Net()))")
    assert {type(atom) for atom in value} == {Result}


def test_a_known_model_takes_the_unknown_away() -> None:
    value = probed(f"{SAVE}\n    save(FSDP(Net()))\n    save(registry())")
    assert not any(isinstance(atom, Unknown) for atom in value)
    assert not value & MODEL


def test_the_result_of_a_library_may_be_one() -> None:
    assert probed(f"{SAVE}\n    import peft\n    save(peft.get_model())") == MODEL
