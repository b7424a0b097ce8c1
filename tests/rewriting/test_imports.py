"""The imports of a rewritten file: each shape of import statement, to the letter."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.edits import Import
from fsdp_migrate.rewriting.import_plan import ImportPlan
from fsdp_migrate.rewriting.imports import import_edits
from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.used_names import used_names
from support.codes import edited
from support.programs import dedent, source

FSDP = "torch.distributed.fsdp"
SHARD = Import(FSDP, "fully_shard")
SHIM = "fsdp_migrate.runtime"
STRATEGY = {"ShardingStrategy": Import(SHIM, "ShardingStrategy")}


def fix_imports(text: str, plan: ImportPlan) -> str:
    """`text` with its imports brought in line with what it uses."""
    module = parse(source("train.py", text), "train")
    return edited(text, import_edits(module, module.tree, plan))


def fixed(
    text: str,
    *needed: Import,
    gone: str = "FSDP FullyShardedDataParallel",
    moved: dict[str, Import] | None = None,
) -> str:
    """`text` with FSDP1's names gone where nothing uses them, and `needed` imported."""
    plan = ImportPlan(frozenset(gone.split()), moved or {}, frozenset(needed))
    return fix_imports(dedent(text), plan)


# name: before, after; fully_shard is needed wherever it is used
CASES = {
    "alias": (
        f"from {FSDP} import FullyShardedDataParallel as FSDP\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "still used": (
        f"from {FSDP} import FullyShardedDataParallel as FSDP\nfully_shard(FSDP)\n",
        f"from {FSDP} import FullyShardedDataParallel as FSDP, fully_shard\nfully_shard(FSDP)\n",
    ),
    "nothing needed": (f"import os\nfrom {FSDP} import FSDP\nos\n", "import os\nos\n"),
    "comment beside": (
        f"from {FSDP} import FSDP  # ZeRO\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard  # ZeRO\nfully_shard(m)\n",
    ),
    "comment above": (
        f"import os\n\n# sharding\nfrom {FSDP} import FSDP\nfully_shard(os)\n",
        f"import os\n\n# sharding\nfrom {FSDP} import fully_shard\nfully_shard(os)\n",
    ),
    "parentheses": (
        f"from {FSDP} import (\n    FSDP,\n    Other,\n)\nfully_shard(Other)\n",
        f"from {FSDP} import Other, fully_shard\nfully_shard(Other)\n",
    ),
    "parentheses with comments": (
        f"from {FSDP} import (\n    FSDP,  # one\n    # two\n    Other,\n)  # three\n"
        "fully_shard(Other)\n",
        f"# one\n# two\nfrom {FSDP} import Other, fully_shard  # three\nfully_shard(Other)\n",
    ),
    "a, b": (
        f"import os, {FSDP}, sys\nos, sys\n",
        "import os\nimport sys\nos, sys\n",
    ),
    "package alias": (
        f"import {FSDP} as FSDP\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "package that also binds torch": (
        f"import {FSDP}\ntorch.nn, fully_shard\n",
        f"import torch\nfrom {FSDP} import fully_shard\ntorch.nn, fully_shard\n",
    ),
    "package beside torch": (
        f"import torch\nimport {FSDP}\ntorch.nn, fully_shard\n",
        f"import torch\nfrom {FSDP} import fully_shard\ntorch.nn, fully_shard\n",
    ),
    "star": (
        f"from {FSDP} import *\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "present already": (
        f"from {FSDP} import FSDP, fully_shard\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "present on another line": (
        f"from {FSDP} import fully_shard\nfrom {FSDP} import FSDP\nfully_shard(m)\n",
        f"from {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "in a function": (
        f"def f(m):\n    from {FSDP} import FSDP\n    fully_shard(m)\n",
        f"def f(m):\n    from {FSDP} import fully_shard\n    fully_shard(m)\n",
    ),
    "in two functions": (
        f"def f(m):\n    from {FSDP} import FSDP\n    fully_shard(m)\n\n\n"
        f"def g(m):\n    from {FSDP} import FSDP\n    fully_shard(m)\n",
        f"def f(m):\n    from {FSDP} import fully_shard\n    fully_shard(m)\n\n\n"
        f"def g(m):\n    from {FSDP} import fully_shard\n    fully_shard(m)\n",
    ),
    "in two methods": (
        f"class A:\n    def f(self, m):\n        from {FSDP} import FSDP\n"
        "        fully_shard(m)\n\n"
        f"    def g(self, m):\n        from {FSDP} import FSDP, Other\n        Other(m)\n",
        f"class A:\n    def f(self, m):\n        from {FSDP} import fully_shard\n"
        "        fully_shard(m)\n\n"
        f"    def g(self, m):\n        from {FSDP} import Other\n        Other(m)\n",
    ),
    "in a class": (
        f"class A:\n    from {FSDP} import FSDP\n\n    def f(self, m):\n        fully_shard(m)\n",
        f"from {FSDP} import fully_shard\n\n\nclass A:\n    def f(self, m):\n"
        "        fully_shard(m)\n",
    ),
    "in a function and a branch": (
        f"if torch:\n    from {FSDP} import FSDP\n    fully_shard(1)\n\n\n"
        f"def f(m):\n    from {FSDP} import FSDP\n    fully_shard(m)\n",
        f"if torch:\n    from {FSDP} import fully_shard\n    fully_shard(1)\n\n\n"
        f"def f(m):\n    from {FSDP} import fully_shard\n    fully_shard(m)\n",
    ),
    "in a function, used outside it": (
        f"import torch\n\n\ndef f(m):\n    from {FSDP} import FSDP\n\n\nfully_shard(torch)\n",
        f"import torch\nfrom {FSDP} import fully_shard\n\n\ndef f(m):\n    pass\n\n\n"
        "fully_shard(torch)\n",
    ),
    "only one of its names in a function": (
        f"def f(m):\n    from {FSDP} import FSDP, Other\n    fully_shard(Other)\n",
        f"def f(m):\n    from {FSDP} import Other, fully_shard\n    fully_shard(Other)\n",
    ),
    "try": (
        f"import torch\n\ntry:\n    from {FSDP} import FSDP\nexcept ImportError:\n    FSDP = None\n"
        "fully_shard(torch)\n",
        f"import torch\n\ntry:\n    from {FSDP} import fully_shard\nexcept ImportError:\n"
        "    FSDP = None\nfully_shard(torch)\n",
    ),
    "try, nothing needed": (
        f"try:\n    from {FSDP} import FSDP\nexcept ImportError:\n    pass\n",
        "try:\n    pass\nexcept ImportError:\n    pass\n",
    ),
    "one-line try": (
        f"try: from {FSDP} import FSDP\nexcept ImportError: pass\nfully_shard\n",
        f"try:\n    from {FSDP} import fully_shard\nexcept ImportError: pass\nfully_shard\n",
    ),
    "type checking": (
        f"from __future__ import annotations\nif TYPE_CHECKING:\n    from {FSDP} import FSDP\n"
        "def f(m: fully_shard): ...\n",
        "from __future__ import annotations\nif TYPE_CHECKING:\n"
        f"    from {FSDP} import fully_shard\n"
        "def f(m: fully_shard): ...\n",
    ),
    "type checking is no place for what runs": (
        f"import torch\nif TYPE_CHECKING:\n    from {FSDP} import FSDP\nfully_shard(torch)\n",
        f"import torch\nfrom {FSDP} import fully_shard\nfully_shard(torch)\n",
    ),
    "future": (
        "from __future__ import annotations\n\nfully_shard(m)\n",
        f"from __future__ import annotations\n\nfrom {FSDP} import fully_shard\n\nfully_shard(m)\n",
    ),
    "docstring only": (
        '"""Train."""\n\nfully_shard(m)\n',
        f'"""Train."""\n\nfrom {FSDP} import fully_shard\n\nfully_shard(m)\n',
    ),
    "docstring and a function": (
        '"""Train."""\n\n\ndef f(m):\n    fully_shard(m)\n',
        f'"""Train."""\n\nfrom {FSDP} import fully_shard\n\n\ndef f(m):\n    fully_shard(m)\n',
    ),
    "no import at all": (
        "def f(m):\n    fully_shard(m)\n",
        f"from {FSDP} import fully_shard\n\n\ndef f(m):\n    fully_shard(m)\n",
    ),
    "shebang and comments": (
        "#!/usr/bin/env python\n# Copyright\n\nfully_shard(m)\n",
        f"#!/usr/bin/env python\n# Copyright\n\nfrom {FSDP} import fully_shard\n\nfully_shard(m)\n",
    ),
    "after the other imports of torch": (
        "import os\n\nimport torch\nfrom torch import nn\n\nfrom mine import x\n\n"
        "fully_shard(torch)\n",
        f"import os\n\nimport torch\nfrom torch import nn\nfrom {FSDP} import fully_shard\n\n"
        "from mine import x\n\nfully_shard(torch)\n",
    ),
    "semicolons": (
        f"import torch; from {FSDP} import FSDP; x = 1\nfully_shard(torch)\n",
        f"import torch\nfrom {FSDP} import fully_shard\nx = 1\nfully_shard(torch)\n",
    ),
    "in __all__": (
        f'from {FSDP} import FullyShardedDataParallel as FSDP\n\n__all__ = ["FSDP"]\n',
        f'from {FSDP} import FullyShardedDataParallel as FSDP\n\n__all__ = ["FSDP"]\n',
    ),
    "in a quoted annotation": (
        f'from {FSDP} import FullyShardedDataParallel as FSDP\n\n\ndef f(m: "FSDP"): ...\n',
        f'from {FSDP} import FullyShardedDataParallel as FSDP\n\n\ndef f(m: "FSDP"): ...\n',
    ),
    "tabs": (
        f"def f(m):\n\tfrom {FSDP} import FSDP\n\tfully_shard(m)\n",
        f"def f(m):\n\tfrom {FSDP} import fully_shard\n\tfully_shard(m)\n",
    ),
    "non-ASCII before": (
        f"'é'; from {FSDP} import FSDP\nfully_shard(m)\n",
        f"'é'\nfrom {FSDP} import fully_shard\nfully_shard(m)\n",
    ),
    "form feed before": (
        f"x = 1\n\x0c\nfrom {FSDP} import FSDP\nfully_shard(x)\n",
        f"x = 1\n\x0c\nfrom {FSDP} import fully_shard\nfully_shard(x)\n",
    ),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_shapes(kind: str, newline: str) -> None:
    before, after = CASES[kind]
    gone = f"FSDP FullyShardedDataParallel torch {FSDP} *{FSDP}"
    plan = ImportPlan(frozenset(gone.split()), {}, frozenset({SHARD}))
    assert fix_imports(before.replace("\n", newline), plan) == after.replace("\n", newline)


def test_names_that_move() -> None:
    text = f"import torch\nfrom {FSDP} import FSDP, ShardingStrategy\nShardingStrategy.X\n"
    assert fixed(text, moved=STRATEGY) == (
        f"import torch\nfrom {SHIM} import ShardingStrategy\nShardingStrategy.X\n"
    )


def test_names_that_move_under_an_alias() -> None:
    moved = {"Strategy": Import(SHIM, "ShardingStrategy", "Strategy")}
    text = f"from {FSDP}.api import ShardingStrategy as Strategy\nStrategy.X\n"
    assert fixed(text, moved=moved) == (
        f"from {SHIM} import ShardingStrategy as Strategy\nStrategy.X\n"
    )


def test_names_that_move_inside_a_try() -> None:
    moved = {name: Import(SHIM, name) for name in ("ShardingStrategy", "StateDictType")}
    text = f"""
        try:
            from {FSDP} import ShardingStrategy
            from {FSDP}.api import StateDictType
        except ImportError:
            ShardingStrategy = StateDictType = None
        print(ShardingStrategy, StateDictType)
        """
    assert fixed(text, moved=moved) == dedent(
        f"""
        from {SHIM} import ShardingStrategy, StateDictType

        try:
            from {FSDP} import fully_shard
        except ImportError:
            ShardingStrategy = StateDictType = None
        print(ShardingStrategy, StateDictType)
        """
    )


def test_the_standard_library_goes_first() -> None:
    replace = Import("dataclasses", "replace")
    assert fixed("import torch\nreplace(torch)\n", replace) == (
        "from dataclasses import replace\n\nimport torch\nreplace(torch)\n"
    )
    assert fixed("import os\n\nimport torch\nreplace(torch, os)\n", replace) == (
        "import os\nfrom dataclasses import replace\n\nimport torch\nreplace(torch, os)\n"
    )


def test_sorted_imports_stay_sorted() -> None:
    shim = Import(SHIM, "no_sync")
    above, below = "import os\n\nimport torch\n", "from torch import nn\n"
    rest = "fully_shard(no_sync, os, torch, nn)\n"
    text = f"{above}{below}from {FSDP} import FSDP\n{rest}"
    new = f"from {SHIM} import no_sync\n"
    assert fixed(text, SHARD, shim) == f"{above}{new}{below}from {FSDP} import fully_shard\n{rest}"
    alone = rest.replace("fully_shard", "print")
    assert fixed(text.replace(rest, alone), shim) == f"{above}{new}{below}{alone}"
    mixed = text.replace(above, f"{above}from zoo import nn\n")
    assert fixed(mixed, shim, SHARD) == mixed.replace(
        f"from {FSDP} import FSDP\n", f"{new}from {FSDP} import fully_shard\n"
    )


def test_many_names_are_broken_over_lines() -> None:
    home = "torch.distributed.checkpoint.state_dict"
    names = ["StateDictOptions", "get_model_state_dict", "set_model_state_dict"]
    text = f"from {FSDP} import FSDP\n" + ", ".join(names) + "\n"
    assert fixed(text, *(Import(home, name) for name in names)) == (
        f"from {home} import (\n    StateDictOptions,\n    get_model_state_dict,\n"
        f"    set_model_state_dict,\n)\n{', '.join(names)}\n"
    )


def test_an_import_of_a_module() -> None:
    dist = Import("torch.distributed", None, "dist")
    assert fixed("import torch\ndist.x, torch\n", dist) == (
        "import torch\nimport torch.distributed as dist\ndist.x, torch\n"
    )


def test_what_a_function_imports_already() -> None:
    torch = Import("torch")
    inside = "def f(m):\n    import torch\n    {fsdp}torch.save(m)\n"
    before = inside.format(fsdp=f"from {FSDP} import FSDP\n    fully_shard(m)\n    ")
    after = before.replace("FSDP\n", "fully_shard\n")
    assert fixed(before, torch, SHARD) == after
    assert fixed(inside.format(fsdp=""), torch) == inside.format(fsdp="")
    outside = inside.format(fsdp="") + "\n\ntorch.cuda.synchronize()\n"
    assert fixed(outside, torch) == f"import torch\n\n\n{outside}"


def test_nothing_to_do() -> None:
    text = f"from {FSDP} import FSDP\nFSDP(m)\n"
    assert fixed(text, SHARD) == text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = y", {"y"}),
        ("def f(a: 'B[C]') -> 'D': ...", {"B", "C", "D"}),
        ("x: 'A | None' = None", {"A"}),
        ("__all__ = ['a', 'b']", {"a", "b"}),
        ("x = 1\nx += y\nprint(x)", {"x", "y", "print"}),
        ("del x", {"x"}),
        ("lambda a: a + b", {"a", "b"}),
        ("f'{x}'", {"x"}),
        ("def f(a: 'not python ('): ...", set()),
    ],
)
def test_used_names(text: str, names: set[str]) -> None:
    assert used_names(ast.parse(text)) == names


