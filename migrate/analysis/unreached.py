"""Functions that nothing was seen to call, and which of them run next."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Mapping

from fsdp_migrate.analysis.program import FunctionInfo
from fsdp_migrate.syntax.span import Site


class Unreached:
    """The functions that are still to run, with a count of who mentions whom."""

    def __init__(self, functions: Mapping[Site, FunctionInfo]) -> None:
        self._waiting = {
            site: info for site, info in functions.items() if not isinstance(info.node, ast.Lambda)
        }
        self._order = {site: number for number, site in enumerate(self._waiting)}
        self._named: dict[str, list[Site]] = defaultdict(list)
        self._mentions: Counter[str] = Counter()
        for site, info in self._waiting.items():
            self._named[info.name].append(site)
            self._mentions.update(info.mentions)
        self._inits = dict.fromkeys(self._named.get("__init__", ()))
        self._free = {
            site: None for site, info in self._waiting.items() if not self._mentions[info.name]
        }

    def reach(self, site: Site) -> None:
        """Note that the function at `site` runs."""
        info = self._waiting.pop(site, None)
        if info is None:
            return
        self._inits.pop(site, None)
        self._free.pop(site, None)
        self._mentions.subtract(info.mentions)
        for name in info.mentions:
            if not self._mentions[name]:
                self._free.update(
                    dict.fromkeys(s for s in self._named.get(name, ()) if s in self._waiting)
                )

    def next(self) -> list[Site]:
        """Constructors, else what no other of them mentions, else the first; none at the end."""
        found = self._inits or self._free or list(self._waiting)[:1]
        return sorted(found, key=self._order.__getitem__)
