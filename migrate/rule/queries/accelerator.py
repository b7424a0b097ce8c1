"""Where a program makes Accelerate's `Accelerator`, and what it prepares with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fsdp_migrate.analysis.values import NONE, Result, Unknown, constants, symbols
from fsdp_migrate.findings.text_arguments import Arguments
from fsdp_migrate.rule.rule import Facts, Use
from fsdp_migrate.syntax.module import Module

ACCELERATOR = frozenset({"accelerate.Accelerator", "accelerate.accelerator.Accelerator"})


def takers(use: Use, facts: Facts) -> Iterator[Arguments]:
    """The calls of `Accelerator` that the plugin may go into."""
    assert use.call is not None
    made = Result(use.name, use.module.site(use.call))
    for module, call in _calls(facts):
        if symbols(facts.value(call.func)) & ACCELERATOR:
            if any(k.arg == "fsdp_plugin" and made in facts.value(k.value) for k in call.keywords):
                yield Arguments(module, call)


def is_mixed(facts: Facts, taker: Arguments) -> bool:
    """Whether an `Accelerator` may compute in low precision."""
    known = constants(facts.value(taker.value("mixed_precision")))
    return "mixed_precision" in taker and (known is None or not set(known) <= {None, "no"})


def _calls(facts: Facts) -> Iterator[tuple[Module, ast.Call]]:
    for module in facts.solver.project.modules.values():
        if module.rewrite:
            yield from ((module, n) for n in ast.walk(module.tree) if isinstance(n, ast.Call))


def lonely_prepares(facts: Facts) -> Iterator[tuple[Module, ast.Call, bool]]:
    """Calls of `prepare` with a model but no optimizer, or many models, and if that is certain."""
    for module, call in _calls(facts):
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "prepare":
            continue
        base = facts.value(call.func.value)
        if not any(isinstance(a, Result) and a.symbol in ACCELERATOR for a in base):
            continue
        kinds = [_kind(facts, argument) for argument in call.args]
        models, optimizers = kinds.count("model"), kinds.count("optimizer")
        if None not in kinds and (models > 1 or (models > 0) != (optimizers > 0)):
            yield module, call, True
        elif kinds == [None]:
            yield module, call, False


def _kind(facts: Facts, node: ast.expr) -> str | None:
    """Whether an argument is a model, an optimizer, or something else; None if it isn't known."""
    value = facts.value(node) - NONE
    if any(facts.solver.is_module(a) for a in value):
        return "model"
    names = {a.symbol for a in value if isinstance(a, Result)}
    if any(name.startswith("torch.optim.") and "lr_scheduler" not in name for name in names):
        return "optimizer"
    if any(name.startswith(("torch.nn.", "transformers.Auto")) for name in names):
        return "model"
    unknown = not value or any(isinstance(a, Unknown) for a in value)
    return None if unknown or isinstance(node, ast.Starred) else "other"
