"""`model.module` becomes `model`: FSDP2 puts no wrapper around the module."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from fsdp_migrate.analysis.values import Cls, Symbol
from fsdp_migrate.findings.finding import Finding, ReplaceExpression, ReplaceStatement, Tier
from fsdp_migrate.rule.rule import Example, Facts, Rule, Surface, Use, finding
from fsdp_migrate.syntax.unwrapping import unwrapping


def check(use: Use, facts: Facts) -> Iterable[Finding]:
    """Drop the attribute, or look for it where the model may have a real one."""
    assert use.receiver is not None
    if _is_unwrapping(use, facts) or _asked_for(use):
        return  # runs for real wrappers only, which FSDP2 is none of
    choice = _choice(use)
    if choice is not None and use.certain:
        yield finding(
            RULE,
            use,
            "model.module or model: both are the model now",
            tier=Tier.NATIVE,
            edits=[
                ReplaceExpression(use.module.span(choice), "{0}", (use.module.span(use.receiver),))
            ],
            units=facts.units(use.wraps),
        )
        return
    statement = use.module.parents[use.node]
    if use.certain and isinstance(statement, ast.Assign):
        if [ast.dump(t) for t in _loaded(statement.targets)] == [ast.dump(use.receiver)]:
            yield finding(
                RULE,
                use,
                "the model is bound to itself: there is no wrapper to take off",
                tier=Tier.NATIVE,
                edits=[ReplaceStatement(use.module.span(statement), "")],
                units=facts.units(use.wraps),
            )
            return
    text = "{0}" if use.certain else 'getattr({0}, "module", {0})'
    yield finding(
        RULE,
        use,
        "model.module becomes model" if use.certain else "model.module, if there is a wrapper",
        tier=Tier.NATIVE,
        edits=[
            ReplaceExpression(use.module.span(use.node), text, (use.module.span(use.receiver),))
        ],
        units=facts.units(use.wraps),
    )


def _loaded(targets: list[ast.expr]) -> list[ast.expr]:
    """Targets of an assignment, as if they were read."""
    return [ast.parse(ast.unparse(target), mode="eval").body for target in targets]


def _is_unwrapping(use: Use, facts: Facts) -> bool:
    """Whether the place is reached only after a test for classes, of which FSDP is dropped."""
    found = unwrapping(use.module, use.node)
    tested = [facts.value(node) for node in found.classes] if found is not None else []
    return bool(tested) and all(
        value and all(isinstance(atom, Symbol | Cls) for atom in value) for value in tested
    )


def _choice(use: Use) -> ast.IfExp | None:
    """`m.module if <m is wrapped> else m`, which is `m` either way."""
    parent = use.module.parents[use.node]
    assert use.receiver is not None
    if isinstance(parent, ast.IfExp) and parent.test is not use.node:
        other = parent.orelse if parent.body is use.node else parent.body
        if ast.dump(other) == ast.dump(use.receiver):
            return parent
    return None


def _asked_for(use: Use) -> bool:
    """Whether the place is reached only if `hasattr(model, "module")`."""
    assert use.receiver is not None
    wanted = f"hasattr({ast.unparse(use.receiver)}, {use.name!r})"
    child: ast.AST = use.node
    for parent in use.module.ancestors(use.node):
        if isinstance(parent, ast.If | ast.IfExp | ast.While):
            body = parent.body if isinstance(parent.body, list) else [parent.body]
            if child in body and ast.unparse(parent.test) == wanted:
                return True
        child = parent
    return False


RULE = Rule(
    code="FSDP402",
    name="module-attribute",
    summary="`model.module` becomes `model`",
    why="`fully_shard` works in place, so that the model is the module.",
    fix_safety="Safe: it is the same object.",
    check=check,
    methods=("module", "_fsdp_wrapped_module"),
    surfaces=(Surface("FullyShardedDataParallel.module", "the model"),),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

def config_of(net):
    model = FSDP(net)
    return model.module.config
""",
            after="""\
from torch.distributed.fsdp import fully_shard

def config_of(net):
    model = fully_shard(net)
    return model.config
""",
        ),
    ),
)
