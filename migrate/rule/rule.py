"""What a rule is, and what it is given."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fsdp_migrate.analysis.analysis import Analysis
from fsdp_migrate.analysis.effects import Effects
from fsdp_migrate.analysis.values import Value, Wrapped
from fsdp_migrate.findings.arguments import Arguments, bind
from fsdp_migrate.findings.code import Part
from fsdp_migrate.findings.edits import Edit, Import
from fsdp_migrate.findings.finding import Finding, Fix, Safety, Tier
from fsdp_migrate.findings.options import Options
from fsdp_migrate.lowering.parameter_holders import ParameterHolders
from fsdp_migrate.lowering.state_dict_modes import Modes
from fsdp_migrate.lowering.wrap_plan import WrapPlan
from fsdp_migrate.syntax.module import Module
from fsdp_migrate.syntax.span import Site

RUNTIME = "fsdp_migrate.runtime"


@dataclass(frozen=True)
class Example:
    """A small program before and after; without `after`, one that must be left alone."""

    before: str
    after: str | None = None


@dataclass(frozen=True)
class Surface:
    """A public name of FSDP1, and what becomes of it.

    `name` is spelled as below `torch.distributed.fsdp`; parameters and fields are spelled
    `MixedPrecision(buffer_dtype=)`.  `tiers` are those of its findings, the best one first.
    """

    name: str
    becomes: str
    tiers: tuple[Tier, ...] = (Tier.NATIVE,)
    safety: Safety = Safety.SAFE


@dataclass(frozen=True, eq=False)
class Use:
    """One reference to FSDP1: a name of its API, or a method of a model that may be FSDP's.

    `name` is the canonical dotted name, or the bare name of the method.  `call` is the call
    whose callee the reference is.  `wraps` are the models that a method's receiver can be;
    `others` is what else it can be (a DDP model, say), without the bare module that a wrap
    was given, which is the same object after the migration.
    """

    module: Module
    node: ast.Name | ast.Attribute
    name: str
    call: ast.Call | None = None
    receiver: ast.expr | None = None
    wraps: frozenset[Wrapped] = frozenset()
    others: Value = frozenset()
    unbound: bool = False  # the receiver is the call's first argument: `FSDP.no_sync(model)`

    @property
    def args(self) -> Sequence[ast.expr]:
        """What is passed by position, without the receiver."""
        if self.call is None:
            return ()
        return self.call.args[1:] if self.unbound else self.call.args

    @property
    def keywords(self) -> Sequence[ast.keyword]:
        """What is passed by name."""
        return self.call.keywords if self.call is not None else ()

    @property
    def certain(self) -> bool:
        """Whether the receiver is an FSDP model and nothing else."""
        return bool(self.wraps) and not self.others

    def arguments(self, signature: Sequence[str] = ()) -> Arguments:
        """The arguments of the call, to ask for and to change; the receiver is none of them."""
        assert self.call is not None
        return bind(self.module, self.call, signature, self.receiver)

    def as_function(self, callee: Part, signature: Sequence[str] = ()) -> Arguments:
        """The call of a method as one of the function `callee`, which takes the receiver first."""
        assert self.receiver is not None
        arguments = self.arguments(signature)
        arguments.callee = callee
        arguments.receiver_first(self.receiver)
        return arguments


Check = Callable[[Use, "Facts"], Iterable[Finding]]
Survey = Callable[["Facts"], Iterable[Finding]]


def no_uses(use: Use, facts: Facts) -> Iterable[Finding]:
    """The check of a rule that owns no name and looks for its places itself."""
    return ()


@dataclass(frozen=True)
class Rule:
    """One FSDP1 surface and how to leave it.

    `symbols` are the canonical names that the rule owns (a prefix owns what is below it);
    `methods` are the methods and attributes of an FSDP1 model that it owns.  A rule whose uses
    depend on a state-dict mode says by `lowerable` which of them can do without.  `survey` is
    asked once a run, for places that refer to nothing of FSDP1 and still depend on it: an
    optimizer that is built before the wrap, a test of `p.ndim`.  `replaces` gives the nodes that a
    use's fix takes the place of: what refers to FSDP1 in them goes with it.  `surfaces` are the
    public names that it answers for in the coverage table.
    """

    code: str
    name: str
    summary: str
    why: str
    fix_safety: str
    check: Check
    symbols: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    lowerable: Callable[[Use, Facts], bool] | None = None
    survey: Survey | None = None
    replaces: Callable[[Use, Facts], Iterable[ast.AST]] | None = None
    surfaces: tuple[Surface, ...] = ()
    references: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that is known when the rules run.

    `removed` are, by module, the nodes that go with what is migrated natively.
    """

    analysis: Analysis
    options: Options
    wraps: Mapping[Site, WrapPlan]
    modes: Modes
    uses: tuple[Use, ...] = ()
    removed: Mapping[str, frozenset[ast.AST]] = field(default_factory=dict)

    def value(self, node: ast.AST | None) -> Value:
        """What an expression can be."""
        return self.analysis.value(node)

    @cached_property
    def effects(self) -> Effects:
        """What calls do."""
        return Effects(self.analysis)

    @cached_property
    def holders(self) -> ParameterHolders:
        """What is given a model's parameters, and keeps them."""
        return ParameterHolders(self.analysis)

    @cached_property
    def by_path(self) -> Mapping[Path, Module]:
        """The modules by their file."""
        return {module.path: module for module in self.analysis.project.modules.values()}

    def plan(self, wrapped: Wrapped) -> WrapPlan | None:
        """What becomes of the constructor call that makes `wrapped`."""
        return self.wraps.get(wrapped.site) if wrapped.site is not None else None

    def models(self, wraps: Iterable[Wrapped]) -> frozenset[str]:
        """The names of the units of migration that `wraps` stand for."""
        return frozenset(unit_name(w.site) for w in wraps if w.site is not None)


def unit_name(site: Site) -> str:
    """The name of the unit of migration around a wrap site."""
    return f"{site.module}:{site.line}:{site.col}"


def finding(
    rule: Rule,
    use: Use,
    message: str,
    *,
    tier: Tier,
    edits: Iterable[Edit] = (),
    safety: Safety = Safety.SAFE,
    models: frozenset[str] = frozenset(),
    at: ast.AST | None = None,
    blocking: bool = True,
) -> Finding:
    """A finding about `use`; without a fix where the tier is MANUAL or NOTE."""
    return finding_at(
        rule,
        use.module,
        at or use.node,
        message,
        tier=tier,
        edits=edits,
        safety=safety,
        models=models,
        blocking=blocking,
    )


def finding_at(
    rule: Rule,
    module: Module,
    node: ast.AST,
    message: str,
    *,
    tier: Tier,
    edits: Iterable[Edit] = (),
    safety: Safety = Safety.SAFE,
    models: frozenset[str] = frozenset(),
    blocking: bool = True,
) -> Finding:
    """A finding about a place that is no use of FSDP1; its edits are of the same file."""
    span = module.span(node)
    fix = None
    if tier in (Tier.NATIVE, Tier.SHIM):
        path = module.path
        fix = Fix({path: tuple(edits)}, safety)
    return Finding(
        path=module.path,
        line=span.line,
        col=span.col + 1,
        code=rule.code,
        message=message,
        tier=tier,
        safety=safety,
        fix=fix,
        models=models,
        blocking=blocking,
    )


def runtime(name: str) -> Import:
    """A name of the runtime shim."""
    return Import(RUNTIME, name)


def in_files(paths: Iterable[Path]) -> str:
    """Paths for a message."""
    return ", ".join(sorted(str(p) for p in paths))
