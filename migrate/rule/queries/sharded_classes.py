"""Which classes get a new one on top: `fully_shard` makes `FSDPBlock` of a `Block` it shards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fsdp_migrate.analysis.values import NONE, Cls, Instance, Result, Symbol, Value, Wrapped
from fsdp_migrate.analysis.wraps import WrapFact
from fsdp_migrate.lowering.model_parts import parts_of_model
from fsdp_migrate.rule.facts import Facts
from fsdp_migrate.syntax.fsdp1_names import short
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

PREFIX = "FSDP"


@dataclass(frozen=True)
class ShardedClasses:
    """The classes of the modules that are sharded: those of roots and of units.

    `open` says that modules of other classes may be among them: a policy or a model that isn't
    followed.
    """

    own: frozenset[Site] = frozenset()
    libraries: frozenset[str] = frozenset()
    open: bool = False
    models: frozenset[Wrapped] = frozenset()
    has_units: bool = False  # besides the root: children of modules may be FSDP1's wrappers

    def __bool__(self) -> bool:
        return self.open or bool(self.own or self.libraries)

    def of(self, value: Value) -> ShardedClasses:
        """Those of them that the classes in `value` are."""
        own = frozenset(atom.site for atom in value if isinstance(atom, Cls))
        libraries = frozenset(atom.name for atom in value if isinstance(atom, Symbol))
        if self.open:
            return ShardedClasses(own, libraries, False, self.models)
        return ShardedClasses(own & self.own, libraries & self.libraries, False, self.models)

    def instances(self, value: Value) -> bool:
        """Whether an object in `value` is of one of them."""
        return any(
            (isinstance(atom, Instance) and (self.open or atom.cls in self.own))
            or (isinstance(atom, Result) and atom.symbol in self.libraries)
            for atom in value
        )

    def names(self, facts: Facts) -> frozenset[str] | None:
        """Their names; None where there may be others."""
        if self.open:
            return None
        own = {facts.analysis.classes[site].node.name for site in self.own}
        return frozenset(own | {short(name) for name in self.libraries})


def sharded_classes(facts: Facts, module: Module) -> ShardedClasses:
    """The classes that the program around `module` shards.

    Where it makes no model itself and is given some, as annotations and FSDP1's functions show,
    their classes are not known.
    """
    program = facts.analysis.project.program_of(module.name)
    found = [fact for fact in facts.analysis.wraps.values() if fact.module.name in program]
    if not found and facts.analysis.has_models:
        return ShardedClasses(open=True, has_units=True)
    return _joined(_of_wrap(facts, fact) for fact in found)


def _joined(parts: Iterable[ShardedClasses]) -> ShardedClasses:
    every = list(parts)
    return ShardedClasses(
        frozenset().union(*(part.own for part in every)),
        frozenset().union(*(part.libraries for part in every)),
        any(part.open for part in every),
        frozenset().union(*(part.models for part in every)),
        len(every) > 1 or any(part.has_units for part in every),
    )


def _of_wrap(facts: Facts, fact: WrapFact) -> ShardedClasses:
    """The classes of the root and of the units of one constructor call."""
    own, libraries = set[Site](), set[str]()
    known = bool(fact.inner) and not fact.opaque
    for atom in fact.inner:
        if isinstance(atom, Instance):
            own.add(atom.cls)
        elif isinstance(atom, Result):
            libraries.add(atom.symbol)
        elif not isinstance(atom, Wrapped):
            known = False
    policy = fact.arguments.get("auto_wrap_policy")
    plan = facts.wraps.get(fact.site)
    has_units = fact.opaque or (policy is not None and policy.value != NONE)
    if policy is not None and policy.value != NONE:
        units = plan.parts.units if plan is not None else None
        condition = units.condition if units is not None else None
        if condition is None or condition.open or not condition.is_class_test:
            parts = parts_of_model(facts.analysis, fact.inner)  # any of them may be a unit
            known = known and not parts.unfollowed
            own |= parts.classes
            libraries |= {t.symbol if isinstance(t, Result) else t.name for t in parts.libraries}
        else:
            for site in condition.classes:
                own |= {site, *facts.analysis.descendants(site)}
            libraries |= condition.libraries
            own |= {
                site
                for site in facts.analysis.classes
                if facts.analysis.library_bases(site) & condition.libraries
            }
    models = frozenset({Wrapped(fact.site)})
    return ShardedClasses(frozenset(own), frozenset(libraries), not known, models, has_units)
