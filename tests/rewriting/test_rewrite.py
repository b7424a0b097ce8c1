"""Whatever way FSDP1 is imported, the analysis knows its names; and it is not fooled by others."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Symbol, Unknown
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from support.programs import Analysis, dedent, migrate

LONG = "torch.distributed.fsdp"
FORMS = {
    "alias": (f"from {LONG} import FullyShardedDataParallel as FSDP", "FSDP"),
    "plain": (f"from {LONG} import FullyShardedDataParallel", "FullyShardedDataParallel"),
    "module alias": (f"import {LONG} as fsdp", "fsdp.FullyShardedDataParallel"),
    "qualified": (f"import {LONG}", f"{LONG}.FullyShardedDataParallel"),
    "package": ("import torch", f"{LONG}.FullyShardedDataParallel"),
    "parent": ("from torch.distributed import fsdp", "fsdp.FullyShardedDataParallel"),
    "parent alias": ("import torch.distributed as dist", "dist.fsdp.FullyShardedDataParallel"),
    "inner module": (
        f"from {LONG}.fully_sharded_data_parallel import FullyShardedDataParallel as F",
        "F",
    ),
    "inner module alias": (
        f"import {LONG}.fully_sharded_data_parallel as inner",
        "inner.FullyShardedDataParallel",
    ),
    "star": (f"from {LONG} import *", "FullyShardedDataParallel"),
    "try": (
        f"try:\n    from {LONG} import FullyShardedDataParallel as FSDP\n"
        "except ImportError:\n    FSDP = None",
        "FSDP",
    ),
    "condition": (
        f"import torch\nif torch.cuda.is_available():\n"
        f"    from {LONG} import FullyShardedDataParallel as FSDP",
        "FSDP",
    ),
    "renamed": (
        f"from {LONG} import FullyShardedDataParallel\nWrapper = FullyShardedDataParallel",
        "Wrapper",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_import_forms(form: str) -> None:
    imports, name = FORMS[form]
    analysis = Analysis(f"{imports}\nmodel = {name}(object())\nmodel\n")
    assert Symbol(FSDP1) in analysis.value(name)
    assert len(analysis.solver.wraps) == 1
    assert analysis.solver.wrapped(analysis.value("model"))


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("from torch.distributed.fsdp import ShardingStrategy as X", "ShardingStrategy"),
        ("from torch.distributed.fsdp.api import ShardingStrategy as X", "ShardingStrategy"),
        (
            "from torch.distributed.fsdp.fully_sharded_data_parallel import CPUOffload as X",
            "CPUOffload",
        ),
        ("from torch.distributed.fsdp.wrap import ModuleWrapPolicy as X", "wrap.ModuleWrapPolicy"),
        (
            "from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler as X",
            "sharded_grad_scaler.ShardedGradScaler",
        ),
        ("from torch.distributed._composable.fsdp import fully_shard as X", "fully_shard"),
    ],
)
def test_one_spelling_for_every_home(spelling: str, canonical: str) -> None:
    assert Analysis(f"{spelling}\nX\n").value("X") == {Symbol(f"{LONG}.{canonical}")}


def test_import_in_a_function_stays_there() -> None:
    analysis = Analysis(
        """
        def prepare(model):
            from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
            return FSDP(model)

        def other():
            return FSDP
        """
    )
    assert analysis.value("FSDP", index=0) == {Symbol(FSDP1)}
    (lost,) = analysis.value("FSDP")
    assert isinstance(lost, Unknown)


# ---------------------------------------------------------------------- modules of the project
WRAPPED = "model = FSDP(object())\nmodel\n"
IMPORT = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"
PROJECTS = {
    "re-export": {"compat.py": IMPORT, "train.py": f"from compat import FSDP\n{WRAPPED}"},
    "re-export by a package": {
        "lib/__init__.py": "from .sharding import FSDP\n",
        "lib/sharding.py": IMPORT,
        "train.py": f"from lib import FSDP\n{WRAPPED}",
    },
    "re-export twice": {
        "a.py": IMPORT,
        "b.py": "from a import FSDP as Inner\n",
        "train.py": f"from b import Inner as FSDP\n{WRAPPED}",
    },
    "star of the project": {"compat.py": IMPORT, "train.py": f"from compat import *\n{WRAPPED}"},
    "star of a star": {
        "compat.py": "from torch.distributed.fsdp import *\n",
        "train.py": "from compat import *\nmodel = FullyShardedDataParallel(object())\nmodel\n",
    },
    "attribute of a module": {
        "compat.py": IMPORT,
        "train.py": "import compat\nmodel = compat.FSDP(object())\nmodel\n",
    },
    "attribute of a package's module": {
        "lib/__init__.py": "",
        "lib/compat.py": IMPORT,
        "train.py": "import lib.compat\nmodel = lib.compat.FSDP(object())\nmodel\n",
    },
    "relative": {
        "lib/__init__.py": "",
        "lib/compat.py": IMPORT,
        "lib/train.py": f"from .compat import FSDP\n{WRAPPED}",
    },
    "relative, two up": {
        "lib/__init__.py": "",
        "lib/compat.py": IMPORT,
        "lib/inner/__init__.py": "",
        "lib/inner/train.py": f"from ..compat import FSDP\n{WRAPPED}",
    },
    "module of a package": {
        "lib/__init__.py": "",
        "lib/compat.py": IMPORT,
        "train.py": "from lib import compat as c\nmodel = c.FSDP(object())\nmodel\n",
    },
    "namespace package": {
        "lib/compat.py": IMPORT,
        "train.py": f"from lib.compat import FSDP\n{WRAPPED}",
    },
    "source folder": {
        "src/lib/__init__.py": "",
        "src/lib/compat.py": IMPORT,
        "train.py": f"from lib.compat import FSDP\n{WRAPPED}",
    },
    "each other": {
        "a.py": f"import b\n{IMPORT}",
        "train.py": f"from a import FSDP\n{WRAPPED}",
        "b.py": "import a\nFSDP = a.FSDP\n",
    },
}


@pytest.mark.parametrize("shape", PROJECTS)
def test_through_modules_of_the_project(shape: str) -> None:
    files = PROJECTS[shape]
    analysis = Analysis(files)
    name = next(name for name in files if name.endswith("train.py"))
    assert analysis.solver.wrapped(analysis.value("model", name)), shape


@pytest.mark.parametrize("shape", PROJECTS)
def test_the_order_of_the_files_does_not_matter(shape: str) -> None:
    files = PROJECTS[shape]
    forwards, backwards = migrate(files), migrate(dict(reversed(files.items())))
    assert dict(forwards.after) == dict(backwards.after)
    assert sorted(map(str, forwards.findings)) == sorted(map(str, backwards.findings))


@pytest.mark.parametrize("name", ["transformer_auto_wrap_policy", "ModuleWrapPolicy"])
def test_star_of_the_policies(name: str) -> None:
    run = migrate(
        f"from {LONG} import *\nfrom {LONG}.wrap import *\n\n"
        f"def shard(model, **kwargs):\n"
        f"    return FullyShardedDataParallel(model, auto_wrap_policy={name}, **kwargs)\n"
    )
    assert run.after["train.py"].startswith(
        f"from fsdp_migrate.runtime import {', '.join(sorted([name, 'fully_shard_from_fsdp1']))}\n"
    )
    assert "*\n" not in run.after["train.py"]


def test_stars_that_other_files_live_on() -> None:
    run = migrate(
        {
            "names.py": f"from {LONG} import *\nfrom {LONG}.wrap import *\n",
            "train.py": "from names import FullyShardedDataParallel as FSDP, ShardingStrategy\n\n"
            "def shard(model, name):\n"
            "    return FSDP(model, sharding_strategy=ShardingStrategy[name].value)\n",
        }
    )
    assert run.after["names.py"] == "from fsdp_migrate.runtime import ShardingStrategy\n"
    assert "from names import ShardingStrategy\n" in run.after["train.py"]


def test_names_handed_through_files_go_from_all_of_them() -> None:
    run = migrate(
        {
            "names.py": f"from {LONG} import FullyShardedDataParallel as FSDP\n"
            f"import {LONG}.wrap as policies\n",
            "lib/__init__.py": "from names import FSDP, policies as wrapping\n\n"
            '__all__ = ["FSDP", "wrapping", "VERSION"]\nVERSION = 1\n',
            "train.py": "import names\nfrom lib import FSDP, wrapping\n\n"
            "def shard(model, cls):\n"
            "    policy = names.policies.ModuleWrapPolicy({cls})\n"
            "    return FSDP(model, auto_wrap_policy=policy)\n",
        }
    )
    assert run.after["names.py"].strip() == ""
    assert run.after["lib/__init__.py"].strip() == '__all__ = ["VERSION"]\nVERSION = 1'


def test_a_name_that_is_left_to_a_person_can_still_be_imported() -> None:
    run = migrate(
        {
            "names.py": f"import {LONG}.wrap as policies\n",
            "lib/__init__.py": "from names import policies as wrapping\n",
            "train.py": f"from {LONG} import FullyShardedDataParallel as FSDP\n"
            "from lib import wrapping\n\n"
            "def shard(model, cls):\n"
            "    print(wrapping.__name__)\n"
            "    return FSDP(model, auto_wrap_policy=wrapping.ModuleWrapPolicy({cls}))\n",
        }
    )
    assert run.after["names.py"] == f"import {LONG}.wrap as policies\n"
    assert run.after["lib/__init__.py"] == "from names import policies as wrapping\n"


# ---------------------------------------------------------------------- what only looks like it
FOOLS = {
    "own class": """
        class FSDP:
            def __init__(self, module): ...
            def clip_grad_norm_(self, limit): ...
            def no_sync(self): ...
        model = FSDP(object())
        model.clip_grad_norm_(1.0)
        with model.no_sync():
            pass
        """,
    "own function": """
        def FullyShardedDataParallel(model):
            return model
        model = FullyShardedDataParallel(object())
        """,
    "fairscale": """
        from fairscale.nn import FullyShardedDataParallel as FSDP
        model = FSDP(object())
        model.clip_grad_norm_(1.0)
        with model.summon_full_params():
            model.state_dict()
        """,
    "Megatron": """
        from megatron.core.distributed import FullyShardedDataParallel
        from megatron.core.distributed.fsdp import FullyShardedDataParallel as FSDP
        model = FSDP(FullyShardedDataParallel(object()))
        with model.no_sync():
            pass
        """,
    "XLA": """
        from torch_xla.distributed.fsdp import XlaFullyShardedDataParallel as FSDP
        model = FSDP(object())
        model.clip_grad_norm_(1.0)
        """,
    "DDP": """
        import torch
        from torch.nn.parallel import DistributedDataParallel as DDP
        model = DDP(torch.nn.Linear(1, 1))
        with model.no_sync():
            model.module.state_dict()
        """,
    "strings and comments": '''
        """FullyShardedDataParallel(model)"""
        # from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
        code = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP"
        exec(code)
        ''',
    "shadowed": """
        from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
        class FSDP:
            def __init__(self, module): ...
        model = FSDP(object())
        """,
    "parameter of that name": """
        def build(FSDP, model):
            return FSDP(model)
        """,
    "FSDP2": """
        from torch.distributed.fsdp import fully_shard, FSDPModule
        model = fully_shard(object())
        isinstance(model, FSDPModule)
        """,
}


@pytest.mark.parametrize("kind", FOOLS)
def test_not_fooled(kind: str) -> None:
    text = dedent(FOOLS[kind])
    assert not Analysis(text).solver.wraps
    run = migrate(text)
    assert not run.errors
    assert not [item for item in run.findings if item.fix is not None]
    assert not run.changed


def test_a_module_of_the_project_called_torch_is_the_users_own() -> None:
    analysis = Analysis(
        {
            "torch/__init__.py": "",
            "torch/distributed/__init__.py": "",
            "torch/distributed/fsdp.py": "class FullyShardedDataParallel: ...\n",
            "train.py": IMPORT + WRAPPED,
        }
    )
    assert not analysis.solver.wraps


@pytest.mark.parametrize("file", ["torch/train.py", "torch/distributed.py"])
def test_a_mere_folder_called_torch_does_not_hide_the_library(file: str) -> None:
    text = "import torch\nimport torch.distributed.fsdp\n"
    text += "model = torch.distributed.fsdp.FullyShardedDataParallel(torch.nn.Linear(2, 2))\n"
    assert Analysis({file: text}).solver.wraps
