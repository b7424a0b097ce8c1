"""What a run says: the findings, in the format asked for, and a summary for people."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from fsdp_migrate.discovery.discover import Discovered, uses_fsdp2
from fsdp_migrate.findings.finding import Finding, Place, Safety, Tier
from fsdp_migrate.syntax.printable import printable
from fsdp_migrate.syntax.source import SourceError

Format = Literal["text", "full", "concise", "json", "github", "sarif"]
FOR_PEOPLE = frozenset({"text", "full", "concise"})
Findings = Sequence[Finding]
Changes = Mapping[Path, str]
Lines = Callable[[Path], list[str] | None]
Errors = Sequence[SourceError]

_SHOWN_PATHS = 10
_FORMATTERS = {"black": ("black", "black"), "ruff": ("ruff", "ruff format")}


def render(
    style: Format,
    findings: Findings,
    changes: Changes,
    errors: Errors,
    suppressed: Findings = (),
    piped: str | None = None,
    lines: Lines = lambda path: None,
) -> str:
    """The findings in `style`, each on a line of its own where people read them.

    `suppressed` is what the user wants left as it is, `piped` what standard input becomes, `lines`
    those of a file.
    """
    if style in FOR_PEOPLE:
        return "".join(f"{line}\n" for line, _ in entries(findings))
    from fsdp_migrate.reporting import formats

    if style == "json":
        return formats.to_json(findings, changes, errors, suppressed, piped)
    if style == "github":
        return formats.to_github(findings, errors)
    from fsdp_migrate.rule.registry import load_rules

    return formats.to_sarif(findings, errors, load_rules(), suppressed, lines)


def entries(findings: Findings) -> Iterator[tuple[str, Finding | None]]:
    """What is said of each finding, on a line, and the finding unless it waits for another.

    What blocks others comes first, with those others below it; the rest in its order.
    """
    held: dict[Place, list[Finding]] = defaultdict(list)
    for item in findings:
        if item.held_by is not None:
            held[item.held_by].append(item)
    blockers = [item for item in findings if held.get(item.place) and item.held_by is None]
    first = {item.place: item for item in reversed(blockers)}
    beside = {place: [i for i in findings if i.blocks_with == place] for place in held}
    for place, others in held.items():
        said = f"; blocks {_count(len(others), 'other')}"
        more = beside[place]
        together = f", with the {_count(len(more), 'place')} below" if more else ""
        if place in first:
            yield _said(first[place]) + said + together, first[place]
        else:
            where = f"{place.path}:{place.line}:{place.col}"
            yield printable(f"{where} {place.code} stays as it is{said}"), None
        yield from ((f"{_said(item)}; blocks the same", item) for item in more)
        yield from ((f"  {_said(item)}", None) for item in others)
    shown = [*first.values(), *(item for items in beside.values() for item in items)]
    for item in findings:
        if item.held_by is None and item not in shown:
            yield _said(item), item


def _said(item: Finding) -> str:
    """A finding on one line; what can change the outcome of a run is marked as such."""
    mark = " [unsafe]" if item.safety is Safety.UNSAFE else ""
    where = f"{item.path}:{item.line}:{item.col} {item.code}{mark}"
    return printable(f"{where} {' '.join(item.message.split(chr(10)))}")


def nothing(found: Discovered, silenced: Findings = (), ruled_out: Findings = ()) -> str:
    """Why there is nothing to report; not every nothing is the same."""
    if silenced or ruled_out:
        return " ".join([*left(silenced, ruled_out), "Nothing else to do."])
    files = _count(found.seen, "Python file")
    if not found.seen and found.configs:
        return f"No Python files here, and nothing of FSDP1 in {_others(found)}."
    if not found.seen:
        return "No Python files here: nothing to do."
    if not found.candidates and not found.fsdp2:
        return f"No FSDP in {files}: nothing to do."
    if found.fsdp2 and not _mentions(found):
        return f"Already FSDP2 in {_count(found.fsdp2, 'file')} of {found.seen}: nothing to do."
    return (
        f"FSDP1 is mentioned in {_count(_mentions(found), 'file')} of {found.seen}, but none uses "
        "it (comments, strings, or something else of that name): nothing to do."
    )


def _others(found: Discovered) -> str:
    """The files beside those of Python that were looked into."""
    return _count(len(found.configs), "other file") + " that may speak of it"


def _mentions(found: Discovered) -> int:
    """The number of files that seem to name FSDP1; a file of FSDP2 shares its module's name."""
    return sum(
        b"FullyShardedDataParallel" in file.data or not uses_fsdp2(file.data)
        for file in found.candidates
    )


