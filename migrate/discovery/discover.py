"""Which files a run has to look at, found by reading bytes and parsing nothing.

A *candidate* names something of FSDP1, as far as its bytes tell.  *Linked* files import a
candidate or are imported by one, through however many others: what is done in them can depend
on FSDP without saying the word.  *Context* is of the same project but outside the paths that the
user gave: looked at, never rewritten.  *Configurations* are YAML and JSON files that name FSDP.
A tree without a candidate costs one read of each file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsdp_migrate.discovery.gitignore import (
    Layers,
    is_ignored,
    is_skipped,
    layer_of,
    layers_above,
    patterns,
)
from fsdp_migrate.discovery.import_graph import Graph
from fsdp_migrate.frameworks.config_files import LARGEST, is_config, mentions_fsdp
from fsdp_migrate.syntax.source import SourceError, reason

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
class File:
    """A file and what is in it."""

    path: Path
    data: bytes


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


def discover(
    paths: Sequence[str | Path], *, exclude: Sequence[str] = (), respect_gitignore: bool = True
) -> Discovered:
    """What there is to look at in `paths`, files and folders.

    A file that is named itself is read whatever its suffix and whatever is ignored.
    """
    tree = _Tree(exclude, respect_gitignore)
    for path in paths:
        tree.add(os.fspath(path))
    candidates: dict[str, bytes] = {}
    fsdp2 = 0
    for absolute in sorted(tree.files):
        data = tree.read(absolute)
        if data is None or (
            b"fsdp" not in data
            and b"FullyShardedDataParallel" not in data
            and b"FSDPStrategy" not in data
        ):
            continue  # nothing else is looked for in all the files that have nothing to do with it
        fsdp2 += uses_fsdp2(data)
        if uses_fsdp1(data) and not tree.ignored(absolute):
            candidates[absolute] = data
    linked, context = _links(tree, candidates) if candidates or tree.named else ((), ())
    return Discovered(
        tuple(File(tree.shown(path), data) for path, data in candidates.items()),
        linked,
        context,
        tree.take(tree.configured()),
        len(tree.files) - len(tree.unreadable),
        fsdp2,
        tuple(tree.unreadable.values()),
    )


def context_of(path: Path, data: bytes) -> tuple[File, ...]:
    """What a text that is not on disk, or not yet as it is there, imports from its project."""
    absolute = os.path.abspath(path)
    tree = _Tree((), False)
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


def _links(tree: _Tree, candidates: dict[str, bytes]) -> tuple[tuple[File, ...], tuple[File, ...]]:
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


@dataclass
class _Tree:
    """The Python and configuration files under the paths of a run, by absolute path."""

    exclude: Sequence[str]
    respect_gitignore: bool
    files: dict[str, str] = field(default_factory=dict)  # as the user would write them
    configs: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, SourceError] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)  # given as files, not found in a folder
    named: set[str] = field(default_factory=set)  # of them, those that are Python
    _layers: dict[str, Layers] = field(default_factory=dict)  # by folder
    _links: dict[str, str] = field(default_factory=dict)
    _excluded: Layers = ()

    def __post_init__(self) -> None:
        self._excluded = patterns(os.getcwd(), self.exclude)

    def add(self, path: str) -> None:
        """Add a file, or the files in a folder and those below it."""
        absolute, shown = os.path.abspath(path), os.path.normpath(path)
        if not os.path.isdir(absolute):
            self.chosen.add(absolute)
            if is_config(absolute):
                self.configs[absolute] = shown
            else:
                self.named.add(absolute)
                self.files[absolute] = shown
            return
        above = layers_above(absolute) if self.respect_gitignore else ()
        prefix = "" if shown == os.curdir else os.path.join(shown, "")
        for found in self._walk(absolute, above):
            files = self.files if found.endswith(".py") else self.configs
            files.setdefault(found, prefix + found[len(absolute.rstrip(os.sep)) + 1 :])
        self._add_links(absolute, prefix)

    def _add_links(self, top: str, prefix: str) -> None:
        """Add the linked files, found in `top`, that are not there by another name."""
        present = {os.path.realpath(name) for name in self.files} if self._links else set()
        for link, target in sorted(self._links.items()):
            if target not in present:
                present.add(target)
                self.files[link] = prefix + link[len(top.rstrip(os.sep)) + 1 :]
        self._links.clear()

    def ignored(self, path: str) -> bool:
        """Whether a file that is in the tree is to be left out of it."""
        if path in self.chosen:
            return False
        if is_ignored(path, self._excluded):
            return True
        return is_ignored(path, self._layers.get(os.path.dirname(path), ()))

    def shown(self, path: str) -> Path:
        """How to call a file: as the user gave it, else relative to the working folder."""
        known = self.files.get(path) or self.configs.get(path)
        if known is None:
            here = os.path.join(os.getcwd(), "")
            known = path[len(here) :] if path.startswith(here) else path
        return Path(known)

    def configured(self) -> set[str]:
        """The configuration files that name FSDP."""
        found = set()
        for path in self.configs:
            try:
                small = os.path.getsize(path) <= LARGEST
            except OSError:
                small = path in self.chosen  # reading it says what is wrong
            if small and mentions_fsdp(self.read(path) or b"") and not self.ignored(path):
                found.add(path)
        return found

    def take(self, paths: set[str]) -> tuple[File, ...]:
        """The files at `paths` that can be read, in order."""
        contents = ((path, self.read(path)) for path in sorted(paths))
        return tuple(File(self.shown(path), data) for path, data in contents if data is not None)

    def read(self, path: str) -> bytes | None:
        """What is in a file; None, and a note of it, if it can't be read."""
        try:
            with open(path, "rb", buffering=0) as file:
                return file.readall()
        except OSError as error:
            if (path in self.files or path in self.chosen) and not self.ignored(path):
                self._note(path, error)
            return None

    def _walk(self, top: str, layers: Layers) -> Iterator[str]:
        """The files in `top` and below; links to folders are not followed."""
        stack = [(top, layers)]
        while stack:
            folder, layers = stack.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = list(listing)
            except OSError as error:
                self._note(folder, error)
                continue
            if self.respect_gitignore and any(entry.name == ".gitignore" for entry in entries):
                layers += layer_of(folder)
            if layers:
                self._layers[folder] = layers
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not self._leaves_out(folder, entry, layers):
                        stack.append((entry.path, layers))
                elif entry.name.endswith(".py"):
                    if not entry.is_symlink():
                        yield entry.path
                    elif os.path.isfile(entry.path):  # unlike the entry, never raises
                        self._links[entry.path] = os.path.realpath(entry.path)
                elif is_config(entry.name) and not entry.is_symlink():
                    yield entry.path

    def _leaves_out(self, folder: str, entry: os.DirEntry[str], layers: Layers) -> bool:
        path = os.path.join(entry.path, "")
        return (
            is_skipped(folder, entry.name)
            or is_ignored(path, layers)
            or is_ignored(path, self._excluded)
        )

    def _note(self, path: str, error: OSError) -> None:
        shown = self.shown(path)
        self.unreadable[path] = SourceError(shown, f"cannot read: {reason(error)}")
