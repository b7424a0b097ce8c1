"""`_fsdp_wrapped_module` in names of parameters and modules, which FSDP2 does not put there.

What takes it out of a name has nothing left to do.  It is dropped where the name is known to
come from the model, and may stay elsewhere: keys of old files can still have it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.findings.code import NOTHING, Kept
from fsdp_migrate.findings.edits import Edit, ReplaceExpression, ReplaceStatement
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import has_models, models_at
from fsdp_migrate.rule.queries.module_walks import takes_inner
from fsdp_migrate.rule.queries.names_read import MARK, NamesRead, children_asked, names_read
from fsdp_migrate.rule.queries.parameters import called, is_parameters, rewritable
from fsdp_migrate.rule.rule import Example, Rule, Surface, finding_at, no_uses
from fsdp_migrate.syntax.comparison import same
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.paths import path_of

PRINTING = frozenset({"builtins.print", "warnings.warn"})
GETATTR = "builtins.getattr"
ASKING = frozenset({GETATTR, "builtins.hasattr"})
TAKING_OUT = frozenset(
    {"count", "endswith", "find", "lstrip", "partition", "removeprefix", "replace", "rpartition",
     "rsplit", "split", "startswith", "sub"}
)  # fmt: skip


def survey(facts: Facts) -> Iterable[Finding]:
    """Look at every string with the prefix, in programs that have FSDP1 models."""
    if not has_models(facts) and not facts.uses:
        return
    for module in rewritable(facts):
        for node in module.parents:
            if isinstance(node, ast.Constant) and _is_mark(node):
                if not _is_documentation(facts, module, node):
                    yield from _prefixed_name(facts, module, node)
    for found in names_read(facts):
        how = "how they begin is looked at here" if found.tests else "they are printed here"
        yield _said(facts, found, f"FSDP1's names had `{MARK}.` in front, FSDP2's don't: {how}")
    for found in children_asked(facts):
        if takes_inner(facts, found.module, found.call):
            continue  # the model is read instead
        yield _said(
            facts,
            found,
            f"FSDP1's model had one child, the module inside (`{MARK}`): these are that module's",
        )


def _said(facts: Facts, found: NamesRead, message: str) -> Finding:
    models = facts.models(found.wraps)
    return finding_at(RULE, found.module, found.call, message, tier=Tier.NOTE, models=models)


def _is_mark(node: ast.Constant) -> bool:
    return isinstance(node.value, str) and MARK in node.value


def _is_documentation(facts: Facts, module: Module, node: ast.Constant) -> bool:
    return isinstance(module.parents[node], ast.Expr) or any(
        isinstance(around, ast.Call) and called(facts, around) & PRINTING
        for around in module.ancestors(node)
    )


def _prefixed_name(facts: Facts, module: Module, node: ast.Constant) -> Iterator[Finding]:
    """What becomes of a string with the prefix that FSDP1 gave to names of parameters."""
    call = next((a for a in module.ancestors(node) if isinstance(a, ast.Call | ast.stmt)), None)
    parent = module.parents[node]
    if isinstance(call, ast.Call) and (edit := _dropped(facts, module, call, node)) is not None:
        message = "names have no such part any more; the replacement goes"
        yield _finding(module, node, message, edit)
    elif isinstance(call, ast.Call) and called(facts, call) & ASKING:
        yield from _asked(facts, module, call, node)
    elif isinstance(call, ast.Call) and _method(call) in TAKING_OUT:
        message = "FSDP2 puts no such part into names; only keys of old files have it"
        yield _finding(module, node, message)
    elif isinstance(parent, ast.Compare):
        outcome = "always" if isinstance(parent.ops[0], ast.NotIn | ast.NotEq) else "never"
        message = f"FSDP2's names have no such part, so that this is {outcome} true"
        yield _finding(module, node, message)
    elif isinstance(parent, ast.JoinedStr) or (
        isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add)
    ):
        message = "a name with FSDP1's prefix is put together here; FSDP2's have none, leave it out"
        # Before Python 3.12 a part of an f-string doesn't know where it stands.
        at = parent if isinstance(parent, ast.JoinedStr) else node
        yield finding_at(RULE, module, at, message, tier=Tier.MANUAL)
    else:
        yield _finding(module, node, "FSDP2's names have no such part")


def _method(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else path_of(call.func)


def _finding(module: Module, node: ast.AST, message: str, edit: Edit | None = None) -> Finding:
    return finding_at(
        RULE,
        module,
        node,
        f'"{MARK}": {message}',
        tier=Tier.NOTE if edit is None else Tier.NATIVE,
        edits=[edit] if edit is not None else [],
    )


# ---------------------------------------------------------------------- replace(..., "")
def _dropped(facts: Facts, module: Module, call: ast.Call, node: ast.AST) -> Edit | None:
    """The edit that drops `name.replace("_fsdp_wrapped_module.", "")`, for names of the model."""
    func = call.func
    if not isinstance(func, ast.Attribute) or call.keywords:
        return None
    if func.attr == "replace":
        if len(call.args) != 2 or call.args[0] is not node or not _is_empty(call.args[1]):
            return None
    elif func.attr != "removeprefix" or call.args != [node]:
        return None
    if not _is_own_name(facts, func.value):
        return None
    statement = module.parents[call]
    if (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and path_of(func.value) is not None
        and same(statement.targets[0], func.value)
    ):
        return ReplaceStatement(module.span(statement), NOTHING)
    return ReplaceExpression(module.span(call), Kept(module.span(func.value)))


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _is_own_name(facts: Facts, node: ast.expr) -> bool:
    """Whether `node` is a name out of an FSDP model's `named_parameters()`, cut or not."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in TAKING_OUT:
            return False
        node = node.func.value
    return is_parameters(facts, node)


