"""The measures that have to stay at zero, and that the counting counts."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import measures

FILES = measures.files()


def test_no_modules_import_each_other() -> None:
    assert not list(measures.cycles(FILES))


def test_imports_follow_the_order_of_rooms() -> None:
    assert [said for _, said in measures.against_order(FILES)] == []


def test_no_file_is_too_long() -> None:
    assert not list(map(str, measures.long_files(FILES)))


def test_no_function_is_too_long() -> None:
    assert [said for _, said, _ in measures.long_functions(FILES)] == []


# ---------------------------------------------------------------------- the counting itself
def function(text: str) -> ast.FunctionDef:
    (node,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(node, ast.FunctionDef)
    return node


def test_every_folder_stands_in_the_order() -> None:
    assert {file.room for file in FILES.values()} - {""} == set(measures.ORDER)


def test_a_function_is_as_long_as_its_body() -> None:
    node = function(
        '''
        def f(
            a,
        ):
            """Docstring.

            More of it.
            """
            # a comment before the first statement

            x = a

            return x
        '''
    )
    assert measures.body_lines(node) == 3
    assert measures.body_lines(function('def f():\n    """Nothing else."""')) == 0


def test_complexity_counts_the_forks() -> None:
    node = function(
        """
        def f(a, b):
            if a and b or not a:
                return 1
            for x in [y for y in b if y if not a]:
                try:
                    a = 1 if x else 2
                except ValueError:
                    pass
            def inner():
                while b:
                    pass
        """
    )
    # if, and, or; for, comprehension with two tests; except, conditional expression
    assert measures.complexity(node) == 1 + 3 + 4 + 2


def test_imports_are_seen_wherever_they_are(tmp_path: Path) -> None:
    def file(name: str, text: str) -> measures.File:
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return measures.File(name, path)

    known = {
        "syntax.a": file("syntax.a", "def f():\n    from fsdp_migrate.planning import b\n"),
        "planning": file("planning", "import fsdp_migrate.syntax.a\n"),
        "planning.b": file(
            "planning.b",
            """
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from fsdp_migrate.syntax.a import f
                from fsdp_migrate.runtime import record
            """,
        ),
        "runtime": file("runtime", "import torch\n"),
    }
    assert measures.cycles(known) == [("planning.b", "syntax.a")]
    assert measures.imported(known["planning.b"], known) == {"syntax.a": 4, "runtime": 5}
    assert [name for name, _ in measures.against_order(known)] == ["syntax.a", "planning.b"]
