"""Where Python names FSDP1 by a text: `{"_target_": "torch.distributed.fsdp..."}`, `getattr`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import constants, symbols
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.fsdp1_names import ROOT, canonical, is_fsdp1
from fsdp_migrate.syntax.module import Module

MODULES = frozenset(
    f"{ROOT}.{name}"
    for name in ("api", "fully_sharded_data_parallel", "sharded_grad_scaler", "wrap")
)


def names_in_text(module: Module) -> Iterator[tuple[ast.Constant, str]]:
    """The texts that are the path of something of FSDP1's and nothing else, and its name."""
    for node in module.parents:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = canonical(node.value)
            parts = node.value.split(".")
            is_path = all(part.isidentifier() for part in parts)
            if is_path and is_fsdp1(name) and node.value not in MODULES:
                yield node, _class_in(name)


def _class_in(name: str) -> str:
    """The class that a path leads to, or to a member of."""
    parts = name.split(".")
    below = len(ROOT.split("."))
    found = [i for i, part in enumerate(parts) if i >= below and part[0].isupper()]
    return ".".join(parts[: found[0] + 1]) if found else name


def asked_by_name(facts: Facts, module: Module) -> Iterator[ast.Call]:
    """The calls of `getattr(torch.distributed.fsdp, name)` whose name isn't known."""
    for node in module.parents:
        if isinstance(node, ast.Call) and len(node.args) > 1:
            if symbols(facts.value(node.func)) != {"builtins.getattr"}:
                continue
            packages = symbols(facts.value(node.args[0]))
            if packages & {ROOT, *MODULES} and constants(facts.value(node.args[1])) is None:
                yield node