# ---------------------------------------------------------------------- blocks for type checkers
def test_a_block_for_type_checkers_goes_when_it_runs_empty() -> None:
    text = f"""
        from typing import TYPE_CHECKING, Any

        import torch

        if TYPE_CHECKING:
            from {FSDP} import FSDP

        torch.x: Any = 1
        """
    assert fixed(text) == dedent(
        """
        from typing import Any

        import torch

        torch.x: Any = 1
        """
    )


def test_a_block_for_type_checkers_stays_with_what_is_left() -> None:
    text = f"""
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from {FSDP} import FSDP
            from data import Batch


        def f(batch: "Batch"): ...
        """
    assert fixed(text) == dedent(
        """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from data import Batch


        def f(batch: "Batch"): ...
        """
    )


def test_what_the_test_reads_stays_where_it_is_used() -> None:
    block = f"if TYPE_CHECKING:\n    from {FSDP} import FSDP\n"
    head = "from typing import TYPE_CHECKING\n\n"
    rest = "if not TYPE_CHECKING:\n    x = 1\n"
    assert fixed(head + block + rest) == head + rest


@pytest.mark.parametrize(
    ("rest", "after"),
    [
        ("os\n", "import os\n\nos\n"),
        ("def f(x: t.Any): ...\n", "import os\nimport typing as t\n\ndef f(x: t.Any): ...\n"),
        ("x: 't.Any'\n", "import os\nimport typing as t\n\nx: 't.Any'\n"),
    ],
)
def test_the_module_of_the_test_goes_where_nothing_else_reads_it(rest: str, after: str) -> None:
    head = "import os\nimport typing as t\n\n"
    block = f"if t.TYPE_CHECKING:\n    from {FSDP} import FSDP\n"
    assert fixed(head + block + rest) == after


