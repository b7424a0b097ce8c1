"""Branches for FSDP1's models where FSDP2's have their own: these are left, and the others go.

A sharded model is an `FSDPModule` after the migration.  A test for FSDP1's class would become one
for that, and what FSDP2's models ran into so far would never be reached.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import ALTERNATIVE, NOTHING, Kept, call, code, either
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.rule.queries.both_versions import (
    Branch,
    Doubled,
    asked,
    branches,
    doubled,
    may_be_sharded_already,
    refusals,
    tests_of_fsdp2,
)
from fsdp_migrate.rule.queries.parameters import rewritable
from fsdp_migrate.rule.queries.values import from_library, models
from fsdp_migrate.rule.rule import Example, Rule, finding_at, no_uses
from fsdp_migrate.syntax.fsdp1_names import FSDP1
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at the tests for both classes, file by file."""
    for module in rewritable(facts):
        found = list(branches(facts, module))
        yield from (_of_branch(facts, branch) for branch in found)
        gone = {node for branch in found for node in branch.gone}
        for both in doubled(facts, module):
            if both.node not in gone:
                gone.add(both.gone)
                yield finding_at(
                    RULE,
                    module,
                    both.gone,
                    "FSDP's class is FSDPModule now, which stands beside it",
                    tier=Tier.NATIVE,
                    edits=[_single(module, both)],
                )
        for test, refused in refusals(facts, module):
            yield finding_at(
                RULE,
                module,
                test,
                "FSDP2's models are refused here, and all sharded models are such after the "
                "migration: write what is to run for them",
                tier=Tier.MANUAL,
                models=facts.models(refused),
            )
        yield from _left(facts, module, gone)


def _of_branch(facts: Facts, branch: Branch) -> Finding:
    """What becomes of a branch for FSDP1's models."""
    module, test = branch.module, branch.node.test
    where = f"line {branch.twin.lineno} has what runs for FSDP2's models, which is what all"
    if branch.refuses is not None:
        return finding_at(
            RULE,
            module,
            test,
            f"{where} sharded models are after the migration, and may raise an error (line "
            f"{branch.refuses.lineno}): give it what it asks for, then drop this branch",
            tier=Tier.MANUAL,
            models=facts.models(models(facts.value(branch.model))),
        )
    aside = _doubt(facts, branch)
    return finding_at(
        RULE,
        module,
        test,
        f"{where} sharded models are now: the branch for FSDP1's goes{aside}",
        tier=Tier.NATIVE,
        safety=Safety.UNSAFE if aside else Safety.SAFE,
        edits=[_without(module, branch)],
    )


def _doubt(facts: Facts, branch: Branch) -> str:
    """Why the branch that stays may do something else."""
    if branch.is_empty:
        return ".  Nothing is done there: see that nothing has to be done"
    if from_library(facts.value(branch.model)):
        return ".  A library gives the model: see that it gives none of FSDP1's"
    return ""


def replaces(use: Use, facts: Facts) -> Iterable[ast.AST]:
    """All that is in a branch that goes."""
    for branch in branches(facts, use.module):
        yield from branch.gone
    for both in doubled(facts, use.module):
        yield from nodes_in(both.gone)


def _single(module: Module, both: Doubled) -> Edit:
    """What stays of an expression that names both classes."""
    kept = tuple(Kept(module.span(node)) for node in both.kept)
    span, parent = module.span(both.node), module.parents[both.node]
    if isinstance(both.node, ast.BoolOp):
        return ReplaceExpression(span, either(*kept))
    if len(kept) > 1:
        return ReplaceExpression(span, code("({all},)", all=kept))
    if isinstance(both.node, ast.BinOp):
        return ReplaceExpression(span, kept[0])
    if isinstance(parent, ast.Call) and parent.args[1:] == [both.node]:  # of isinstance
        function, model = (Kept(module.span(node)) for node in (parent.func, parent.args[0]))
        return ReplaceExpression(module.span(parent), call(function, model, kept[0]))
    return ReplaceExpression(span, code("({one},)", one=kept[0]))


def _without(module: Module, branch: Branch) -> Edit:
    span, node = module.span(branch.node), branch.node
    if isinstance(node, ast.IfExp):
        return ReplaceExpression(span, Kept(module.span(node.orelse)))
    return ReplaceStatement(span, ALTERNATIVE if node.orelse else NOTHING)


def _left(facts: Facts, module: Module, gone: set[ast.AST]) -> Iterator[Finding]:
    """Tests for FSDP1's class that stay, where the program has FSDP2's models as well."""
    twins = list(tests_of_fsdp2(facts, module))
    for node in module.parents:
        if not isinstance(node, ast.Call) or node in gone or asked(facts, node, FSDP1) is None:
            continue
        if twins:
            where = f", for which there is code of its own at line {twins[0].lineno},"
        elif may_be_sharded_already(facts, node.args[0]):
            where = ", which this program makes too,"
        else:
            continue
        yield finding_at(
            RULE,
            module,
            node,
            f"FSDP2's models{where} pass this test from now on: see that they may go this way",
            tier=Tier.NOTE,
        )


RULE = Rule(
    code="FSDP204",
    name="both-versions",
    summary="branches for FSDP1's models go where FSDP2's have their own",
    why="All sharded models are FSDP2's after the migration, and need what is written for those.",
    fix_safety=(
        "Safe where both branches do the same for their models: what runs now is what the program "
        "has for FSDP2.  The branch goes only if the same object is asked for FSDP2's class in the "
        "same chain or block; elsewhere the test becomes one for FSDPModule, and a note says so.  "
        "Unsafe where the branch that stays does nothing, and where a library gives the model."
    ),
    left=(
        "A branch for FSDP2's models that raises an error, or a test whose branches do "
        "different things: write into the branch for FSDP2 what has to run, and drop FSDP1's."
    ),
    needs=(
        "the same object is asked for FSDP2's class in the same chain or block",
        "what is written for FSDP2's models runs through",
        "something is done for FSDP2's models",
        "the model is made by the program",
    ),
    check=no_uses,
    symbols=(FSDP1,),
    survey=survey,
    replaces=replaces,
    examples=(
        Example(
            before="""\
import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def clip(model, limit):
    if isinstance(model, FSDP):
        return model.clip_grad_norm_(limit)
    if isinstance(model, FSDPModule):
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        return norm.full_tensor()
    return None
""",
            after="""\
import torch
from torch.distributed.fsdp import FSDPModule


def clip(model, limit):
    if isinstance(model, FSDPModule):
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        return norm.full_tensor()
    return None
""",
        ),
    ),
)
