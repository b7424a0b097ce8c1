"""The files under the paths that the user gave, and what is in them."""

from __future__ import annotations

import os
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
from fsdp_migrate.frameworks.outside import is_other, is_read_too, largest, mentions_fsdp
from fsdp_migrate.syntax.source import SourceError, reason, regular


@dataclass(frozen=True)
class File:
    """A file and what is in it."""

    path: Path
    data: bytes


@dataclass
class Tree:
    """The files under the paths of a run that can matter, by absolute path."""

    exclude: Sequence[tuple[str, Sequence[str]]]  # patterns, with the folders they start from
    respect_gitignore: bool
    files: dict[str, str] = field(default_factory=dict)  # as the user would write them
    configs: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)  # links to what wasn't given
    unreadable: dict[str, SourceError] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)  # what the user said, files and folders
    chosen: set[str] = field(default_factory=set)  # given as files, not found in a folder
    named: set[str] = field(default_factory=set)  # of them, those that are Python
    _layers: dict[str, Layers] = field(default_factory=dict)  # by folder
    _links: dict[str, str] = field(default_factory=dict)
    _excluded: Layers = ()

    def __post_init__(self) -> None:
        self.exclude = [each for each in self.exclude if each[1]]
        for folder, lines in self.exclude:
            self._excluded += patterns(folder, lines)

    def add(self, path: str) -> None:
        """Add a file, or the files in a folder and those below it."""
        absolute, shown = os.path.abspath(path), os.path.normpath(path)
        self.given.add(absolute)
        if not os.path.isdir(absolute):
            self.chosen.add(absolute)
            if is_other(absolute):
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

    def add_up_to(self, folder: str, most: int) -> bool:
        """Add the Python files in a folder and below it; False if there are more than `most`."""
        above = layers_above(folder) if self.respect_gitignore else ()
        for found in self._walk(folder, above):
            if found.endswith(".py"):
                self.files.setdefault(found, found)
                if len(self.files) > most:
                    return False
        return True

    def _add_links(self, top: str, prefix: str) -> None:
        """Add the linked files, found in `top`, that are not there by another name.

        A file outside of `top` isn't the user's to give by a link: it is looked at, not changed.
        """
        present = {os.path.realpath(name) for name in self.files} if self._links else set()
        inside = os.path.join(os.path.realpath(top), "")
        for link, target in sorted(self._links.items()):
            if target not in present:
                present.add(target)
                found = self.files if target.startswith(inside) else self.outside
                found[link] = prefix + link[len(top.rstrip(os.sep)) + 1 :]
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
        known = self.files.get(path) or self.configs.get(path) or self.outside.get(path)
        if known is None:
            here = os.path.join(os.getcwd(), "")
            known = path[len(here) :] if path.startswith(here) else path
        return Path(known)

    def configured(self) -> set[str]:
        """The files that are no Python and name FSDP."""
        found = set()
        for path in self.configs:
            try:
                small = os.path.getsize(path) <= largest(path)
            except OSError:
                small = path in self.chosen  # reading it says what is wrong
            if small and mentions_fsdp(path, self.read(path) or b"") and not self.ignored(path):
                found.add(path)
        return found

    def take(self, paths: set[str]) -> tuple[File, ...]:
        """The files at `paths` that can be read, in order."""
        contents = ((path, self.read(path)) for path in sorted(paths))
        return tuple(File(self.shown(path), data) for path, data in contents if data is not None)

    def read(self, path: str) -> bytes | None:
        """What is in a file; None, and a note of it, if it can't be read."""
        try:
            return regular(path)
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
                elif is_read_too(entry.name):
                    if not entry.is_symlink():
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
