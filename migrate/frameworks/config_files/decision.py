"""What becomes of a table of settings, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fsdp_migrate.findings.finding import Finding, Safety, Tier
from fsdp_migrate.frameworks.config_files.editor import Editor
from fsdp_migrate.frameworks.config_files.tables import Entry, Table, place


class Decision:
    """Goes through a table: each step is a change and a finding."""

    def __init__(self, table: Table, path: Path, code: str, prefix: str = "fsdp_") -> None:
        self.table, self.path, self.code = table, path, code
        self.editor = Editor(table)
        self.findings: list[Finding] = []
        if len(table):
            prefix = "fsdp_" if any(key.startswith("fsdp_") for key in table) else ""
        self.prefix = prefix

    # ------------------------------------------------------------------ settings
    def entry(self, name: str) -> Entry | None:
        """The setting `name`, with the prefix or without."""
        return self.table.entry(f"fsdp_{name}") or self.table.entry(name)

    def value(self, name: str) -> object:
        """What the setting `name` says; None if it isn't there."""
        entry = self.entry(name)
        return entry.value if entry is not None else None

    def key(self, name: str, like: Entry | None = None) -> str:
        """How to call a setting, as the others are called."""
        own = self.entry(name)
        if own is not None:
            return own.key
        if like is not None:
            return f"fsdp_{name}" if like.key.startswith("fsdp_") else name
        return f"{self.prefix}{name}"

    # ------------------------------------------------------------------ steps
    def drop(self, name: str, message: str, safety: Safety = Safety.SAFE) -> None:
        """Leave a setting out."""
        entry = self.entry(name)
        if entry is not None and entry not in self.editor.dropped:
            self.editor.drop(entry)
            self.say(message, entry, Tier.NATIVE, safety)

    def put(self, name: str, value: object, message: str, instead_of: str | None = None) -> None:
        """Give a setting a value; nothing is said if it has it."""
        other = self.entry(instead_of) if instead_of is not None else None
        own = self.entry(name)
        if own is not None and own.value == value and type(own.value) is type(value):
            return
        self.editor.put(self.key(name, other), value, other)
        self.say(message, own or other, Tier.NATIVE)

    def note(self, name: str, message: str, safety: Safety = Safety.SAFE) -> None:
        """Something to know about a setting."""
        self.say(message, self.entry(name), Tier.NOTE, safety)

    def manual(self, message: str, name: str | None = None) -> None:
        """Something that a person has to decide."""
        self.say(message, self.entry(name) if name is not None else None, Tier.MANUAL)

    def say(
        self, message: str, entry: Entry | None, tier: Tier, safety: Safety = Safety.SAFE
    ) -> None:
        """A finding at an entry, or at the table."""
        at = entry.key_start if entry is not None else self.table.start
        line, col = place(self.table.text, at)
        self.findings.append(Finding(self.path, line, col, self.code, message, tier, safety))

    @property
    def is_manual(self) -> bool:
        """Whether something is left for a person, and so everything is."""
        return any(item.tier is Tier.MANUAL for item in self.findings)

    def settled(self) -> list[Finding]:
        """The findings; where one is for a person, the changes wait for it."""
        found = sorted(self.findings, key=lambda item: (item.line, item.col))
        left = [item for item in found if item.tier is Tier.MANUAL]
        if left:
            message = f"{left[0].message} (nothing else is changed here before that)"
            left[0] = replace(left[0], message=message)
        return left or found
