"""Which files a run has to look at, found by reading bytes and parsing nothing.

A *candidate* names something of FSDP1, as far as its bytes tell.  *Linked* files import a
candidate or are imported by one, through however many others: what is done in them can depend
on FSDP without saying the word.  *Context* is of the same project but outside the paths that the
user gave: looked at, never rewritten.  *Configurations* are files that are no Python and name FSDP:
YAML and JSON, scripts, notebooks.
A tree without a candidate costs one read of each file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.discovery.import_graph import Graph
from fsdp_migrate.discovery.tree import File, Tree
from fsdp_migrate.frameworks.outside.around import frameworks_in
from fsdp_migrate.syntax.source import SourceError

_BY_MODULE = re.compile(
    rb"\bdistributed[ \t]+import\b(?:[^\n(]*|[ \t]*\([^)]*)\bfsdp\b"
    rb"|\bfsdp\.(?:[A-Z_]|wrap\b|api\b|fully_sharded|sharded_grad)"
)
# Frameworks have switches of their own.
_SWITCH = re.compile(
    rb"\bfsdp_(?:config|plugin)\b|\bfsdp[ \t]*=[^=]|[\"']fsdp(?:_\w+)?[\"']"
    rb"|\bFSDP(?:Strategy|Precision)\b"
)
_FRAMEWORK = re.compile(
    rb"\b(?:accelerate|composer|lightning|lightning_fabric|pytorch_lightning|sentence_transformers"
    rb"|setfit|transformers|trl)\b"
)
_FSDP2 = re.compile(rb"\bfully_shard\b|\bFSDPModule\b")


@dataclass(frozen=True)
class Discovered:
    """What a run has to look at, and what it learnt on the way; each in a fixed order."""

    candidates: tuple[File, ...] = ()
    linked: tuple[File, ...] = ()
    context: tuple[File, ...] = ()
    configs: tuple[File, ...] = ()
    seen: int = 0  # Python files read
    fsdp2: int = 0  # of them, those that use FSDP2
    unreadable: tuple[SourceError, ...] = ()
    frameworks: frozenset[str] = frozenset()  # that the Python files use, if configs need to know


def discover(
    paths: Sequence[str | Path], *, exclude: Sequence[str] = (), respect_gitignore: bool = True
) -> Discovered:
    """What there is to look at in `paths`, files and folders.

    A file that is named itself is read whatever its suffix and whatever is ignored.
    """
    tree = Tree(exclude, respect_gitignore)
    for path in paths:
        tree.add(os.fspath(path))
    candidates: dict[str, bytes] = {}
    fsdp2 = 0
    configs = tree.take(tree.configured())
    frameworks: set[str] = set()
    for absolute in sorted(tree.files):
        data = tree.read(absolute)
        if configs and data is not None:
            frameworks |= frameworks_in(data)
        if data is None or (
            b"fsdp" not in data
            and b"FullyShardedDataParallel" not in data
            and b"FSDPStrategy" not in data
        ):
            continue  # nothing else is looked for in all the files that have nothing to do with it
        fsdp2 += uses_fsdp2(data)
        if uses_fsdp1(data) and not tree.ignored(absolute):
            candidates[absolute] = data
    linked, context = _linked(tree, candidates) if candidates or tree.named else ((), ())
    return Discovered(
        tuple(File(tree.shown(path), data) for path, data in candidates.items()),
        linked,
        context,
        configs,
        len(tree.files) - len(tree.unreadable),
        fsdp2,
        tuple(tree.unreadable.values()),
        frozenset(frameworks),
    )


def context_of(path: Path, data: bytes) -> tuple[File, ...]:
    """What a text that is not on disk, or not yet as it is there, imports from its project."""
    absolute = os.path.abspath(path)
    tree = Tree((), False)
    graph = Graph((absolute,), lambda name: data if name == absolute else tree.read(name) or b"")
    return tree.take(graph.imported((absolute,)) - {absolute})


def uses_fsdp1(data: bytes) -> bool:
    """Whether `data` names FSDP1, or a module of it; a quick look that errs on the side of yes."""
    if b"FullyShardedDataParallel" in data or b"distributed.fsdp" in data:
        return True
    if b"fsdp" in data and b"distributed" in data and _BY_MODULE.search(data) is not None:
        return True
    return _SWITCH.search(data) is not None and _FRAMEWORK.search(data) is not None


def uses_fsdp2(data: bytes) -> bool:
    """Whether `data` names FSDP2."""
    return _FSDP2.search(data) is not None


def _linked(tree: Tree, candidates: dict[str, bytes]) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """The files of `tree` that are linked to `candidates`, and the context of all of them.

    A file that was named alone is also linked to a file of FSDP1 that was not named with it.
    """
    graph = Graph(tree.files, lambda path: candidates.get(path) or tree.read(path) or b"")
    named = graph.imported(tree.named) | tree.named
    beyond = named - tree.files.keys()
    sources = candidates.keys() | {path for path in beyond if uses_fsdp1(tree.read(path) or b"")}
    if not sources:
        return (), ()
    importers = {path for path in graph.importers(sources, named) if not tree.ignored(path)}
    # A package's `__init__` passes names on: what else it imports has nothing to do with them.
    users = {path for path in importers if os.path.basename(path) != "__init__.py"}
    others = (importers | graph.imported(users | sources)) - candidates.keys()
    linked = {path for path in others if path in tree.files and not tree.ignored(path)}
    return tree.take(linked), tree.take((others | sources) - linked - candidates.keys())