def counts(findings: Findings) -> str:
    """How many findings of each kind in how many files."""
    tiers = Counter(finding.tier for finding in findings)
    files = len({finding.path for finding in findings})
    kinds = [f"{tiers[tier]} {tier.value}" for tier in (Tier.NATIVE, Tier.SHIM, Tier.MANUAL)]
    kinds.append(_count(tiers[Tier.NOTE], "note"))
    total = _count(len(findings), "finding")
    unsafe = sum(finding.safety is Safety.UNSAFE for finding in findings)
    marked = f" {unsafe} marked [unsafe]: can change the outcome of a run." if unsafe else ""
    return f"{total} in {_count(files, 'file')}: {', '.join(kinds)}.{marked}"


def hushed(silenced: Findings) -> str:
    """How much comments of the user's keep from being reported."""
    first = min(item.place for item in silenced)
    count = _count(len(silenced), "use") + " of FSDP1"
    where = printable(f"{first.path}:{first.line}")
    return f"Left because of `fsdp-migrate: ignore` comments: {count}, {where}."


def left(silenced: Findings, ruled_out: Findings) -> list[str]:
    """What the user wants left as it is, if there is something of it."""
    lines = [hushed(silenced)] if silenced else []
    if ruled_out:
        codes = ", ".join(sorted({item.code for item in ruled_out}))
        places = _count(len(ruled_out), "place")
        lines.append(f"Left because of --select or --ignore: {places}, {codes}.")
    return lines


def blocks(findings: Findings) -> str:
    """How many places hold how many others back."""
    held = [item.held_by for item in findings if item.held_by is not None]
    places = {*held, *(item.place for item in findings if item.blocks_with in held)}
    verb = "block" if len(places) > 1 else "blocks"
    return f"{_count(len(places), 'place')} {verb} {_count(len(held), 'other')}." if held else ""


def next_steps(
    findings: Findings,
    changes: Changes,
    written: Collection[Path],
    said: Sequence[str],
    undo: str | None = None,
) -> list[str]:
    """What to do now, a line each; commands repeat what was `said`, and stand on their own."""
    steps = []
    pending = len(set(changes) - set(written))
    if written:
        steps.append(f"Changed {_count(len(written), 'file')}." + " To take it back:" * bool(undo))
        steps += [printable(f"    {undo}")] if undo else []
    elif pending:
        steps.append(f"Would change {_count(pending, 'file')}. To see how, and to do it:")
        steps += [
            printable(f"    {shlex.join(['fsdp-migrate', option, *said])}")
            for option in ("--diff", "--write")
        ]
    manual = sum(finding.tier is Tier.MANUAL for finding in findings)
    if manual:
        steps.append(
            f"{_count(manual, 'place')} left to you (manual): what to do is said above, and why by:"
        )
        codes = sorted({finding.code for finding in findings if finding.tier is Tier.MANUAL})
        steps.append(f"    fsdp-migrate explain {' '.join(codes)}")
    if any("from fsdp_migrate.runtime import" in changes.get(path, "") for path in written):
        steps.append("Training needs fsdp-migrate where fsdp_migrate.runtime is imported.")
    command = formatter(written)
    if command:
        steps += ["Format what changed:", printable(f"    {command}")]
    return steps


def formatter(written: Collection[Path]) -> str | None:
    """The command that formats the files, if their project shows that it has a formatter."""
    files = sorted(path for path in written if path.exists())
    if not files:
        return None
    shown = shlex.join(map(str, files)) if len(files) <= _SHOWN_PATHS else "."
    for folder in Path(os.path.abspath(files[0])).parents:
        try:
            text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for tool, command in _FORMATTERS.values():
            if re.search(rf"^\[tool\.{tool}\b", text, re.MULTILINE):
                return f"{command} {shown}"
        return None
    return None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