# ---------------------------------------------------------------------- getattr and hasattr
def _asked(facts: Facts, module: Module, call: ast.Call, node: ast.AST) -> Iterator[Finding]:
    """`getattr(model, "_fsdp_wrapped_module", model)`: the model either way."""
    if len(call.args) < 2 or call.args[1] is not node:
        return
    model = call.args[0]
    if not models_at(facts, model):
        return
    if GETATTR in called(facts, call) and (len(call.args) == 2 or same(call.args[2], model)):
        edit = ReplaceExpression(module.span(call), Kept(module.span(model)))
        yield _finding(module, node, "the model is the module", edit)
    else:
        message = "a model of FSDP2 has no such attribute: it is the module itself"
        yield _finding(module, node, message)


RULE = Rule(
    code="FSDP405",
    name="wrapped-names",
    summary='`name.replace("_fsdp_wrapped_module.", "")` and the like',
    why="FSDP2 puts no wrapper around a module, so the names of its parameters are clean.",
    fix_safety=(
        "Safe: it is dropped for names that come from the model, and those have no such part."
    ),
    left=(
        "A name that is put together with the prefix: leave the prefix out.  For keys of files "
        "that FSDP1 wrote, keep what takes it away."
    ),
    needs=("the text that it is taken out of comes from a model that is migrated",),
    check=no_uses,
    survey=survey,
    surfaces=(
        Surface(
            "FullyShardedDataParallel.named_parameters",
            "nothing: names are clean, and what cleaned them goes",
            (Tier.NATIVE, Tier.MANUAL),
        ),
        Surface("FullyShardedDataParallel.named_buffers", "nothing: names are clean"),
    ),
    references=(
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "torch/distributed/fsdp/_common_utils.py",
    ),
    examples=(
        Example(
            before="""\
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


def names(model):
    model = FSDP(model)
    return [name.replace("_fsdp_wrapped_module.", "") for name, _ in model.named_parameters()]
""",
            after="""\
from torch.distributed.fsdp import fully_shard


def names(model):
    fully_shard(model)
    return [name for name, _ in model.named_parameters()]
""",
        ),
    ),
)
