"""What new code calls the names of libraries, builtins and its own variables."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.code import (
    NOTHING,
    Kept,
    Name,
    Part,
    Variable,
    block,
    call,
    code,
    loop_variable,
    qualified,
    variable,
)
from fsdp_migrate.findings.edits import Edit, Import, ReplaceExpression, ReplaceStatement
from fsdp_migrate.rewriting.name_clashes import FileSpelling, spell
from fsdp_migrate.syntax.module import Module, parse
from support.programs import dedent, source

SHARD = Name("torch.distributed.fsdp", "fully_shard")
RANK = qualified("torch.distributed.get_rank")
SHARD_IMPORT = Import("torch.distributed.fsdp", "fully_shard")


def module_of(text: str) -> Module:
    return parse(source("train.py", dedent(text)), "train")


def edit(module: Module, part: Part, at: str = "here") -> Edit:
    """`part` in the place of the expression that is called `at`."""
    node = next(n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == at)
    return ReplaceExpression(module.span(node), part)


def spelled(text: str, part: Part) -> FileSpelling:
    module = module_of(text)
    return spell(module, [edit(module, part)])


@pytest.mark.parametrize(
    ("text", "name", "need"),
    [
        ("here", "fully_shard", SHARD_IMPORT),
        # imported already, by whatever name
        ("from torch.distributed.fsdp import fully_shard\nhere", "fully_shard", SHARD_IMPORT),
        (
            "from torch.distributed.fsdp import fully_shard as shard\nhere",
            "shard",
            Import("torch.distributed.fsdp", "fully_shard", "shard"),
        ),
        (
            "try:\n    from torch.distributed.fsdp import fully_shard\n"
            "except ImportError:\n    fully_shard = None\nhere",
            "fully_shard",
            SHARD_IMPORT,
        ),
        # something of the user's own has the name
        ("def fully_shard(m): ...\nhere", "fsdp_fully_shard", None),
        ("def f(fully_shard):\n    here", "fsdp_fully_shard", None),
        ("def f():\n    fully_shard = 1\n    def g():\n        here", "fsdp_fully_shard", None),
        ("from mine import fully_shard\nhere", "fsdp_fully_shard", None),
        ("import mine as fully_shard\nhere", "fsdp_fully_shard", None),
        (
            "from torch.distributed.fsdp import fully_shard\ndef f(fully_shard):\n    here",
            "fsdp_fully_shard",
            None,
        ),
        ("fsdp_fully_shard = fully_shard = 1\nhere", "_fsdp_fully_shard", None),
        ("def g():\n    global fully_shard\n    fully_shard = 1\nhere", "fsdp_fully_shard", None),
        ("def f(m):\n    from mine import fully_shard\n    here", "fsdp_fully_shard", None),
        (
            "def f(m):\n    match m:\n        case {1: 2, **fully_shard}: here",
            "fsdp_fully_shard",
            None,
        ),
        ("class A:\n    fully_shard = 1\n    m = here", "fsdp_fully_shard", None),
        # somewhere else it is nothing to us
        ("def f(m):\n    from mine import fully_shard\nhere", "fully_shard", SHARD_IMPORT),
        ("def f(fully_shard): ...\nhere", "fully_shard", SHARD_IMPORT),
        ("class A:\n    def fully_shard(self): ...\nhere", "fully_shard", SHARD_IMPORT),
    ],
)
def test_names_that_are_imported(text: str, name: str, need: Import | None) -> None:
    found = spelled(text, call(SHARD))
    assert found.of(SHARD) == name
    expected = need or Import("torch.distributed.fsdp", "fully_shard", name)
    assert found.imports == {expected}


@pytest.mark.parametrize(
    ("text", "path", "need"),
    [
        ("here", "torch.distributed.get_rank", Import("torch")),
        ("import torch\nhere", "torch.distributed.get_rank", None),
        ("import torch.distributed as dist\nhere", "dist.get_rank", None),
        ("import torch\nimport torch.distributed as d\nhere", "d.get_rank", None),
        ("from torch import distributed\nhere", "distributed.get_rank", None),
        (
            "import torch\nimport torch.distributed as dist\ndef f(dist):\n    here",
            "torch.distributed.get_rank",
            None,
        ),
        (
            "import torch\ndef f(torch):\n    here",
            "fsdp_distributed.get_rank",
            Import("torch.distributed", None, "fsdp_distributed"),
        ),
        ("import torch\ndef f(torch): ...\nhere", "torch.distributed.get_rank", None),
        (
            "import torch\nimport torch.distributed as dist\n"
            "def f():\n    from mine import dist\n    here",
            "torch.distributed.get_rank",
            None,
        ),
        (
            "import torch\ndef f():\n    import mine as torch\n    here",
            "fsdp_distributed.get_rank",
            Import("torch.distributed", None, "fsdp_distributed"),
        ),
        (
            "import torch\ndef f():\n    import torch.nn\n    here",
            "torch.distributed.get_rank",
            None,
        ),
    ],
)
def test_names_with_their_module_in_front(text: str, path: str, need: Import | None) -> None:
    found = spelled(text, call(RANK))
    assert found.of(RANK) == path
    assert found.imports == ({need} if need else set())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("here", "isinstance"),
        ("def f(isinstance):\n    here", "builtins.isinstance"),
        ("isinstance = 1\nhere", "builtins.isinstance"),
        ("def f(isinstance): ...\nhere", "isinstance"),
        ("from mine import isinstance\nhere", "builtins.isinstance"),
        ("def f():\n    import mine as isinstance\n    here", "builtins.isinstance"),
        ("def f():\n    global isinstance\n    isinstance = 1\nhere", "builtins.isinstance"),
        ("class A:\n    def isinstance(self): ...\nhere", "isinstance"),
    ],
)
def test_builtins(text: str, name: str) -> None:
    found = spelled(text, code("isinstance({a}, {b})", a=SHARD, b=SHARD))
    assert found.builtin("isinstance") == name
    assert (Import("builtins") in found.imports) == name.startswith("builtins.")


@pytest.mark.parametrize(
    ("text", "wanted", "name"),
    [
        ("here", variable("mesh"), "mesh"),
        ("mesh = 1\nhere", variable("mesh"), "fsdp_mesh"),
        ("mesh = fsdp_mesh = 1\nhere", variable("mesh"), "fsdp_fsdp_mesh"),
        ("try: pass\nexcept E as mesh: here", variable("mesh"), "fsdp_mesh"),
        ("match here:\n    case mesh: pass", variable("mesh"), "fsdp_mesh"),
        ("def f(module): ...\nhere", variable("module", "submodule"), "submodule"),
        ("module = submodule = 1\nhere", variable("module", "submodule"), "fsdp_module"),
        # of a comprehension: only what is read inside of it matters
        ("p = 1\nhere", loop_variable("p"), "p"),
    ],
)
def test_variables(text: str, wanted: Variable, name: str) -> None:
    assert spelled(text, code("[{v}]", v=wanted)).of(wanted) == name


def test_a_comprehension_does_not_hide_what_is_kept_in_it() -> None:
    module = module_of("f(p, here)\n")
    p = loop_variable("p")
    (kept,) = [n for n in ast.walk(module.tree) if isinstance(n, ast.Name) and n.id == "p"]
    part = code("[{k} for {p} in ()]", k=Kept(module.span(kept)), p=p)
    assert spell(module, [edit(module, part)]).of(p) == "fsdp_p"


def test_a_name_that_goes_is_free() -> None:
    module = module_of("mesh = make()\nhere\n")
    gone = ReplaceStatement(module.span(module.tree.body[0]), NOTHING)
    mesh = variable("mesh")
    assert spell(module, [gone, edit(module, mesh)]).of(mesh) == "mesh"


def test_one_name_for_a_file() -> None:
    """Where one place needs another name, all places get it: one import serves them."""
    module = module_of("def f(fully_shard):\n    here\n\n\ndef g(m):\n    there\n")
    edits = [edit(module, call(SHARD)), edit(module, block(call(SHARD)), "there")]
    found = spell(module, edits)
    assert found.of(SHARD) == "fsdp_fully_shard"
    assert len(found.imports) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        # bound above, whatever happens
        (f"def f(m):\n    from {SHARD.module} import fully_shard\n    here", "fully_shard"),
        # a local variable that may not be bound yet
        (
            f"def f(m, x):\n    if x:\n        from {SHARD.module} import fully_shard\n    here",
            "fsdp_fully_shard",
        ),
        (f"def f(m):\n    here\n    from {SHARD.module} import fully_shard", "fsdp_fully_shard"),
        (
            f"def f(m):\n    def g():\n        from {SHARD.module} import fully_shard\n    here",
            "fully_shard",
        ),
    ],
)
def test_a_name_that_a_function_imports_is_bound_below_the_import_only(
    text: str, name: str
) -> None:
    assert spelled(text, call(SHARD)).of(SHARD) == name
