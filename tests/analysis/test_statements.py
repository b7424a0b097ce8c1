"""Simple statements, definitions and imports."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.analysis.values import NOTHING, Cls, Const, Container, ModuleRef, Symbol, Value
from support.programs import Analysis
from support.values import analyse, probed, reasons, wraps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("probe: int = 1", frozenset({Const.of(1)})),
        ("probe = 1\nprobe += 2", frozenset({Const.of(1), Const.of(2)})),
        ("probe = 1\ndel probe", frozenset({Const.of(1)})),
        ("def f():\n    probe: int\n    probe", NOTHING),
    ],
)
def test_assignments(text: str, expected: Value) -> None:
    last = "" if "def" in text else "\nprobe"
    assert probed(text + last) == expected


def test_a_list_that_is_added_to_holds_both() -> None:
    value = probed("items = [1]\nitems += [2]\nprobe = items[0]\nprobe")
    assert value == {Const.of(1), Const.of(2)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch.nn\nprobe = torch.nn", Symbol("torch.nn")),
        ("import torch.distributed.fsdp as f\nprobe = f", Symbol("torch.distributed.fsdp")),
        (
            "from torch.distributed.fsdp.api import ShardingStrategy as S\nprobe = S",
            Symbol("torch.distributed.fsdp.ShardingStrategy"),
        ),
    ],
)
def test_imports_of_libraries_have_canonical_names(text: str, expected: Symbol) -> None:
    assert Analysis(f"{text}\nprobe").value("probe") == {expected}


def test_imports_of_the_program() -> None:
    analysis = Analysis(
        {
            "train.py": "import pkg\nimport pkg.a as a\nfrom . import pkg as p\npkg\na.x\np\n",
            "pkg/__init__.py": "",
            "pkg/a.py": "x = 1\n",
        }
    )
    (package,) = analysis.value("pkg")
    assert isinstance(package, ModuleRef)
    assert analysis.value("p") == {package}
    assert analysis.value("a.x") == {Const.of(1)}


def test_what_an_import_binds_is_noted_with_its_alias() -> None:
    analysis = Analysis("from torch import nn\n")
    (statement,) = analysis.module().tree.body
    assert isinstance(statement, ast.ImportFrom)
    assert analysis.solver.value(statement.names[0]) == {Symbol("torch.nn")}


def test_decorators_defaults_and_annotations_are_looked_at() -> None:
    text = "@torch.no_grad()\ndef f(x: nn.Module = FSDP(Net())) -> torch.Tensor: ..."
    analysis = analyse(text)
    assert analysis.value("nn.Module") == {Symbol("torch.nn.Module")}
    assert analysis.value("torch.Tensor") == {Symbol("torch.Tensor")}
    assert wraps(analysis, "FSDP(Net())")


def test_a_class_body_does_not_leak_its_variables() -> None:
    analysis = analyse("class A:\n    x = 1\nA\nx")
    assert {type(atom) for atom in analysis.value("A")} == {Cls}
    assert reasons(analysis.value("x"))


def test_code_after_a_return_is_looked_at_all_the_same() -> None:
    analysis = analyse("def f():\n    return 1\n    probe = FSDP(Net())\n    probe\nf()")
    assert wraps(analysis)
    assert {getattr(a, "value", 0) for a in analysis.value("f()")} == {1, None}


def test_what_a_generator_returns_is_not_what_calling_it_gives() -> None:
    (atom,) = probed("def f():\n    yield 1\n    return 2\nprobe = f()\nprobe")
    assert isinstance(atom, Container)


def test_setting_a_mode_for_good() -> None:
    analysis = analyse(
        """
        from torch.distributed.fsdp import StateDictType
        model = FSDP(Net())
        model.before()
        FSDP.set_state_dict_type(model, StateDictType.FULL_STATE_DICT)
        model.after()
        """
    )
    calls = {ast.unparse(c.func): c for c in analysis.solver.call_nodes.values()}
    assert analysis.solver.modes_at(calls["model.before"]) == {None}
    assert None not in analysis.solver.modes_at(calls["model.after"])
