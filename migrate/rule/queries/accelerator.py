"""Where a program makes Accelerate's `Accelerator`, what goes into it and what comes out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.definitions import definition
from fsdp_migrate.analysis.values import (
    NONE,
    Instance,
    Result,
    Unknown,
    Value,
    constants,
    symbols,
)
from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in

ACCELERATOR = frozenset({"accelerate.Accelerator", "accelerate.accelerator.Accelerator"})
PLUGIN = tuple(
    f"accelerate{home}.FullyShardedDataParallelPlugin"
    for home in ("", ".utils", ".utils.dataclasses", ".accelerator")
)
TRAINERS = ("transformers", "trl", "setfit", "sentence_transformers")  # have an `accelerator`
PATH = ("fsdp_plugin", "state", "accelerator")  # of the plugin, from a Trainer, backwards


# ---------------------------------------------------------------------- the plugin
def is_fsdp2(facts: Facts, call: ast.Call) -> bool:
    """Whether a plugin is made for FSDP2."""
    given = next((k.value for k in call.keywords if k.arg == "fsdp_version"), None)
    return constants(facts.value(given)) == [2]


def takers(use: Use, facts: Facts) -> Iterator[Arguments]:
    """The calls of `Accelerator` that the plugin may go into."""
    assert use.call is not None
    made = Result(use.name, use.module.site(use.call))
    for module, call in _calls(facts):
        if symbols(facts.value(call.func)) & ACCELERATOR:
            if any(k.arg == "fsdp_plugin" and made in facts.value(k.value) for k in call.keywords):
                yield bind(module, call)


def takes_it_surely(facts: Facts, taker: Arguments) -> bool:
    """Whether what an `Accelerator` gets as its plugin is known, and all else that it gets too."""
    return len(facts.value(taker.value("fsdp_plugin"))) == 1 and taker.all_named


def is_mixed(facts: Facts, taker: Arguments) -> bool:
    """Whether an `Accelerator` may compute in low precision."""
    known = constants(facts.value(taker.value("mixed_precision")))
    return "mixed_precision" in taker and (known is None or not set(known) <= {None, "no"})


def accelerators(facts: Facts) -> list[ast.Call]:
    """The calls that make an `Accelerator`."""
    return [call for _, call in _calls(facts) if symbols(facts.value(call.func)) & ACCELERATOR]


def has_plugin(facts: Facts) -> bool:
    """Whether the program itself says how Accelerate shards its models."""
    return any(symbols(facts.value(call.func)) & set(PLUGIN) for _, call in _calls(facts))


# ---------------------------------------------------------------------- policies put into it later
@dataclass(frozen=True)
class LatePolicy:
    """`plugin.auto_wrap_policy = ...`; `certain` if it is known to be a plugin of FSDP1's."""

    module: Module
    target: ast.Attribute
    certain: bool


def late_policies(facts: Facts) -> Iterator[LatePolicy]:
    """The places where a plugin gets its wrap policy after it was made."""
    for module in facts.analysis.project.modules.values():
        for node in nodes_in(module.tree) if module.rewrite else ():
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if node.attr == "auto_wrap_policy":
                    certain = _is_plugin(facts, module, node.value)
                    if certain is not False:
                        yield LatePolicy(module, node, certain is True)


def _is_plugin(facts: Facts, module: Module, node: ast.expr) -> bool | None:
    """Whether an object is a plugin of FSDP1's; None if it is one of whatever it is taken from."""
    value = facts.value(node)
    made = [atom for atom in value if isinstance(atom, Result) and atom.symbol in PLUGIN]
    if made:
        calls = [facts.analysis.call_nodes.get(atom.site) for atom in made]
        return any(call is None or not is_fsdp2(facts, call) for call in calls)
    if value - NONE and not any(isinstance(atom, Unknown) for atom in value):
        return False
    return _is_plugin_of_state(facts, module, node)


def _is_plugin_of_state(facts: Facts, module: Module, node: ast.expr) -> bool | None:
    """The same of `accelerator.state.fsdp_plugin`, by the attributes that lead to it."""
    first, node = _attribute(module, node)
    if first != PATH[0]:
        return False
    state, node = _attribute(module, node)
    if state != PATH[1]:
        return None
    if _is_accelerator(facts.value(node)):
        return True
    holder, node = _attribute(module, node)
    return True if holder == PATH[2] and _is_trainer(facts, facts.value(node)) else None


def _attribute(module: Module, node: ast.expr) -> tuple[str | None, ast.expr]:
    """The attribute that `node` is (or that the variable was given), and the object it is of."""
    found = definition(module, node) if isinstance(node, ast.Name) else None
    if found is not None:
        node = found.value
    if isinstance(node, ast.Attribute):
        return node.attr, node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        name = node.args[1] if len(node.args) > 1 else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return name.value, node.args[0]
    return None, node


def _is_accelerator(value: Value) -> bool:
    return any(isinstance(atom, Result) and atom.symbol in ACCELERATOR for atom in value)


def _is_trainer(facts: Facts, value: Value) -> bool:
    """Whether an object is a Trainer of a library's, or of a class that derives from one."""
    names = {atom.symbol for atom in value if isinstance(atom, Result)}
    for atom in value:
        if isinstance(atom, Instance):
            names |= facts.analysis.library_bases(atom.cls)
    return any(name.partition(".")[0] in TRAINERS for name in names)


# ---------------------------------------------------------------------- what it prepares
def lonely_prepares(facts: Facts) -> Iterator[tuple[Module, ast.Call, bool]]:
    """Calls of `prepare` with a model but no optimizer, or many models, and if that is certain."""
    for module, call in _calls(facts):
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "prepare":
            continue
        if not _is_accelerator(facts.value(call.func.value)):
            continue
        kinds = [_kind(facts, argument) for argument in call.args]
        models, optimizers = kinds.count("model"), kinds.count("optimizer")
        if None not in kinds and (models > 1 or (models > 0) != (optimizers > 0)):
            yield module, call, True
        elif kinds == [None]:
            yield module, call, False


def _calls(facts: Facts) -> Iterator[tuple[Module, ast.Call]]:
    for module in facts.analysis.project.modules.values():
        if module.rewrite:
            yield from ((module, n) for n in nodes_in(module.tree) if isinstance(n, ast.Call))


def _kind(facts: Facts, node: ast.expr) -> str | None:
    """Whether an argument is a model, an optimizer, or something else; None if it isn't known."""
    value = facts.value(node) - NONE
    if any(facts.analysis.is_module(a) for a in value):
        return "model"
    names = {a.symbol for a in value if isinstance(a, Result)}
    schedulers = {name for name in names if name.startswith("torch.optim.lr_scheduler.")}
    if any(name.startswith("torch.optim.") for name in names - schedulers):
        return "optimizer"
    if any(name.startswith(("torch.nn.", "transformers.Auto")) for name in names):
        return "model"
    unknown = not value or any(isinstance(a, Unknown) for a in value)
    return None if unknown or isinstance(node, ast.Starred) else "other"
