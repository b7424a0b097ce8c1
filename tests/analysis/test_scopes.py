"""Which variable a name means."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import (
    Const,
    Func,
    Symbol,
)
from support.programs import Analysis
from support.values import analyse, check_model, probed, reasons, wraps

# Programs in which `probe` is an FSDP model.
MODELS = {
    "global": """
        MODEL = None
        def setup():
            global MODEL
            MODEL = FSDP(Net())
        def step():
            probe = MODEL
            if probe is not None:
                return probe
        setup()
        step()
        """,
    "nonlocal": """
        def main():
            model = None
            def setup():
                nonlocal model
                model = FSDP(Net())
            def step():
                probe = model
                if probe is not None:
                    return probe
            setup()
            step()
        """,
    "closure": """
        def main():
            model = FSDP(Net())
            def step():
                probe = model
                return probe
            step()
        """,
    "lambda that closes over": "model = FSDP(Net())\nget = lambda: model\nprobe = get()\nprobe",
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_rebinding_forgets() -> None:
    analysis = analyse("model = FSDP(Net())\nmodel\nmodel = Net()\nprobe = model\nprobe")
    assert not wraps(analysis)


def test_a_local_variable_hides_a_global_one() -> None:
    assert probed("probe = 1\ndef f():\n    probe = 2\n    probe\nf()") == {Const.of(2)}


def test_a_builtin_until_the_module_binds_the_name() -> None:
    assert Analysis("probe = len\nprobe").value("probe") == {Symbol("builtins.len")}
    value = Analysis("def len(x): ...\nprobe = len\nprobe").value("probe")
    assert {type(atom) for atom in value} == {Func}


def test_names_of_other_modules() -> None:
    analysis = Analysis(
        {
            "pkg/__init__.py": "",
            "pkg/models.py": "from torch import nn\nSIZE = 3\n_HIDDEN = 4\n",
            "pkg/all.py": "from .models import *\n",
            "train.py": "from pkg.all import SIZE, nn\nimport pkg.models as m\nSIZE\nnn\nm.SIZE\n",
        }
    )
    assert analysis.value("SIZE") == {Const.of(3)}
    assert analysis.value("m.SIZE") == {Const.of(3)}
    assert analysis.value("nn") == {Symbol("torch.nn")}


def test_star_imports_that_go_round_in_a_circle() -> None:
    analysis = Analysis(
        {
            "a.py": "from b import *\n",
            "b.py": "from a import *\n",
            "train.py": "from a import x\nx\n",
        }
    )
    assert reasons(analysis.value("x"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("from .elsewhere import probe\nprobe", "not among the files"),
        ("exec('probe = 1')\nprobe", "not defined in this file"),
    ],
)
def test_names_that_nothing_binds_have_a_reason(text: str, word: str) -> None:
    (reason,) = reasons(probed(text))
    assert word in reason
