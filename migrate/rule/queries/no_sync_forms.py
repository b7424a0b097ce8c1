"""What becomes of each use of `no_sync`: which form of FSDP2's is right where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from fsdp_migrate.analysis.values import Wrapped
from fsdp_migrate.findings.code import Code, Literal, Name, Part, call
from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.method_calls import PARTIAL, as_function
from fsdp_migrate.rule.queries.no_sync_contexts import (
    find_stack_entry,
    is_shared,
    keeps_unsharded,
)
from fsdp_migrate.rule.queries.no_sync_edits import (
    as_manager,
    defined,
    on_stack,
    set_by_call,
    without_window,
)
from fsdp_migrate.rule.queries.no_sync_returns import find_provider
from fsdp_migrate.rule.queries.no_sync_windows import Windows, find_windows, may_be_nested
from fsdp_migrate.rule.queries.no_sync_written import context_manager
from fsdp_migrate.syntax.module import Module

SHIM = Name(RUNTIME, "no_sync")


class Kind(Enum):
    """In what the flag is set."""

    PLACE = "where the context was entered"
    MANAGER = "the function that returned the context, a context manager now"
    DEFINED = "a context manager that is defined in the file"
    SHIM = "the shim's context manager"


@dataclass(frozen=True)
class Form:
    """One of the forms, and the edits that it takes, each with its file."""

    kind: Kind
    edits: tuple[tuple[Module, Edit], ...] = ()

    @classmethod
    def of(cls, kind: Kind, module: Module, edits: Iterable[Edit]) -> Form:
        """A form whose edits are all in one file."""
        return cls(kind, tuple((module, edit) for edit in edits))


@dataclass(frozen=True)
class Forms:
    """The forms of a program's uses, one beside the other."""

    facts: Facts
    windows: Windows
    shims: set[str] = field(default_factory=set)  # files that take the shim's function, too
    shared: set[str] = field(default_factory=set)  # files whose own function knows DDP's models too

    @classmethod
    def of(cls, facts: Facts, uses: Iterable[Use]) -> Forms:
        """What can be asked about `uses`."""
        forms = cls(facts, find_windows(facts))
        for use in uses:
            kind = forms.of_use(use).kind
            if kind is Kind.SHIM:
                forms.shims.add(use.module.name)
            elif is_shared(use) and kind is Kind.DEFINED:
                forms.shared.add(use.module.name)
        return forms

    def of_use(self, use: Use) -> Form:
        """What becomes of `use`."""
        module, facts = use.module, self.facts
        window = self.windows.by_use.get(use)
        if window is not None:
            return Form.of(Kind.PLACE, module, without_window(facts, window, self.windows))
        if not (use.certain or is_shared(use)) or may_be_nested(use, facts):
            return self._of_shim(use)
        if use in self.windows.providers:
            set_ = set_by_call(facts, self.windows.providers[use])
            return Form(Kind.PLACE, tuple(set_))
        entry = find_stack_entry(use, facts)
        if entry is not None:
            return Form.of(Kind.PLACE, module, [on_stack(entry)])
        provider = find_provider(use, facts)
        if provider is not None and provider.can_manage:
            return Form.of(Kind.MANAGER, module, as_manager(provider))
        shared = not use.certain or module.name in self.shared
        gathered = keeps_unsharded(use, facts) is True
        shim = module.name in self.shims
        edits = defined(use, gathered=gathered, shared=shared, beside_shim=shim)
        return Form.of(Kind.DEFINED, module, edits)

    def bound(
        self, module: Module, wraps: frozenset[Wrapped], model: Part
    ) -> tuple[Code, Part] | None:
        """The function of a file's own for a method that is asked for by its name."""
        plans = [self.facts.plan(wrapped) for wrapped in wraps]
        gathered = all(plan is not None and plan.keeps_unsharded is True for plan in plans)
        shared, shim = module.name in self.shared, module.name in self.shims
        definition, function = context_manager(
            module, gathered=gathered, shared=shared, beside_shim=shim
        )
        return definition, call(PARTIAL, function, model)

    def _of_shim(self, use: Use) -> Form:
        gathered = use.certain and keeps_unsharded(use, self.facts)
        more = {"reshard_after_backward": Literal(False)} if gathered else {}
        return Form.of(Kind.SHIM, use.module, [as_function(use, SHIM, **more)])
