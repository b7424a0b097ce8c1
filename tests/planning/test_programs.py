"""Which files can meet in one running program."""

from __future__ import annotations

from fsdp_migrate.planning.programs import Programs
from support.programs import FOLDER, Analysis


def test_files_meet_where_something_imports_both() -> None:
    project = Analysis(
        {
            "one.py": "import shared\nfrom lib.wrap import shard\n",
            "two.py": "import shared\n",
            "shared.py": "x = 1\n",
            "lib/__init__.py": "from . import more\n",
            "lib/wrap.py": "y = 1\n",
            "lib/more.py": "z = 1\n",
        }
    ).project
    programs = Programs(project)

    def meet(one: str, other: str) -> bool:
        return programs.meet(str(FOLDER / one), str(FOLDER / other))

    assert meet("one", "shared")
    assert meet("shared", "lib/wrap")
    assert meet("lib/wrap", "lib/more")  # a module brings in the package that it is in
    assert not meet("two", "lib/wrap")
    assert not meet("one", "two")
    assert programs.is_imported(str(FOLDER / "shared"))
    assert not programs.is_imported(str(FOLDER / "one"))
