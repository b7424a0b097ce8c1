"""Lines that new calls made too long come out as black would have them."""

from __future__ import annotations

import ast

import pytest

from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.syntax.span import Span
from support.codes import edited, numbered

NEW = "library.some_function(model, option=library.Option(first=True, second=True))"
CASES = {
    "dict": (
        'state = {"m": OLD, "step": step}\n',
        f"""\
state = {{
    "m": {NEW},
    "step": step,
}}
""",
    ),
    "dict on several lines": (
        'state = {\n    "weights_of_the_model": OLD,\n    "step": step,\n}\n',
        """\
state = {
    "weights_of_the_model": library.some_function(
        model, option=library.Option(first=True, second=True)
    ),
    "step": step,
}
""",
    ),
    "call of the program": (
        "report(OLD, step)\n",
        f"""\
report(
    {NEW}, step
)
""",
    ),
    "comprehension": (
        "values = [OLD for model in models if model.training]\n",
        f"""\
values = [
    {NEW}
    for model in models
    if model.training
]
""",
    ),
    "generator": (
        "total = sum(OLD for model in models)\n",
        f"""\
total = sum(
    {NEW}
    for model in models
)
""",
    ),
    "conditional expression": (
        "value = OLD if clip else None\n",
        f"""\
value = (
    {NEW}
    if clip
    else None
)
""",
    ),
    "operators": (
        "value = OLD or default or other\n",
        f"""\
value = (
    {NEW}
    or default
    or other
)
""",
    ),
    "operators in brackets": (
        "print(OLD + default)\n",
        f"""\
print(
    {NEW}
    + default
)
""",
    ),
    "attribute of it": (
        "a_name_that_takes_some_space = OLD.item()\n",
        """\
a_name_that_takes_some_space = library.some_function(
    model, option=library.Option(first=True, second=True)
).item()
""",
    ),
    "formatted string": (
        'print("a message with its norm:", f"{OLD}")\n',
        f"""\
print(
    "a message with its norm:",
    f"{{{NEW}}}",
)
""",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_layout(before: str, after: str) -> None:
    names = [n for n in ast.walk(ast.parse(before)) if isinstance(n, ast.Name) and n.id == "OLD"]
    edits = [
        ReplaceExpression(
            Span(n.lineno, n.col_offset, n.end_lineno or 0, n.end_col_offset or 0), numbered(NEW)
        )
        for n in names
    ]
    assert edited(before, edits) == after
