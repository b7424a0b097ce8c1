"""Questions about hooks for the communication of gradients."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import Result, Symbol
from fsdp_migrate.rule.dead_code import made_only_for
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.syntax.fsdp1_names import short

ALGORITHMS = "torch.distributed.algorithms"
HOMES = (f"{ALGORITHMS}._comm_hooks.", f"{ALGORITHMS}.ddp_comm_hooks.")


def hooks(use: Use, facts: Facts) -> set[str]:
    """The names of the hooks of torch that a call may register; "" for any other."""
    given = [*use.args[1:2], *(k.value for k in use.keywords if k.arg == "hook")]
    return {
        short(atom.name) if isinstance(atom, Symbol) and atom.name.startswith(HOMES) else ""
        for node in given
        for atom in facts.value(node)
    }


def state_of_hook(use: Use, facts: Facts) -> Iterator[ast.stmt]:
    """The assignment of the hook's state, if nothing else reads it."""
    given = [*use.args[:1], *(k.value for k in use.keywords if k.arg == "state")]
    for node in given:
        made = facts.value(node)
        if all(isinstance(a, Result) and a.symbol.startswith(HOMES) for a in made):
            statement = made_only_for(facts, use.module, node)
            if statement is not None:
                yield statement