def test_a_test_of_another_name_is_no_block_for_type_checkers() -> None:
    text = f"from config import DEBUG\n\nif DEBUG:\n    from {FSDP} import FSDP\n"
    assert fixed(text) == "from config import DEBUG\n\nif DEBUG:\n    pass\n"


# ---------------------------------------------------------------------- comments
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"from {FSDP} import FSDP  # FSDP only\nx = 1\n", "x = 1\n"),
        (f"from {FSDP} import FSDP  # noqa: F401\nx = 1\n", "x = 1\n"),
        (f"# FSDP comes from here\nfrom {FSDP} import FSDP\nx = 1\n", "x = 1\n"),
        (f"from {FSDP} import FSDP  # sharding\nx = 1\n", "# sharding\nx = 1\n"),
        (
            f"import torch  # FSDP needs it\nfrom {FSDP} import FSDP\ntorch.x = 1\n",
            "import torch  # FSDP needs it\ntorch.x = 1\n",
        ),
        (
            f"from {FSDP} import FSDP  # FSDP, and torch with it\nimport torch\ntorch.x = 1\n",
            "# FSDP, and torch with it\nimport torch\ntorch.x = 1\n",
        ),
        (
            f"from {FSDP} import (\n    FSDP,  # FSDP\n    Other,  # noqa\n)\nOther\n",
            f"# noqa\nfrom {FSDP} import Other\nOther\n",
        ),
        (
            f"from {FSDP} import FSDP  # noqa: E501\nfully_shard(m)\n",
            f"from {FSDP} import fully_shard  # noqa: E501\nfully_shard(m)\n",
        ),
    ],
)
def test_comments_go_with_the_only_names_that_they_speak_of(before: str, after: str) -> None:
    assert fixed(before, SHARD) == after


