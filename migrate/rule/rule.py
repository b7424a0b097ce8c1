"""What a rule is, and how it says what it found."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fsdp_migrate.findings.edits import Edit
from fsdp_migrate.findings.finding import Finding, Fix, Safety, Tier
from fsdp_migrate.rule.facts import Facts, Use
from fsdp_migrate.syntax.module import Module


@dataclass(frozen=True)
class Example:
    """A small file before and after; without `after`, one that must be left alone.

    `beside` are other files of the project, by name.  Where `file` is a program, they are read
    and not among those to migrate.
    """

    before: str
    after: str | None = None
    file: str = "train.py"
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def is_python(self) -> bool:
        """Whether it is about a program."""
        return self.file.endswith(".py")


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


Check = Callable[[Use, Facts], Iterable[Finding]]
Survey = Callable[[Facts], Iterable[Finding]]


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
    optimizer that is built before the wrap, a test of `p.ndim`.  `needs` are the facts that a fix
    has to rest on to be called safe; `fixtures/licences` has a program without each.  `left` says
    when a place is left to a person, and what to write there; `by_hand` is what to write where its
    fix goes through the shim, and the shim is ruled out.  `replaces` gives
    the nodes that a use's fix takes the place of: what refers to FSDP1 in them goes with it.
    `surfaces` are the public names that it answers for in the coverage table.
    """

    code: str
    name: str
    summary: str
    why: str
    fix_safety: str
    check: Check
    left: str = ""
    needs: tuple[str, ...] = ()
    by_hand: str = ""
    symbols: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    lowerable: Callable[[Use, Facts], bool] | None = None
    survey: Survey | None = None
    replaces: Callable[[Use, Facts], Iterable[ast.AST]] | None = None
    surfaces: tuple[Surface, ...] = ()
    references: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


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


def finding_in(
    rule: Rule,
    module: Module,
    node: ast.AST,
    message: str,
    *,
    tier: Tier,
    edits: Iterable[tuple[Module, Edit]],
    safety: Safety = Safety.SAFE,
    models: frozenset[str] = frozenset(),
) -> Finding:
    """A finding about a place whose edits are in several files, each given with its own."""
    found = finding_at(rule, module, node, message, tier=tier, safety=safety, models=models)
    by_path: dict[Path, tuple[Edit, ...]] = {module.path: ()}
    for home, edit in edits:
        by_path[home.path] = (*by_path.get(home.path, ()), edit)
    return replace(found, fix=Fix(by_path, safety))
