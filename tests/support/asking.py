"""The facts that rules are given, of a program that is text."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fsdp_migrate.engine import facts_of
from fsdp_migrate.findings.options import Options
from fsdp_migrate.rule.registry import load_rules
from fsdp_migrate.rule.rule import Facts
from fsdp_migrate.syntax.module import Module
from support.programs import Analysis, Files


@dataclass(frozen=True)
class Asked:
    """A program and its facts, with places found by their source text."""

    program: Analysis
    facts: Facts

    @property
    def module(self) -> Module:
        """The file `train.py`."""
        return self.program.module()

    def node(self, text: str) -> ast.expr:
        """The last expression that is spelled `text`."""
        *_, found = self.program.nodes(text)
        return found

    def call(self, text: str) -> ast.Call:
        """The last call that is spelled `text`."""
        found = self.node(text)
        assert isinstance(found, ast.Call)
        return found


def ask(files: Files | str) -> Asked:
    """The facts of a project of files by name; a text alone is `train.py`."""
    program = Analysis(files)
    facts = facts_of(program.project, Options(), load_rules())
    return Asked(program, facts)
