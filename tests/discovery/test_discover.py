"""Which files a run looks at, and which it doesn't even parse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsdp_migrate.discovery.discover import Discovered, discover, uses_fsdp1, uses_fsdp2
from fsdp_migrate.discovery.import_lines import Import, imports

FSDP1 = "from torch.distributed.fsdp import FullyShardedDataParallel as FSDP\n"


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that is a project of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def put(**files: str) -> None:
    """Write files: `pkg__model` is pkg/model.py, a name ending in `__` is a package."""
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ("__init__.py" if name.endswith("__") else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def candidates(*paths: str, exclude: tuple[str, ...] = (), gitignore: bool = True) -> list[str]:
    found = discover(paths or (".",), exclude=exclude, respect_gitignore=gitignore)
    assert not found.unreadable
    return [file.path.as_posix() for file in found.candidates]


def names(found: Discovered) -> dict[str, list[str]]:
    """What is linked and what is context, by path."""
    return {
        "linked": sorted(file.path.as_posix() for file in found.linked),
        "context": sorted(file.path.as_posix() for file in found.context),
    }


@pytest.mark.parametrize(
    "text",
    [
        FSDP1,
        "import torch.distributed.fsdp as fsdp\n",
        "from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy\n",
        "from torch.distributed import fsdp\n",
        "from torch.distributed import (\n    rpc,\n    fsdp,\n)\n",
        "from torch.distributed import rpc, fsdp as sharded\n",
        "import torch.distributed as dist\nx = dist.fsdp.ShardingStrategy.FULL_SHARD\n",
        "from torch import distributed\ndistributed.fsdp.wrap.wrap(m)\n",
        "import_module('torch.distributed.fsdp')\n",
        "def f(model: 'FullyShardedDataParallel'): ...\n",
    ],
)
def test_fsdp1_is_seen(text: str) -> None:
    assert uses_fsdp1(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nmodel = torch.nn.Linear(1, 1)\n",
        "from torch.distributed import all_reduce\ncfg.fsdp = True\n",
        "from fairscale.nn import FSDP\n",
        "args.fsdp.enabled = distributed\n",
        "",
    ],
)
def test_other_things_are_not_fsdp1(text: str) -> None:
    assert not uses_fsdp1(text.encode())


def test_fsdp2_is_a_word_of_its_own() -> None:
    assert uses_fsdp2(b"from torch.distributed.fsdp import fully_shard\n")
    assert uses_fsdp2(b"isinstance(m, FSDPModule)\n")
    assert not uses_fsdp2(b"from torch.distributed.fsdp.fully_sharded_data_parallel import *\n")


def test_files_are_found_in_order_and_named_as_the_paths_are(tree: Path) -> None:
    put(b=FSDP1, a=FSDP1, pkg__z=FSDP1, pkg__deep__y=FSDP1, plain="x = 1\n")
    expected = ["a.py", "b.py", "pkg/deep/y.py", "pkg/z.py"]
    assert candidates() == expected
    assert candidates(".") == expected
    assert candidates("pkg", "./a.py") == ["a.py", "pkg/deep/y.py", "pkg/z.py"]
    assert candidates(str(tree)) == [f"{tree.as_posix()}/{name}" for name in expected]
    assert candidates("pkg", ".", "pkg/z.py") == expected
    os.chdir("pkg")
    assert candidates("..") == ["../a.py", "../b.py", "../pkg/deep/y.py", "../pkg/z.py"]


def test_only_python_files_are_found_but_any_file_can_be_named() -> None:
    Path("train").write_text(FSDP1)
    Path("notes.md").write_text(FSDP1)
    Path("stubs.pyi").write_text(FSDP1)
    assert candidates() == []
    assert candidates("train") == ["train"]


def test_folders_of_tools_are_left_out() -> None:
    left_out = (".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".tox")
    for folder in (*left_out, "build", "dist"):
        put(**{f"{folder}__x": FSDP1})
    put(build__tools__x=FSDP1)
    Path("my_env").mkdir()
    Path("my_env/pyvenv.cfg").touch()
    put(my_env__x=FSDP1)
    assert candidates() == []
    assert candidates("build") == ["build/tools/x.py", "build/x.py"]
    assert candidates("node_modules/x.py") == ["node_modules/x.py"]


def test_a_package_called_dist_is_code() -> None:
    put(utils__dist__="", utils__dist__x=FSDP1)
    assert candidates() == ["utils/dist/x.py"]


def test_links_to_folders_are_not_followed() -> None:
    put(pkg__x=FSDP1)
    Path("pkg/loop").symlink_to("..", target_is_directory=True)
    Path("again").symlink_to("pkg", target_is_directory=True)
    assert candidates() == ["pkg/x.py"]
    assert candidates("again") == ["again/x.py"]


def test_a_linked_file_is_found_once() -> None:
    put(pkg__x=FSDP1)
    Path("outside.txt").write_text(FSDP1)
    Path("pkg/twin.py").symlink_to("x.py")
    Path("pkg/other.py").symlink_to("../outside.txt")
    Path("pkg/same.py").symlink_to("../outside.txt")
    Path("pkg/broken.py").symlink_to("nowhere.py")
    Path("pkg/self.py").symlink_to("self.py")
    assert candidates() == ["pkg/other.py", "pkg/x.py"]


def test_a_link_out_of_what_is_given_leads_to_nothing_that_changes() -> None:
    put(outside__real=FSDP1, outside__plain="x = 1\n", proj__user="import linked\n", other__x=FSDP1)
    Path("proj/linked.py").symlink_to("../outside/real.py")
    Path("proj/plain.py").symlink_to("../outside/plain.py")
    Path("proj/twin.py").symlink_to("../other/x.py")
    found = discover(["proj", "other"])
    assert [file.path.as_posix() for file in found.candidates] == ["other/x.py"]
    (said,) = found.outside
    assert (said.path.as_posix(), "give that file" in said.message) == ("proj/linked.py", True)
    assert "proj/linked.py" in names(discover(["proj"]))["context"]
    assert candidates("proj/linked.py") == ["proj/linked.py"], "named: the user means it"


def test_a_file_with_a_comment_of_an_earlier_run_is_looked_at() -> None:
    put(done="# TODO(fsdp-migrate): FSDP406 do it\nx = 1\n", other="x = 1\n")
    assert candidates() == ["done.py"]


def test_gitignore_is_respected() -> None:
    put(a=FSDP1, old__x=FSDP1, pkg__keep=FSDP1, pkg__skip=FSDP1, pkg__deep__y=FSDP1)
    Path(".gitignore").write_text("# comment\n\n/old/\nskip.py\n")
    assert candidates() == ["a.py", "pkg/deep/y.py", "pkg/keep.py"]
    assert candidates(gitignore=False) == [
        "a.py",
        "old/x.py",
        "pkg/deep/y.py",
        "pkg/keep.py",
        "pkg/skip.py",
    ]
    assert candidates("pkg/skip.py") == ["pkg/skip.py"]


def test_nested_gitignores_decide_for_their_folder() -> None:
    put(pkg__a=FSDP1, pkg__gen_b=FSDP1, pkg__deep__gen_c=FSDP1, gen_d=FSDP1)
    Path(".gitignore").write_text("gen_*\n")
    Path("pkg/.gitignore").write_text("!gen_b.py\na.py\n")
    assert candidates() == ["pkg/gen_b.py"]


def test_gitignores_above_the_path_count_up_to_the_repository() -> None:
    Path(".gitignore").write_text("x.py\n")
    put(repo__sub__x=FSDP1, repo__sub__y=FSDP1, repo__sub__z=FSDP1)
    Path("repo/.git/info").mkdir(parents=True)
    Path("repo/.git/info/exclude").write_text("z.py\n")
    Path("repo/.gitignore").write_text("/sub/y.py\n")
    assert candidates("repo/sub") == ["repo/sub/x.py"]


def test_an_ignored_folder_can_be_named() -> None:
    Path(".git").mkdir()
    Path(".gitignore").write_text("scratch/\n")
    put(scratch__x=FSDP1)
    assert candidates() == []
    assert candidates("scratch") == ["scratch/x.py"]


def test_exclude_takes_patterns_like_gitignore() -> None:
    put(a=FSDP1, tests__x=FSDP1, pkg__tests__x=FSDP1, pkg__a_test=FSDP1, pkg__b=FSDP1)
    assert candidates(exclude=("tests/", "*_test.py")) == ["a.py", "pkg/b.py"]
    assert candidates(exclude=("/tests",)) == [
        "a.py",
        "pkg/a_test.py",
        "pkg/b.py",
        "pkg/tests/x.py",
    ]
    assert candidates("tests/x.py", exclude=("tests/",)) == ["tests/x.py"]


def test_files_that_are_linked_by_imports() -> None:
    put(
        train="from pkg.sharding import shard\nimport helpers\n",
        helpers="import clip as c\n",
        clip="x = 1\n",
        launch="import train\n",
        unrelated="import os\nimport json\n",
        pkg__="",
        pkg__sharding=FSDP1 + "from .model import Net\nfrom . import config\n",
        pkg__model="from torch import nn\n",
        pkg__config="A = 1\n",
        pkg__unused="B = 2\n",
    )
    found = discover(["."])
    assert [file.path.name for file in found.candidates] == ["sharding.py"]
    assert names(found) == {
        "linked": [
            "clip.py",
            "helpers.py",
            "launch.py",
            "pkg/config.py",
            "pkg/model.py",
            "train.py",
        ],
        "context": [],
    }


def test_a_package_passes_names_on() -> None:
    put(
        pkg__="from .sharding import shard\nfrom .data import load as read\nfrom .more import *\n",
        pkg__sharding=FSDP1,
        pkg__data="D = 1\n",
        pkg__more="M = 1\n",
        uses_shard="from pkg import shard\n",
        uses_data="from pkg import read\n",
        uses_all="import pkg\n",
    )
    linked = names(discover(["."]))["linked"]
    assert "uses_shard.py" in linked
    assert "uses_all.py" in linked
    assert "pkg/__init__.py" in linked
    assert "uses_data.py" not in linked


def test_imports_below_a_src_folder_are_found() -> None:
    put(src__lib__="", src__lib__core=FSDP1, scripts__run="from lib.core import shard\n")
    assert names(discover(["."]))["linked"] == ["scripts/run.py"]


def test_the_standard_library_is_not_what_is_called_like_it() -> None:
    put(
        train=FSDP1 + "import os\nimport logging\nimport queue\n",
        os__path="import a\n",
        logging__extra="",
        queue="",
        a="",
    )
    assert names(discover(["."]))["linked"] == ["queue.py"]


def test_cyclic_imports_end() -> None:
    put(a=FSDP1 + "import b\n", b="import c\n", c="import a\nimport c\n")
    assert names(discover(["."]))["linked"] == ["b.py", "c.py"]


def test_what_is_ignored_is_not_linked_but_context() -> None:
    put(a=FSDP1 + "import generated\n", generated="G = 1\n", user="import a\n")
    Path(".gitignore").write_text("generated.py\nuser.py\n")
    assert names(discover(["."])) == {"linked": [], "context": ["generated.py"]}


def test_a_file_given_alone_brings_its_imports_and_importers_as_context(tree: Path) -> None:
    put(
        scripts__train=FSDP1 + "from model import Net\nfrom lib.config import cfg\n",
        scripts__model="import layers\n",
        scripts__layers="",
        scripts__other="import train\n",
        lib__config="import yaml\n",
    )
    found = discover(["scripts/train.py"])
    assert [file.path.as_posix() for file in found.candidates] == ["scripts/train.py"]
    assert names(found) == {
        "linked": [],
        "context": [
            "lib/config.py",
            "scripts/layers.py",
            "scripts/model.py",
            "scripts/other.py",
        ],
    }
    assert found.seen == 1


def test_a_file_given_alone_may_use_fsdp_through_another() -> None:
    put(train="from sharding import shard\n", sharding=FSDP1, other="x = 1\n")
    found = discover(["train.py"])
    assert names(found) == {"linked": ["train.py"], "context": ["sharding.py"]}
    assert names(discover(["other.py"])) == {"linked": [], "context": []}


def test_libraries_are_not_context(tree: Path) -> None:
    """Only the project itself is looked at: not what lies above it."""
    (tree / "pyproject.toml").unlink()
    put(repo__train=FSDP1 + "import outside\n", outside="x = 1\n")
    Path("repo/setup.py").touch()
    assert names(discover(["repo/train.py"]))["context"] == []
    assert names(discover(["."]))["linked"] == ["outside.py"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b as c, d\n", [Import(0, "a.b"), Import(0, "d")]),
        ("from a import b as c, d  # e\n", [Import(0, "a", (("b", "c"), ("d", "d")))]),
        ("from ..a.b import (\n  c,  # not ) this\n  d as e,\n)\n",
         [Import(2, "a.b", (("c", "c"), ("d", "e")))]),
        ("from . import a\r\nimport b\r\n", [Import(1, "", (("a", "a"),)), Import(0, "b")]),
        ("from a import b, \\\n    c\n", [Import(0, "a", (("b", "b"), ("c", "c")))]),
        ("from a import *\n", [Import(0, "a", (("*", "*"),))]),
        ("if x:\n    import a; b = 1\n", [Import(0, "a")]),
        ("# import a\nimportant = 1\nfrom_x = 2\n", []),
    ],
)  # fmt: skip
def test_import_lines(text: str, expected: list[Import]) -> None:
    assert list(imports(text.encode())) == expected


def test_what_cannot_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    put(a=FSDP1, b=FSDP1)
    real = os.open

    def refuse(path: str, flags: int) -> int:
        if str(path).endswith("b.py"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr("os.open", refuse)
    found = discover(["."])
    assert [file.path.name for file in found.candidates] == ["a.py"]
    assert [str(error) for error in found.unreadable] == ["b.py: cannot read: permission denied"]
    assert found.seen == 1


def test_binary_files_do_no_harm() -> None:
    Path("data.py").write_bytes(bytes(range(256)) * 100)
    put(a=FSDP1)
    found = discover(["."])
    assert (found.seen, len(found.candidates)) == (2, 1)


def test_no_candidate_no_cost() -> None:
    """A tree without FSDP1 is read, and nothing is imported or parsed for it."""
    put(a="import torch\n", pkg__b="from a import *\n")
    code = (
        "import sys; from fsdp_migrate.discovery.discover import discover; found = discover(['.']);"
        "print(found.seen, *sorted({'libcst', 'torch', 'pathspec', 'click'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["2"]
