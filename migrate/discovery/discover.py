"""Which files a run has to look at, found by reading bytes and parsing nothing.

A *candidate* names something of FSDP1, as far as its bytes tell.  *Linked* files import a
candidate or are imported by one, through however many others: what is done in them can depend
on FSDP without saying the word.  *Context* is of the same project but not among the paths that the
user gave, or excluded: looked at, never rewritten.  *Configurations* are files that are no Python
and name FSDP: YAML and JSON, scripts, notebooks.  A tree without a candidate costs one read of each
file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsdp_migrate.discovery.import_graph import Graph
from fsdp_migrate.discovery.surroundings import surroundings
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
_MARK = b"TODO(fsdp-migrate)"  # of an earlier run: to be taken away when it is done
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
    outside: tuple[SourceError, ...] = ()  # files of FSDP1 that only a link leads to
    frameworks: frozenset[str] = frozenset()  # that the Python files use, if configs need to know


def discover(
    paths: Sequence[str | Path],
    *,
    exclude: Sequence[str] = (),
    excluded_below: tuple[str, Sequence[str]] = ("", ()),
    respect_gitignore: bool = True,
) -> Discovered:
    """What there is to look at in `paths`, files and folders.

    The patterns of `exclude` are relative to the working folder, those of `excluded_below` to the
    folder that is given with them.

    A file that is named itself is read whatever its suffix and whatever is ignored.
    """
    tree = Tree([excluded_below, (os.getcwd(), exclude)], respect_gitignore)
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
        if (uses_fsdp1(data) or _MARK in data) and not tree.ignored(absolute):
            candidates[absolute] = data
    linked, context = _Links(tree, candidates, respect_gitignore).split()
    return Discovered(
        tuple(File(tree.shown(path), data) for path, data in candidates.items()),
        linked,
        context,
        configs,
        len(tree.files) - len(tree.unreadable),
        fsdp2,
        tuple(tree.unreadable.values()),
        tuple(_left_outside(tree)),
        frozenset(frameworks),
    )


def _left_outside(tree: Tree) -> Iterator[SourceError]:
    """What is said of files that use FSDP1 and only a link leads to."""
    present = {os.path.realpath(path) for path in tree.files} if tree.outside else set()
    for path in sorted(tree.outside):
        target = os.path.realpath(path)
        if target in present or tree.ignored(path):
            continue
        if uses_fsdp1(tree.read(path) or b""):
            message = f"left as it is: a link to {target}, which is outside of what was given"
            yield SourceError(tree.shown(path), f"{message}; give that file to have it migrated")


def context_of(path: Path, data: bytes) -> tuple[File, ...]:
    """What belongs to a text that is not on disk, or not yet as it is there, in its project."""
    absolute = os.path.abspath(path)
    tree = Tree((), True)
    tree.add(str(path))
    _, context = _Links(tree, {absolute: data}, True).split()
    return context


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


class _Links:
    """The files that are linked to `candidates` of a tree, and the context of all of them.

    A file that was named alone is also linked to a file of FSDP1 that was not named with it.
    """

    def __init__(self, tree: Tree, candidates: dict[str, bytes], respect_gitignore: bool) -> None:
        self._tree, self._candidates = tree, candidates
        self._around = surroundings(tree, respect_gitignore)
        around = self._around.files if self._around is not None else {}
        self._files = tree.files | tree.outside | around
        self._graph = Graph(self._files, lambda path: candidates.get(path) or self._read(path))

    def split(self) -> tuple[tuple[File, ...], tuple[File, ...]]:
        """The linked files, and the context."""
        tree, graph = self._tree, self._graph
        sources = self._candidates.keys() | self._other_sources()
        if not sources:
            return (), ()
        importers = {p for p in graph.importers(sources, tree.named) if not self._is_ignored(p)}
        starts = self._candidates.keys() | {path for path in importers if self._is_given(path)}
        if not starts:
            return (), ()
        above = graph.importers(starts, tree.named) | starts
        program = graph.imported(above) | above  # what can be in one run with what is given
        sources &= program
        importers &= program
        # A package's `__init__` passes names on: what else it imports has nothing to do with them.
        users = {path for path in importers if os.path.basename(path) != "__init__.py"}
        others = (importers | graph.imported(users | sources)) - self._candidates.keys()
        linked = {path for path in others if self._is_given(path)}
        return tree.take(linked), tree.take((others | sources) - linked - self._candidates.keys())

    def _other_sources(self) -> set[str]:
        """The files of FSDP1 that are not among those given."""
        beyond = self._graph.imported(self._tree.named) | self._files.keys()
        return {
            path
            for path in beyond - self._candidates.keys()
            if not self._is_ignored(path) and uses_fsdp1(self._read(path))
        }

    def _is_given(self, path: str) -> bool:
        return path in self._tree.files and not self._tree.ignored(path)

    def _is_ignored(self, path: str) -> bool:
        """Whether git leaves a file out; what `--exclude` leaves out is still looked at."""
        return not self._is_given(path) and (self._around or self._tree).ignored(path)

    def _read(self, path: str) -> bytes:
        return self._tree.read(path) or b""
