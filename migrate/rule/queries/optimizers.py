"""The optimizers of a program, and the FSDP models that they train."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from fsdp_migrate.analysis.values import Container, Instance, Params, Result, Wrapped
from fsdp_migrate.lowering.parameter_holders import parameter_calls
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.models import only_models
from fsdp_migrate.rule.queries.parameters import owners
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class Optimizer:
    """A call that makes an optimizer, or something else that keeps parameters."""

    module: Module
    call: ast.Call
    sharded: frozenset[Wrapped]  # the models whose sharded parameters it is given
    models: frozenset[Wrapped]  # these, and those that are wrapped only afterwards
    names: frozenset[str]  # what the models are called in the call


def optimizers(facts: Facts) -> Iterator[Optimizer]:
    """The optimizers in the files that may be rewritten, in the order of the source."""
    every = [holder for holder in facts.holders.all if holder.module.rewrite]
    for holder in sorted(every, key=lambda h: h.module.site(h.call)):
        sharded = frozenset(owner for owner in holder.owners if isinstance(owner, Wrapped))
        models = set(sharded)
        for argument in [*holder.call.args, *(k.value for k in holder.call.keywords)]:
            models |= owners(facts, argument)
        for site, fact in facts.analysis.wraps.items():
            if holder.owners & fact.inner:
                models.add(Wrapped(site))
        names = frozenset(path for path, _ in parameter_calls(holder.call))
        yield Optimizer(holder.module, holder.call, sharded, frozenset(models), names)


def library_classes(facts: Facts, call: ast.Call) -> frozenset[str]:
    """The functions and classes of libraries that what `call` makes can come from."""
    return frozenset(atom.symbol for atom in facts.value(call) if isinstance(atom, Result))


def keeps_list(facts: Facts, call: ast.Call) -> bool:
    """Whether `call` is given parameters in a list, or a model, and not what it computes with."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(_is_list(facts, node) or any(parameter_calls(node)) for node in given)


def _is_list(facts: Facts, node: ast.expr) -> bool:
    return any(
        isinstance(atom, Container | Wrapped) or (isinstance(atom, Params) and not atom.kind)
        for atom in facts.value(node)
    )


def own_steps(facts: Facts, call: ast.Call) -> Iterator[ast.AST]:
    """The `step` methods of the program's own classes that `call` makes an object of."""
    for atom in facts.value(call):
        if isinstance(atom, Instance):
            site = facts.analysis.method(atom.cls, "step")
            if site is not None:
                yield facts.analysis.functions[site].node


def forwards(facts: Facts) -> Iterator[tuple[Module, ast.Call, frozenset[Wrapped]]]:
    """The calls of FSDP models, and the models that are called."""
    names = {module.name: module for module in facts.analysis.project.modules.values()}
    for site, call in sorted(facts.analysis.call_nodes.items(), key=lambda pair: pair[0]):
        module = names[site.module]
        models = only_models(facts, call.func) if module.rewrite else None
        if models:
            yield module, call, models
