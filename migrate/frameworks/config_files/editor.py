"""Changes to a table of settings, written as the table is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fsdp_migrate.frameworks.config_files.tables import Edit, Entry, Table
from fsdp_migrate.syntax.separated_items import Listing


class Editor:
    """Changes to one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dropped: list[Entry] = []
        self.keys: dict[Entry, str] = {}
        self.values: dict[Entry, str] = {}  # as they are to be written
        self.added: list[tuple[str, str]] = []

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.dropped or self.keys or self.values or self.added)

    def drop(self, entry: Entry) -> None:
        """Take a setting out."""
        self.dropped.append(entry)

    def put(self, key: str, value: object, instead_of: Entry | None = None) -> None:
        """Give a setting a value: in the place of another, or where it belongs."""
        entry = self.table.entry(key) or instead_of
        if entry is None:
            self.added.append((key, written(value, self.table.json)))
            return
        if entry.key != key:
            self.keys[entry] = key
        if entry.value != value or isinstance(entry.value, bool) != isinstance(value, bool):
            self.values[entry] = written(value, self.table.json)

    def edits(self) -> list[Edit]:
        """The changes, as replacements of ranges of the text."""
        if not self.changed:
            return []
        if self.table.flow:
            return [(self.table.start, self.table.end, self.rendered())]
        return sorted(self._block())

    # ------------------------------------------------------------------ between braces
    def rendered(self) -> str:
        """The text of a table between braces."""
        table, text = self.table, self.table.text
        listing: Listing[Entry | str] = Listing(newline=table.newline)
        at = table.start
        for entry in table.entries:
            listing.gaps.append(text[at : entry.key_start])
            listing.items.append(entry)
            at = entry.end
        listing.gaps.append(text[at : table.end])
        for entry in self.dropped:
            listing.remove(entry)
        for key, value in self.added:
            quoted = f'"{key}"' if self._is_quoted() else key
            listing.insert(f"{quoted}: {value}", "{")
        items = [item if isinstance(item, str) else self._item(item) for item in listing.items]
        return "".join(g + i for g, i in zip(listing.gaps, [*items, ""], strict=True))

    def _item(self, entry: Entry) -> str:
        text = self.table.text
        key = text[entry.key_start : entry.key_end]
        between = text[entry.key_end : entry.start]
        value = self.values.get(entry, text[entry.start : entry.end])
        return self._key(entry, key) + between + value

    def _key(self, entry: Entry, old: str) -> str:
        new = self.keys.get(entry)
        return old if new is None else old.replace(entry.key, new)

    def _is_quoted(self) -> bool:
        text, entries = self.table.text, self.table.entries
        return self.table.json or (
            bool(entries) and all(text[e.key_start] in "\"'" for e in entries)
        )

    # ------------------------------------------------------------------ on lines
    def _block(self) -> Iterator[Edit]:
        text = self.table.text
        for entry in self.dropped:
            yield self._cut(entry)
        for entry, new in self.keys.items():
            old = text[entry.key_start : entry.key_end]
            yield entry.key_start, entry.key_end, old.replace(entry.key, new)
        for entry, value in self.values.items():
            if isinstance(entry.value, list | Table | None) and text[entry.start] not in "[{":
                yield self._over_lines(entry, value)
            else:
                yield entry.start, entry.end, value
        if self.added:
            yield from self._inserted()

    def _cut(self, entry: Entry) -> Edit:
        """Take the lines of an entry out, but not the comment behind it."""
        text = self.table.text
        start = text.rfind("\n", 0, entry.key_start) + 1
        end = text.find("\n", entry.end)
        end = len(text) if end < 0 else end + 1
        rest = text[entry.end : end].strip()
        kept = text[start : entry.key_start] + rest + self.table.newline if rest else ""
        return start, end, kept

    def _over_lines(self, entry: Entry, value: str) -> Edit:
        """A value in the place of nothing, or of what stands on the next lines."""
        text = self.table.text
        colon = text.index(":", entry.key_end) + 1
        old = text[colon : entry.end].rstrip()
        comments = re.findall(r"(?:^|\s)(#[^\r\n]*)", old)
        return colon, colon + len(old), "  ".join([f" {value}", *comments])

    def _inserted(self) -> Iterator[Edit]:
        """New lines: in order, where the keys are in order, else on top."""
        text, table = self.table.text, self.table
        keys = list(table)
        in_order = keys == sorted(keys)
        kept = [entry for entry in table.entries if entry not in self.dropped]
        column = table.entries[0].key_start - (text.rfind("\n", 0, table.entries[0].key_start) + 1)
        indent = text[table.entries[0].key_start - column : table.entries[0].key_start]
        lines: dict[int, list[str]] = {}
        for key, value in self.added:
            before = [e for e in kept if e.key < key] if in_order else []
            at = self._line_after(before[-1]) if before else table.entries[0].key_start - column
            blank = "" if value[:1] in "\r\n" else " "
            lines.setdefault(at, []).append(f"{indent}{key}:{blank}{value}")
        for at, some in lines.items():
            new = table.newline.join(sorted(some) if in_order else reversed(some))
            ended = at == 0 or text[at - 1] == "\n"
            yield at, at, new + table.newline if ended else table.newline + new

    def _line_after(self, entry: Entry) -> int:
        text = self.table.text
        last = entry.end
        while last > entry.key_end and text[last - 1].isspace():
            last -= 1  # a nested table ends where the next thing starts
        end = text.find("\n", last)
        return len(text) if end < 0 else end + 1


def written(value: object, json: bool) -> str:
    """A value as YAML or JSON writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and json:
        return f'"{value}"'
    return str(value)
