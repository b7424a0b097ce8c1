"""Comments behind arguments of a constructor that go without a trace, as `# for torch.compile`."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from fsdp_migrate.lowering.wrap_plan import WrapPlan

# Arguments that say nothing to FSDP2, whatever they are.
VANISHING = frozenset(
    {"backward_prefetch", "forward_prefetch", "limit_all_gathers", "use_orig_params"}
)


def vanished_comments(plan: WrapPlan) -> frozenset[str]:
    """The comments that stand behind such arguments, and behind nothing else."""
    module, made = plan.fact.module, plan.fact.node
    statement = module.statement(made)
    inside = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    by_line = {line: text for line, text in (module.comments or {}).items() if line in inside}
    if not by_line:
        return frozenset()
    times = Counter(by_line.values())
    values = [*made.args, *(keyword.value for keyword in made.keywords)]
    beside = Counter(line for value in values for line in _lines(value))
    return frozenset(
        by_line[line]
        for line, vanishing in Counter(_ends(plan, made)).items()
        if line in by_line
        and times[by_line[line]] == 1
        and beside[line] == vanishing
        and line not in (made.lineno, made.end_lineno)
    )


def _ends(plan: WrapPlan, made: ast.Call) -> Iterator[int]:
    """The last lines of the arguments that vanish."""
    for keyword in made.keywords:
        no_device = keyword.arg == "device_id" and plan.parts.device is None
        if keyword.arg in VANISHING or no_device:
            yield keyword.value.end_lineno or keyword.value.lineno


def _lines(value: ast.expr) -> set[int]:
    return {value.lineno, value.end_lineno or value.lineno}
