"""The rules, found in their folder: a new file there is a new rule."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fsdp_migrate import rules
from fsdp_migrate.rule.rule import Rule


@dataclass(frozen=True)
class Registry:
    """The rules, and which of them own which names."""

    by_code: Mapping[str, Rule]  # in the order of the codes
    by_symbol: Mapping[str, tuple[Rule, ...]]
    by_method: Mapping[str, Rule]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Registry:
        """The registry of some rules.

        Raises:
            RuntimeError: two rules have the same code.
        """
        found: dict[str, Rule] = {}
        for rule in rules:
            if found.setdefault(rule.code, rule) is not rule:
                raise RuntimeError(f"two rules are called {rule.code}")
        by_code = dict(sorted(found.items()))
        by_symbol: dict[str, tuple[Rule, ...]] = {}
        for rule in by_code.values():
            for symbol in rule.symbols:
                by_symbol[symbol] = (*by_symbol.get(symbol, ()), rule)
        methods = {method: rule for rule in by_code.values() for method in rule.methods}
        return cls(by_code, by_symbol, methods)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.by_code.values())

    def owners(self, name: str) -> tuple[Rule, ...]:
        """The rules that own a canonical name: those of the longest symbol at or above it."""
        while name and name not in self.by_symbol:
            name = name.rpartition(".")[0]
        return self.by_symbol.get(name, ())


def load_rules() -> Registry:
    """The rules of this package."""
    names = [info.name for info in pkgutil.iter_modules(rules.__path__)]
    modules = [
        importlib.import_module(f"{rules.__name__}.{name}")
        for name in names
        if not name.startswith("_")
    ]
    return Registry.of(
        value for module in modules for value in vars(module).values() if isinstance(value, Rule)
    )