# ---------------------------------------------------------------------- functions
def test_each_function_imports_what_it_needs_itself() -> None:
    options = Import("torch.distributed.checkpoint.state_dict", "StateDictOptions")
    text = f"""
        def wrap(m):
            from {FSDP} import FSDP

            return fully_shard(m)


        def save(m):
            from {FSDP} import FSDP

            return StateDictOptions(m)
        """
    assert fixed(text, SHARD, options) == dedent(
        f"""
        def wrap(m):
            from {FSDP} import fully_shard

            return fully_shard(m)


        def save(m):
            from torch.distributed.checkpoint.state_dict import StateDictOptions

            return StateDictOptions(m)
        """
    )


# ---------------------------------------------------------------------- order
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # `import` above `from`, as isort and ruff have it
            "import torch\nfrom torch import nn\nfrom yaml import load\n",
            f"import torch\nfrom torch import nn\nfrom {FSDP} import fully_shard\n"
            "from yaml import load\n",
        ),
        (  # by module alone
            "from torch import nn\nimport torchvision\nimport yaml\n",
            f"from torch import nn\nfrom {FSDP} import fully_shard\nimport torchvision\n"
            "import yaml\n",
        ),
        (  # not sorted: beside what is torch's
            "import yaml\nimport torch\nimport apex\n",
            f"import yaml\nimport torch\nfrom {FSDP} import fully_shard\nimport apex\n",
        ),
    ],
)
def test_new_imports_are_sorted_in_where_the_file_sorts_its_own(before: str, after: str) -> None:
    use = "nn, torch, yaml, torchvision, apex, load, fully_shard\n"
    assert fixed(before + use, SHARD) == after + use


def test_a_line_is_no_longer_than_the_files_own() -> None:
    home = "torch.distributed.checkpoint.state_dict"
    needs = [Import(home, name) for name in ("StateDictOptions", "get_model_state_dict")]
    use = "StateDictOptions, get_model_state_dict\n"
    broken = f"from {home} import (\n    StateDictOptions,\n    get_model_state_dict,\n)\n"
    assert fixed(f"from {FSDP} import FSDP\n{use}", *needs) == broken + use
    long = f"x = '{'x' * 100}'\n"
    one = f"from {home} import StateDictOptions, get_model_state_dict\n"
    assert fixed(f"from {FSDP} import FSDP\n{use}{long}", *needs) == one + use + long
