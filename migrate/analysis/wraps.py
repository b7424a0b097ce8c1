"""The calls that make FSDP1 models, as the analysis hands them on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from fsdp_migrate.analysis.values import NOTHING, Partial, Symbol, Value
from fsdp_migrate.syntax.fsdp1_names import FSDP1, ROOT
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site


@dataclass(frozen=True, eq=False)
class Argument:
    """An argument of a call: where it is written (None: out of `**kwargs`), and its value."""

    node: ast.expr | None
    value: Value


@dataclass(frozen=True, eq=False)
class WrapFact:
    """A call that makes an FSDP1 model."""

    site: Site
    module: Module
    node: ast.Call
    direct: bool  # the callee is FullyShardedDataParallel itself, not a partial or `wrap`
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    opaque: bool = False  # some arguments can't be known (`*args`, unknown `**kwargs`)
    contexts: frozenset[ast.Call | None] = frozenset()  # of `enable_wrap` that can be around `wrap`
    partials: frozenset[Site] = frozenset()  # that hand the class what they are called with

    @property
    def inner(self) -> Value:
        """What is wrapped."""
        return self.arguments["module"].value if "module" in self.arguments else NOTHING


def with_own_nodes(fact: WrapFact, value: Callable[[ast.AST], Value]) -> WrapFact:
    """`fact` with the nodes of what a call gives a partial beside what that has been given."""
    if fact.direct or not is_called_itself(fact, value):
        return fact
    own = {k.arg: k.value for k in fact.node.keywords if k.arg is not None}
    if fact.node.args and not isinstance(fact.node.args[0], ast.Starred):
        own["module"] = fact.node.args[0]
    made = {n: replace(a, node=own.get(n)) for n, a in fact.arguments.items()}
    return replace(fact, arguments=made)


def is_called_itself(fact: WrapFact, value: Callable[[ast.AST], Value]) -> bool:
    """Whether the partials of a wrap are the callee, and not handed to what calls them."""
    callee = {atom.site for atom in value(fact.node.func) if isinstance(atom, Partial)}
    return bool(fact.partials) and fact.partials <= callee


def is_called_back(fact: WrapFact, value: Callable[[ast.AST], Value]) -> bool:
    """Whether a library is given the class, and makes models by it: `map(FSDP, layers)`."""
    callee = value(fact.node.func)
    others = fact.direct or fact.partials or fact.contexts or Symbol(f"{ROOT}.wrap.wrap") in callee
    return not others and Symbol(FSDP1) not in callee and set(fact.arguments) == {"module"}


def may_call_another(fact: WrapFact, value: Callable[[ast.AST], Value]) -> bool:
    """Whether what makes a model may be something else than the class that is called, too."""
    itself = fact.direct and not fact.contexts and not fact.partials
    return itself and value(fact.node.func) != {Symbol(FSDP1)}
