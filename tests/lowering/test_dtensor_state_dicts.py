"""Full state dicts by DTensor's own functions."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.lowering.dtensor_state_dicts import by_dtensors
from fsdp_migrate.lowering.state_dict_calls import StateDictCall
from fsdp_migrate.lowering.state_dict_modes import Setting
from support.edits import edited
from support.programs import Analysis, dedent

FIRST_RANK = Setting("FULL", offload=True, rank0=True)


def call_of(text: str, setting: Setting) -> StateDictCall:
    """The call of a state-dict method in a program."""
    module = Analysis(text).module()
    nodes = [n for n in ast.walk(module.tree) if isinstance(n, ast.Call)]
    node = next(n for n in nodes if isinstance(n.func, ast.Attribute))
    assert isinstance(node.func, ast.Attribute)
    strict = node.keywords[0].value if node.keywords else None
    state = node.args[0] if node.args else None
    return StateDictCall(module, node, node.func.value, setting, state, strict)


def written(text: str, setting: Setting) -> str | None:
    """What becomes of the program; None if DCP's function has to do it."""
    found = call_of(text, setting)
    edits = by_dtensors(found)
    return edited(found.module, *edits) if edits is not None else None


def test_shards_stay_as_they_are() -> None:
    assert written("x = model.state_dict()\n", Setting("SHARDED")) == "x = model.state_dict()\n"
    text = "model.load_state_dict(x)\n"
    assert written(text, Setting("SHARDED")) == text


def test_shards_are_copied_to_the_cpu() -> None:
    assert written("x = model.state_dict()\n", Setting("SHARDED", offload=True)) == (
        "x = {name: value.cpu() for name, value in model.state_dict().items()}\n"
    )


def test_whole_tensors_on_every_rank() -> None:
    full = "value.full_tensor() if isinstance(value, DTensor) else value"
    assert written("x = m.state_dict()\n", Setting()) == dedent(f"""
        x = {{
            name: {full}
            for name, value in m.state_dict().items()
        }}
    """)
    assert f"({full}).cpu()" in (written("x = m.state_dict()\n", Setting(offload=True)) or "")


def test_whole_tensors_on_the_first_rank() -> None:
    """All ranks gather each tensor; names that the file has already are not taken."""
    text = "name = 'a'\nself.state = model.state_dict()  # whole\n"
    assert written(text, FIRST_RANK) == dedent("""
        name = 'a'
        # whole
        self.state = {}
        for _name, value in model.state_dict().items():
            if isinstance(value, DTensor):
                value = value.full_tensor()  # all ranks take part
            if torch.distributed.get_rank() == 0:
                self.state[_name] = value.cpu()
    """)


@pytest.mark.parametrize(
    "text",
    [
        "x = (model.state_dict(),)\n",
        "x = y = model.state_dict()\n",
        "x[0], y = model.state_dict()\n",
    ],
)
def test_a_loop_needs_a_statement_of_its_own(text: str) -> None:
    assert written(text, FIRST_RANK) is None


def test_loading_cuts_the_tensors_up() -> None:
    assert written("model.load_state_dict(state, strict=flag)\n", Setting()) == dedent("""
        sharded_state_dict = model.state_dict()
        model.load_state_dict(
            {
                name: distribute_tensor(
                    value, sharded_state_dict[name].device_mesh, sharded_state_dict[name].placements
                )
                if isinstance(sharded_state_dict.get(name), DTensor)
                else value
                for name, value in state.items()
            },
            strict=flag,
        )
    """)
    assert written("x = model.load_state_dict(state)\n", Setting()) is None
