"""The condition under which a submodule becomes an FSDP unit of its own."""

from __future__ import annotations

from dataclasses import dataclass

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.values import Cls, Instance, Result, Symbol, Value
from fsdp_migrate.findings.code import Code, Part, code, either, variable
from fsdp_migrate.lowering.class_nesting import may_nest
from fsdp_migrate.syntax.span import Site

UNIT = variable("module", "submodule", "unit", "fsdp_unit")


@dataclass(frozen=True)
class Condition:
    """A test of the submodule `UNIT`.

    `nested` says that a unit may contain another one, so that the inner one has to be sharded
    first; `open`, that it may hold for modules of other classes than those named here.
    """

    test: Part
    nested: bool
    classes: frozenset[Site] = frozenset()  # of the project
    libraries: frozenset[str] = frozenset()  # by canonical name
    open: bool = False
    is_class_test: bool = False  # it asks for nothing but the classes

    def may_hold_for(self, analysis: Analysis, root: Value) -> bool:
        """Whether the condition may hold for the module that is wrapped itself."""
        own = {a.cls for a in root if isinstance(a, Instance)}
        lineage = {site for cls in own for site in analysis.lineage(cls)}
        libraries = {a.symbol for a in root if isinstance(a, Result)}
        libraries |= {name for cls in own for name in analysis.library_bases(cls)}
        return self.open or bool(lineage & self.classes or libraries & self.libraries)

    def without(self, root: Part) -> Code:
        """The condition that does not hold for `root`."""
        return code("{unit} is not {root} and {test}", unit=UNIT, root=root, test=self.test)


def any_of(analysis: Analysis, conditions: list[Condition]) -> Condition:
    """The condition that holds where one of `conditions` does."""
    own = frozenset[Site]().union(*(c.classes for c in conditions))
    libraries = frozenset[str]().union(*(c.libraries for c in conditions))
    is_open = any(c.open for c in conditions)
    return Condition(
        either(*(condition.test for condition in conditions)),
        nested=is_open or any(c.nested for c in conditions) or may_nest(analysis, own, libraries),
        classes=own,
        libraries=libraries,
        open=is_open,
        is_class_test=all(c.is_class_test for c in conditions),
    )


def named_classes(value: Value) -> tuple[frozenset[Site], frozenset[str]]:
    """The classes of the project, and those of libraries, that `value` can be."""
    own = frozenset(atom.site for atom in value if isinstance(atom, Cls))
    return own, frozenset(atom.name for atom in value if isinstance(atom, Symbol))
