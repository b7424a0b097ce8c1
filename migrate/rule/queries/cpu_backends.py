"""Whether the process group of a program can communicate tensors on the CPU."""

from __future__ import annotations

import ast

from fsdp_migrate.analysis.values import constants, symbols
from fsdp_migrate.findings.arguments import bind
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.nodes import nodes_in

_INIT = frozenset(
    {
        "torch.distributed.init_process_group",
        "torch.distributed.distributed_c10d.init_process_group",
    }
)
_SIGNATURE = ("backend",)
_FOR_CPU = frozenset({"gloo", "mpi", "ucc"})  # work on the CPU when they stand alone


def has_cpu_backend(facts: Facts) -> bool:
    """Whether every call that starts a process group is known to give it a backend for the CPU."""
    given = [
        bind(module, node, _SIGNATURE)
        for module in facts.analysis.project.modules.values()
        for node in nodes_in(module.tree)
        if isinstance(node, ast.Call) and symbols(facts.value(node.func)) & _INIT
    ]
    return bool(given) and all(
        _is_for_cpu(constants(facts.value(call.value("backend")))) for call in given
    )


def _is_for_cpu(names: list[object] | None) -> bool:
    return names is not None and all(
        isinstance(name, str)
        and (name.lower() in _FOR_CPU or "cpu:" in name.lower().replace(" ", ""))
        for name in names
    )
