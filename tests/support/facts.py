"""What the rules know of a program: its facts and the uses of FSDP1 in it."""

from __future__ import annotations

import ast

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.registry import load_rules
from support.programs import Analysis, Files


class Program(Analysis):
    """A program with the facts that its rules are given."""

    def __init__(self, files: Files | str) -> None:
        super().__init__(files)
        self.facts: Facts = facts_of(self.project, Options(), load_rules())

    def use(self, name: str, index: int = 0) -> Use:
        """The use of FSDP1 that is called `name`, the `index`th of them."""
        return [use for use in self.facts.uses if use.name.rpartition(".")[2] == name][index]

    def node(self, text: str, index: int = -1) -> ast.expr:
        """The last expression of `train.py` that is spelled `text` (or the one at `index`)."""
        return list(self.nodes(text))[index]

    def call(self, text: str) -> ast.Call:
        """The last call of `train.py` that is spelled `text`."""
        found = self.node(text)
        assert isinstance(found, ast.Call)
        return found


def plain(text: str) -> str:
    """`text` as the interpreter sees it, however it is laid out."""
    return ast.unparse(ast.parse(text))
