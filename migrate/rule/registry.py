"""The rules, found in their folder: a new file there is a new rule."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from fsdp_migrate import rules
from fsdp_migrate.rule.rule import Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by code.

    Raises:
        RuntimeError: two rules have the same code.
    """
    found: dict[str, Rule] = {}
    for info in pkgutil.iter_modules(rules.__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{rules.__name__}.{info.name}")
        for rule in (v for v in vars(module).values() if isinstance(v, Rule)):
            if found.get(rule.code, rule) is not rule:
                raise RuntimeError(f"two rules are called {rule.code}")
            found[rule.code] = rule
    return tuple(found[code] for code in sorted(found))


def owners_of_symbol(name: str) -> list[Rule]:
    """The rules that own a canonical name: those with the longest matching prefix."""
    best = 0
    owners: list[Rule] = []
    for rule in all_rules():
        for symbol in rule.symbols:
            if (name == symbol or name.startswith(symbol + ".")) and len(symbol) >= best:
                owners = owners if len(symbol) == best else []
                best = len(symbol)
                owners.append(rule)
    return owners


@cache
def owned_symbols() -> frozenset[str]:
    """The names that rules own; those of other libraries are uses of FSDP1 for that reason."""
    return frozenset(symbol for rule in all_rules() for symbol in rule.symbols)


@cache
def owners_of_methods() -> dict[str, Rule]:
    """The rules by the methods of an FSDP1 model that they own."""
    return {method: rule for rule in all_rules() for method in rule.methods}
