"""Names and attributes are found by what they are called, in all modules."""

from __future__ import annotations

import ast

from fsdp_migrate.syntax.module import parse
from fsdp_migrate.syntax.node_index import NodeIndex
from support.programs import source


def test_names_and_attributes_of_all_modules() -> None:
    one = parse(source("one.py", "model = make()\nself.model = model"), "/project/one")
    two = parse(source("two.py", "print(self.model.model)"), "/project/two")
    index = NodeIndex.of([one, two])
    assert [(m.name, n.lineno) for m, n in index.named("model")] == [
        ("/project/one", 1),
        ("/project/one", 2),
    ]
    found = index.of_attribute("model")
    assert [m.name for m, _ in found] == ["/project/one", "/project/two", "/project/two"]
    assert isinstance(found[0][1].ctx, ast.Store)


def test_what_there_is_not() -> None:
    index = NodeIndex.of([])
    assert not index.named("model")
    assert not index.of_attribute("model")
