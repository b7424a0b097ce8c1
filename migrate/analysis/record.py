"""What runs leave behind beside the heap: the values of expressions, calls and wraps."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TypeAlias

from fsdp_migrate.analysis.values import NOTHING, Value, join
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

Modes: TypeAlias = frozenset[Site | None]
"""The state-dict contexts that can be open at some place; None stands for none at all."""
NO_MODE: Modes = frozenset({None})

Given: TypeAlias = tuple[list[Value], dict[str, Value]]
"""What a call passes, by position and by name."""


@dataclass(frozen=True)
class Record:
    """What the runs have seen so far; later runs of the same code add to it."""

    values: dict[ast.AST, Value] = field(default_factory=dict)
    wraps: dict[Site, WrapFact] = field(default_factory=dict)
    calls: dict[Site, Given] = field(default_factory=dict)
    call_nodes: dict[Site, ast.Call] = field(default_factory=dict)
    open_modes: dict[ast.Call, Modes] = field(default_factory=dict)
    runs: dict[Site, dict[ast.AST, Module]] = field(default_factory=dict)  # of functions, and where
    stated: dict[ast.expr, Module] = field(default_factory=dict)  # annotated as FSDP1 models
    returning: set[Site] = field(default_factory=set)  # functions annotated to return one

    def value(self, node: ast.AST) -> Value:
        """What was seen of the expression `node`."""
        return self.values.get(node, NOTHING)

    def note(self, node: ast.AST, value: Value) -> Value:
        """Join `value` to what was seen of `node`, and give all of it."""
        known = self.values.get(node)
        if known is not value:
            value = self.values[node] = value if known is None else join(known, value)
        return value

    def note_run(self, function: Site, node: ast.AST, module: Module) -> None:
        """Note that `node` in `module` runs a function: a call, or what has it called."""
        self.runs.setdefault(function, {})[node] = module

    def note_call(self, site: Site, node: ast.Call, given: Given, modes: Modes) -> None:
        """Note a call at `site` with the contexts `modes` open around it."""
        self.calls[site] = given
        self.call_nodes[site] = node
        self.open_modes[node] = self.open_modes.get(node, frozenset()) | modes
