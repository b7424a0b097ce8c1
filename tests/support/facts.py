"""What the rules know of a program: its facts, the uses of FSDP1 in it, and edits made in it."""

from __future__ import annotations

import ast

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rewriting.name_clashes import spell
from fsdp_migrate.rewriting.statements import apply_edits
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.rule import Facts, Use
from fsdp_migrate.syntax.module import Module
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


def edited(module: Module, *edits: Edit) -> str:
    """The text with the edits made, without the imports that they need."""
    return apply_edits(module.source.text, edits, spell(module, edits))


def plain(text: str) -> str:
    """`text` as the interpreter sees it, however it is laid out."""
    return ast.unparse(ast.parse(text))
