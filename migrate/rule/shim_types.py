"""FSDP1's types where they stay values of the program, and so move to the runtime shim."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from fsdp_migrate.analysis.values import Atom, Const, Result, Symbol, Wrapped
from fsdp_migrate.findings.code import Name
from fsdp_migrate.findings.edits import ReplaceExpression
from fsdp_migrate.rule.facts import RUNTIME, Facts, Use
from fsdp_migrate.rule.queries.state_dict_configs import configs_of
from fsdp_migrate.rule.queries.state_dict_types import types_of
from fsdp_migrate.syntax.fsdp1_names import CONFIGS, POLICIES, ROOT
from fsdp_migrate.syntax.module import Module

LOCAL = ("LocalStateDictConfig", "LocalOptimStateDictConfig")
STATE_DICT = "StateDict"  # a part of the names of types that contexts are given
RENAMED = {"_or_policy": "or_policy", "_module_wrap_policy": "module_wrap_policy"}
SYMBOLS = (
    *(f"{ROOT}.{name}" for name in sorted(CONFIGS)),
    *(f"{ROOT}.wrap.{name}" for name in sorted(POLICIES | {"_or_policy"})),
    f"{ROOT}.wrap._module_wrap_policy",
)


def type_name(use: Use) -> str:
    """The type that a reference is to: `ShardingStrategy` for one of its members."""
    return use.name[len(ROOT) + 1 :].removeprefix("wrap.").split(".")[0]


def is_local(use: Use) -> bool:
    """Whether the reference is to local state dicts, which FSDP2 has nothing like."""
    return type_name(use) in LOCAL or use.name.endswith(".LOCAL_STATE_DICT")


def swallowed(use: Use, facts: Facts) -> bool:
    """Whether the reference goes away with a natively migrated place."""
    return use.node in facts.removed.get(use.module.name, ())


def staying(facts: Facts, module: Module) -> list[Use]:
    """The references of a file to FSDP1's types that stay values."""
    return [
        use
        for use in facts.uses
        if use.module is module
        and use.receiver is None
        and any(use.name == s or use.name.startswith(s + ".") for s in SYMBOLS)
        and not is_local(use)
        and not swallowed(use, facts)
        and not _becomes_string(use, facts)
        and use.node not in configs_of(facts).handled
    ]


def _becomes_string(use: Use, facts: Facts) -> bool:
    """Whether the reference is to a type of state dicts that becomes its name."""
    if type_name(use) != "StateDictType":
        return False
    types = types_of(facts)
    return types.as_strings and use.node not in types.in_contexts


def in_shim_wrap(use: Use, facts: Facts) -> bool:
    """Whether the reference is among the arguments of a wrap that goes through the shim."""
    for parent in use.module.ancestors(use.node):
        if isinstance(parent, ast.Call):
            plan = facts.wraps.get(use.module.site(parent))
            if plan is not None and plan.fact.direct and (plan.parts.residues or not plan.native):
                return True
        if isinstance(parent, ast.stmt):
            return False
    return False


def take_from_shim(uses: Iterable[Use]) -> Iterator[ReplaceExpression]:
    """The edits by which references name the shim's types; an import that stays needs none."""
    for use in uses:
        node: ast.expr = use.node
        rest = use.name[len(ROOT) + 1 :].removeprefix("wrap.")
        for _ in range(rest.count(".")):
            if isinstance(node, ast.Attribute):
                node = node.value
        offered = RENAMED.get(type_name(use), type_name(use))
        if isinstance(node, ast.Attribute) or offered != type_name(use):
            yield ReplaceExpression(use.module.span(node), Name(RUNTIME, offered))


def readers(facts: Facts, uses: Iterable[Use]) -> frozenset[str]:
    """The models whose wraps may be given what `uses` refer to; none, if it isn't only wraps."""
    kinds = {f"{ROOT}.{kind}" for kind in map(type_name, uses)}
    if any(STATE_DICT in kind for kind in kinds):
        return frozenset()
    surely: set[Wrapped] = set()
    maybe: set[Wrapped] = set()
    for plan in facts.wraps.values():
        given = {
            _relation(atom, kinds)
            for name, argument in plan.fact.arguments.items()
            for atom in (argument.value if name != "module" else ())
        }
        if True in given:
            surely.update(plan.models)
        elif None in given or plan.fact.opaque:
            maybe.update(plan.models)
    return facts.models(surely | maybe) if surely else frozenset()


def _relation(atom: Atom, kinds: set[str]) -> bool | None:
    """Whether a value is of one of the types `kinds`; None if it may hold one."""
    if isinstance(atom, Const):
        return False
    if isinstance(atom, Symbol | Result):
        name = atom.name if isinstance(atom, Symbol) else atom.symbol
        return any(name == kind or name.startswith(f"{kind}.") for kind in kinds)
    return None
