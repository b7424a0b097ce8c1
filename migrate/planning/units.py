"""Which findings stand and fall together: those of one model, and all that may be about it.

A finding without a model, such as a test for FSDP's class or a value in a configuration, may be
about every model that is made in a program it is part of.  What stands in a function that the
program doesn't use, or in a test of it, waits for the others, and nothing waits for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from fsdp_migrate.findings.edits import Decorate, Define, InsertStatements
from fsdp_migrate.findings.finding import Finding, Tier
from fsdp_migrate.planning.programs import Programs
from fsdp_migrate.planning.tests import Tests
from fsdp_migrate.planning.unused import Definition, Unused
from fsdp_migrate.rule.facts import Facts, unit_name
from fsdp_migrate.rule.queries.meeting_tensors import meeting_tensors
from fsdp_migrate.rule.queries.nested_models import nested_models
from fsdp_migrate.rule.queries.stepped_together import stepped_together
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Span

_UNUSED = "unused "
NEW_ONLY = (Decorate, Define, InsertStatements)  # nothing of the file changes by these


@dataclass(frozen=True)
class Role:
    """How a finding depends on others: by the names of the groups of findings."""

    shares: tuple[str, ...]  # what it stands and falls with
    follows: tuple[str, ...] = ()  # what it waits for, and what doesn't wait for it


class Units:
    """The groups of findings that are migrated together or not at all."""

    def __init__(self, findings: Sequence[Finding], facts: Facts) -> None:
        self._modules = facts.by_path
        modules = facts.analysis.project.modules
        self._programs = Programs(facts.analysis.project)
        self._unused = Unused(modules.values())
        self._tests = Tests(modules.values(), self._programs)
        self._sites = {unit_name(site): (modules[site.module], site.line) for site in facts.wraps}
        self._groups = Groups()
        self._loose: dict[str, tuple[str, ...]] = {}  # what has no model, and who runs it
        self.roles = [self._role(item) for item in findings]
        for item, role in zip(findings, self.roles, strict=True):
            if item.tier is not Tier.NOTE:
                self._groups.join(*role.shares)
        self._join_models(facts)
        self._join_loose()
        self._join_in_files(findings)

    def group(self, name: str) -> str:
        """What the group that `name` is part of is called."""
        return self._groups.of(name)

    # ------------------------------------------------------------------ one finding
    def _role(self, item: Finding) -> Role:
        module = self._modules.get(item.path)
        if module is None or item.tier is Tier.NOTE:
            return Role(tuple(item.models))
        units = {self._unit(name) for name in sorted(item.models)}
        idle = {name for name in units if name.startswith(_UNUSED)}
        place = self._place(module, item.line)
        used = tuple(sorted(units - idle))
        if place is not None:
            return Role((place, *sorted(idle)), used or tuple(self._meeting([module.name])))
        if idle or item.models & self._sites.keys():
            return Role(used or tuple(sorted(idle)))
        if item.tier is Tier.NATIVE and item.fix is not None and not any(item.fix.edits.values()):
            if not self._programs.is_imported(module.name):  # an import that nobody reads
                return Role((), tuple(self._all_meeting([module.name])))
        users = tuple(sorted(self._unused.users(module, item.line)))
        name = f"{module.name} for {', '.join(users)}"
        self._loose[name] = users
        return Role((name, *used))  # `used` are then a framework's models, which are made elsewhere

    def _unit(self, name: str) -> str:
        """The group of a model: that of the unused function which makes it, if one does."""
        if name not in self._sites:
            return name
        return self._place(*self._sites[name]) or name

    def _place(self, module: Module, line: int) -> str | None:
        """The name of the unused function, or the test, around a line, in a program that runs
        without it."""
        found = self._around(module, line)
        if found is None or not any(True for _ in self._meeting([module.name])):
            return None
        return f"{_UNUSED}{module.name}:{found.lineno}"

    def _meeting(self, modules: Collection[str]) -> Iterator[str]:
        """The models that programs make which one of `modules` is part of."""
        for name in self._running:
            if self._meet(modules, [self._sites[name][0].name]):
                yield name

    def _meet(self, modules: Iterable[str], others: Collection[str]) -> bool:
        return any(self._programs.meet(one, two) for one in modules for two in others)

    @cached_property
    def _running(self) -> list[str]:
        """The models that are made outside of unused functions, and of tests."""
        return [name for name, site in self._sites.items() if not self._around(*site)]

    def _around(self, module: Module, line: int) -> Definition | None:
        return self._unused.around(module, line) or self._tests.around(module, line)

    # ------------------------------------------------------------------ what belongs together
    def _join_models(self, facts: Facts) -> None:
        """Join the models that can't be of two generations: in one another, in one operation."""
        joined = (*nested_models(facts), *stepped_together(facts), *meeting_tensors(facts))
        for models in joined:
            self._groups.join(*sorted(map(self._unit, facts.models(models))))

    def _join_loose(self) -> None:
        """Join what has no model of its own to all models, and others such, in its programs."""
        for name, users in self._loose.items():
            self._groups.join(name, *self._all_meeting(users))
        for (one, first), (two, second) in combinations(self._loose.items(), 2):
            if self._meet(first, second):
                self._groups.join(one, two)

    def _all_meeting(self, modules: Collection[str]) -> Iterator[str]:
        """`_meeting`, or where no program runs, whatever models its functions make."""
        found = list(self._meeting(modules))
        yield from found
        for name, (home, _) in self._sites.items() if not found else ():
            if self._meet(modules, [home.name]):
                yield self._unit(name)

    def _join_in_files(self, findings: Sequence[Finding]) -> None:
        """Join what is about one piece of a file, or one import: it serves one generation only."""
        files: dict[Path, list[tuple[Finding, Role]]] = defaultdict(list)
        for item, role in zip(findings, self.roles, strict=True):
            if item.tier is not Tier.NOTE and role.shares:
                files[item.path].append((item, role))
        for each in files.values():
            used = [(item, role) for item, role in each if not role.follows]
            if any(item.tier is Tier.SHIM for item, _ in used):
                self._groups.join(*(role.shares[0] for _, role in used))
            around, end = "", (0, 0)
            for span, name in sorted((s, role.shares[0]) for i, role in each for s in _spans(i)):
                if span.start < end:
                    self._groups.join(around, name)
                else:
                    around, end = name, span.end


class Groups:
    """Names that belong together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name that stands for the group of `name`."""
        while self._parent.setdefault(name, name) != name:
            name = self._parent[name]
        return name

    def join(self, *names: str) -> None:
        """Make one group of all these names."""
        for other in names[1:]:
            self._parent[self.of(other)] = self.of(names[0])


def _spans(item: Finding) -> list[Span]:
    """What the fix of a finding changes in its file."""
    edits = item.fix.edits.get(item.path, ()) if item.fix is not None else ()
    return [edit.span for edit in edits if not isinstance(edit, NEW_ONLY)]
