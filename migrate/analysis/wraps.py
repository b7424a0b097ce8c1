"""The calls that make FSDP1 models, as the analysis hands them on."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from fsdp_migrate.analysis.values import NOTHING, Value
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class Argument:
    """An argument of a call: where it is written (None: out of `**kwargs`), and its value."""

    node: ast.expr | None
    value: Value


@dataclass(frozen=True, eq=False)
class WrapFact:
    """A call that makes an FSDP1 model."""

    site: Site
    module: Module
    node: ast.Call
    direct: bool  # the callee is FullyShardedDataParallel itself, not a partial or `wrap`
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    opaque: bool = False  # some arguments can't be known (`*args`, unknown `**kwargs`)
    contexts: frozenset[ast.Call | None] = frozenset()  # of `enable_wrap` that can be around `wrap`

    @property
    def inner(self) -> Value:
        """What is wrapped."""
        return self.arguments["module"].value if "module" in self.arguments else NOTHING
