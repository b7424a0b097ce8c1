"""Parameters that are asked of a model above its wrap and read below it, however they get there.

What keeps them is found by the text of the function (`before_wrap`), and taken along or handed the
new parameters.  This is about the rest: what only the analysis has followed, through an attribute,
a nested function, an object.  Nobody knows how to take it along, but it must not pass in silence.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fsdp_migrate.analysis.values import Params, Result, Unknown, Wrapped, symbols
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.kept_parameters import is_bound_anew
from fsdp_migrate.lowering.running_order import runs_only_before
from fsdp_migrate.lowering.steps import Step, steps_outwards
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.rule.queries.before_wrap import TooEarly
from fsdp_migrate.rule.queries.mixed_lists import parameters_given
from fsdp_migrate.syntax.blocks import common_block
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.nodes import nodes_in, own_nodes
from fsdp_migrate.syntax.paths import binds, reads
from fsdp_migrate.syntax.span import Site

LOADED = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)
BLIND = frozenset({"bool", "isinstance", "len", "type"})  # look at no parameter


@dataclass(frozen=True)
class StaleRead:
    """A statement above a wrap that asks for parameters, and one below that reads them."""

    module: Module
    asked: ast.stmt
    wrapped: Wrapped
    below: ast.stmt  # leads to the wrap
    read: ast.expr
    is_certain: bool = True  # that it is parameters what is read


def stale_reads(facts: Facts, known: Sequence[TooEarly]) -> Iterator[StaleRead]:
    """The first such read of each statement, but for those that are `known`."""
    finder = _Finder(facts)
    done = {statement for early in known for statement in early.covers}
    for fact in facts.analysis.wraps.values():
        calls = facts.analysis.call_graph
        for step in steps_outwards(calls, fact.module, fact.node, frozenset()):
            if step.module.rewrite:
                followed = [(*pair, True) for pair in finder.below(fact, step)]
                lost = [(*pair, False) for pair in finder.lost(fact, step)]
                names = _names_kept(known, step)
                for asked, read, is_certain in (*followed, *lost):
                    if asked not in done and names.isdisjoint(reads(read)):
                        done.add(asked)
                        yield StaleRead(
                            step.module, asked, Wrapped(fact.site), step.statement, read, is_certain
                        )


@dataclass
class _Finder:
    facts: Facts
    nodes: dict[str, dict[Site, ast.expr]] = field(default_factory=dict)

    def below(self, fact: WrapFact, step: Step) -> Iterator[tuple[ast.stmt, ast.expr]]:
        """What asks above `step` for what is read below it, and the read."""
        module, end = step.module, step.statement.end_lineno or step.statement.lineno
        for node in nodes_in(step.scope):
            if not isinstance(node, LOADED) or node.lineno <= end:
                continue
            if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load) or self._is_blind(
                module, node
            ):
                continue
            births = self._births(module, node, fact)
            if not births or self._is_anew(step, node):
                continue
            for born in births:
                asked = list(self._statements(born, step))
                if module.statement(node) not in asked:
                    yield from ((s, node) for s in asked if self._is_above(step, s))

    def lost(self, fact: WrapFact, step: Step) -> Iterator[tuple[ast.stmt, ast.expr]]:
        """What is made of the model above `step`, and given to an optimizer below it."""
        facts, module = self.facts, step.module
        end = step.statement.end_lineno or step.statement.lineno
        for call in nodes_in(step.scope):
            if not isinstance(call, ast.Call) or call.lineno <= end:
                continue
            given = parameters_given(call) if facts.holders.names_optimizer(call) else None
            if given is None or not self._is_lost(module, given):
                continue
            wanted = {n.id for n in nodes_in(given) if isinstance(n, ast.Name)}
            made_of = facts.sharded.made_of.sources(fact, step)
            for statement in self._above(step):
                if wanted & (binds(statement) | self._may_fill(statement)):
                    wanted |= reads(statement)
                    names = _names(statement)
                    if any(facts.value(n) & fact.inner or n.id in made_of for n in names):
                        if not any(is_bound_anew(module, n, step.statement) for n in _names(given)):
                            yield statement, given
                        break

    def _may_fill(self, statement: ast.stmt) -> frozenset[str]:
        """What a call that stands alone may put parameters into: `net.apply(every.append)`."""
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call):
            return frozenset()
        builtin = (name.startswith("builtins.") for name in symbols(self.facts.value(call.func)))
        if any(builtin):
            return frozenset()
        return frozenset(name.id for name in _names(statement))

    def _is_lost(self, module: Module, given: ast.expr) -> bool:
        """Whether nobody knows whose parameters an optimizer is given."""
        held, sharded = self.facts.sharded.held(given), self.facts.sharded
        parameters = [atom for atom in held if isinstance(atom, Params)]
        if any(sharded.wraps_of(module, given, atom) for atom in parameters):
            return False
        nobody = any(isinstance(atom.owner, Unknown) for atom in parameters)
        lost = any(isinstance(atom, Unknown | Result) for atom in held)
        return nobody or (lost and not parameters)

    def _above(self, step: Step) -> list[ast.stmt]:
        """The statements that run before `step`, the last one first."""
        found = [n for n in own_nodes(step.scope) if isinstance(n, ast.stmt)]
        above = [statement for statement in found if self._is_above(step, statement)]
        return sorted(above, key=lambda statement: statement.lineno, reverse=True)

    def _births(self, module: Module, node: ast.expr, fact: WrapFact) -> set[Site]:
        """Where the parameters of `fact`'s model that `node` holds were asked for."""
        sharded, wrapped = self.facts.sharded, Wrapped(fact.site)
        return {
            atom.born
            for atom in sharded.held(node)
            if isinstance(atom, Params) and atom.born is not None
            if atom.kind != "name" and atom.made is None and not isinstance(atom.owner, Wrapped)
            if wrapped in sharded.wraps_of(module, node, atom)
        }

    def _statements(self, born: Site, step: Step) -> Iterator[ast.stmt]:
        """The statements in the function of `step` that lead to where parameters are asked for."""
        module = self.facts.analysis.project.modules[born.module]
        place = self._nodes(module).get(born)
        if place is None:
            return
        calls = self.facts.analysis.call_graph
        for each in steps_outwards(calls, module, place, frozenset()):
            if each.module is step.module and each.scope is step.scope:
                yield each.statement

    def _nodes(self, module: Module) -> dict[Site, ast.expr]:
        if module.name not in self.nodes:
            self.nodes[module.name] = {
                module.site(n): n for n in module.parents if isinstance(n, ast.expr)
            }
        return self.nodes[module.name]

    def _is_above(self, step: Step, asked: ast.stmt) -> bool:
        return (
            asked.lineno < step.statement.lineno
            and common_block(step.module, asked, step.statement) is not None
        )

    def _is_anew(self, step: Step, node: ast.expr) -> bool:
        """Whether what `node` reads is bound below the wrap, or runs above it all the same."""
        module = step.module
        if module.scope(node) is not step.scope:
            calls = self.facts.analysis.call_graph
            if runs_only_before(calls, module, node, [step]):
                return True
        return any(is_bound_anew(module, name, step.statement) for name in _names(node))

    def _is_blind(self, module: Module, node: ast.expr) -> bool:
        call = module.parents[node]
        return (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in BLIND
            and node in call.args
        )


def _names_kept(known: Sequence[TooEarly], step: Step) -> set[str]:
    """What is taken care of in the function of `step`, by name."""
    here = (e for e in known if e.module is step.module)
    own = (e for e in here if e.module.scope(e.statement) is step.scope)
    return {name for early in own for name in early.names}


def _names(node: ast.AST) -> list[ast.Name]:
    return [inner for inner in nodes_in(node) if isinstance(inner, ast.Name)]
