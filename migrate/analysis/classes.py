"""The classes of the program: what they derive from, and which method a name means."""

from __future__ import annotations

import sys
from collections import defaultdict
from operator import itemgetter

from fsdp_migrate.analysis.heap import ANY, Heap
from fsdp_migrate.analysis.program import Program
from fsdp_migrate.analysis.values import (
    NOTHING,
    Atom,
    Cls,
    Container,
    Instance,
    Result,
    Symbol,
    Value,
    join,
    ordered,
)
from fsdp_migrate.syntax.span import Site

MODULE_LIBRARIES = ("torch.", "transformers.", "lightning", "pytorch_lightning")
# What of these is no module: data sets, optimizers, functions.
OTHER_BASES = ("torch.amp.", "torch.autograd.", "torch.optim.", "torch.utils.")
OTHER_ENDS = ("Arguments", "Callback", "Config", "Output", "Tokenizer", "TokenizerFast")


class Classes:
    """What follows from the base classes that are on the heap."""

    def __init__(self, program: Program, heap: Heap) -> None:
        self._infos = program.classes
        self._heap = heap
        self._lineages: dict[Site, list[Site]] = {}
        self._descendants: dict[Site, list[Site]] | None = None
        self._parts: dict[Atom, Value] = {}

    def with_new_base(self, cls: Site) -> set[Site]:
        """Forget what `cls` had to do with, which has got another base; for whom that matters."""
        below = {site for site, lineage in self._lineages.items() if cls in lineage}
        for site in below:
            del self._lineages[site]
        self._descendants = None
        return {cls, *below, *self._lineage(cls)}

    def bases(self, cls: Site) -> list[Atom]:
        """The base classes of `cls`, as far as they are known."""
        return list(ordered(self._heap.read("bases", cls)))

    def lineage(self, cls: Site) -> list[Site]:
        """`cls` and its bases of the project, in an order good enough for method look-up."""
        self._heap.read("classes", cls)  # who asks runs again when it has got another base
        return self._lineage(cls)

    def _lineage(self, cls: Site) -> list[Site]:
        known = self._lineages.get(cls)
        if known is None:
            known = self._lineages[cls] = []
            self._add_lineage(cls, known)
        return known

    def _add_lineage(self, cls: Site, order: list[Site]) -> None:
        if cls in order:
            return
        order.append(cls)
        own = [base.site for base in self.bases(cls) if isinstance(base, Cls)]
        for base in sorted(own, key=lambda site: site.line):
            self._add_lineage(base, order)

    def library_bases(self, cls: Site) -> set[str]:
        """The library classes that `cls` derives from, by name."""
        return {
            base.name
            for site in self.lineage(cls)
            for base in self.bases(site)
            if isinstance(base, Symbol)
        }

    def descendants(self, cls: Site) -> list[Site]:
        """The classes of the project that derive from `cls`."""
        self._heap.read("classes", cls)  # and when another class derives from it
        if self._descendants is None:
            found: dict[Site, list[Site]] = defaultdict(list)
            for site in self._infos:
                for base in self._lineage(site)[1:]:
                    found[base].append(site)
            self._descendants = found
        return self._descendants.get(cls, [])

    def kinds(self, cls: Site) -> list[Site]:
        """The classes that an object can be of that is said to be a `cls`."""
        return [cls, *self.descendants(cls)]

    def method(self, cls: Site, name: str) -> Site | None:
        """The function that `name` means on an instance of `cls`."""
        for site in self.lineage(cls):
            found = self._infos[site].methods.get(name)
            if found is not None:
                return found
        return None

    def is_module(self, atom: Atom) -> bool:
        """Whether `atom` is an `nn.Module` of the project's own."""
        return isinstance(atom, Instance) and any(
            (name.startswith(MODULE_LIBRARIES) or _is_model_of_diffusers(name))
            and not name.startswith(OTHER_BASES)
            and not (name.startswith("transformers.") and name.endswith(OTHER_ENDS))
            for name in self.library_bases(atom.cls)
        )

    def may_be_module(self, cls: Site) -> bool:
        """Whether an object that is said to be a `cls` can be an `nn.Module`."""
        sites = {site for kind in self.kinds(cls) for site in self.lineage(kind)}
        return any(_may_be_module(base) for site in sites for base in self.bases(site))

    def parts(self, atom: Atom) -> Value:
        """What an object holds, its attributes or items, when the heap is at rest."""
        known = self._parts.get(atom)
        if known is None:
            known = self._parts[atom] = self._held(atom)
        return known

    def _held(self, atom: Atom) -> Value:
        if isinstance(atom, Instance):
            family = {*self.lineage(atom.cls), *self.descendants(atom.cls)}
            fields = (field for cls in family for field in self._heap.fields.get(cls, ()))
            return join(*(value for _, value in sorted(fields, key=itemgetter(0))))
        if isinstance(atom, Container):
            return self._heap.dict_values(atom)
        if isinstance(atom, Result) and atom.symbol.startswith("torch.nn."):
            return self._heap.read("item", atom.site, ANY)
        return NOTHING


def _is_model_of_diffusers(name: str) -> bool:
    """Whether a class of diffusers is the base of its models; others are of schedulers, say."""
    return name.startswith("diffusers.") and name.endswith(".ModelMixin")


def _may_be_module(base: Atom) -> bool:
    """Whether a base class can make modules of what derives from it, whatever its own bases do."""
    if isinstance(base, Cls):
        return False
    if not isinstance(base, Symbol | Result):  # `Generic[T]` is a result
        return True
    name = base.name if isinstance(base, Symbol) else base.symbol
    library = name.partition(".")[0]
    return library not in sys.stdlib_module_names and not name.startswith(OTHER_BASES)
