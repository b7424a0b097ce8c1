"""The report: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from fsdp_migrate.runtime.compare import Difference, Outcome, Tally, Verdict
from fsdp_migrate.runtime.report import charts, series
from fsdp_migrate.runtime.report.html import figure, folded, scroller, section, table
from fsdp_migrate.runtime.report.migration import FileChange, Hunk, Site
from fsdp_migrate.runtime.report.style import CSS
from fsdp_migrate.runtime.verify import recording
from fsdp_migrate.runtime.verify.recording import NoRecording, Recording

SHOWN = 200  # differences in the table
SUSPECTS = 8  # sites behind the likely cause
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def write(
    path: Path, verdict: Verdict, old: Path, new: Path, changes: Sequence[FileChange] = ()
) -> None:
    """Write the report of a comparison of the recordings in two folders."""
    path.write_text(render(verdict, _read(old), _read(new), changes), encoding="utf-8")


def render(
    verdict: Verdict,
    old: Recording | None,
    new: Recording | None,
    changes: Sequence[FileChange] = (),
) -> str:
    """The page as text."""
    sections = [*_summary(verdict)]
    if old is not None and new is not None and verdict.outcome is not Outcome.FAILED:
        sections += [*_losses(old, new), *_heat(old, new)]
        sections += [*_collectives(old, new), *_costs(old, new)]
    sections += [*_differences(verdict), *_changes(changes), *_environment(old, new)]
    title = f"{verdict.outcome.value}: FSDP1 to FSDP2"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#details">Skip to the details</a>\n'
        f'{_header(verdict, changes)}\n<main id="details">\n' + "\n".join(sections) + "\n</main>\n"
        "</body>\n</html>\n"
    )


def _read(folder: Path) -> Recording | None:
    try:
        return recording.read(folder)
    except NoRecording:
        return None


def _header(verdict: Verdict, changes: Sequence[FileChange]) -> str:
    lines = [f"<h1>{escape(verdict.headline)}</h1>"]
    if verdict.first is not None:
        label = "First divergence" if verdict.outcome is Outcome.DIFFERENT else "Reason"
        lines.append(f"<p><strong>{label}:</strong> {escape(str(verdict.first))}</p>")
    if verdict.cause is not None:
        codes = "".join(f" <code>{escape(code)}</code>" for code in verdict.cause.codes)
        lines.append(
            f"<p><strong>Likely cause:</strong> {escape(verdict.cause.title)}{codes}<br>"
            f'<span class="soft">{escape(verdict.cause.explanation)}</span></p>'
        )
        lines.append(_suspects(verdict.cause.codes, changes))
    body = "\n".join(lines)
    return (
        '<header><p class="eyebrow">fsdp-migrate: does the new version train as the old one?</p>'
        f'<div class="verdict {verdict.outcome.value}">{body}</div></header>'
    )


def _suspects(codes: Sequence[str], changes: Sequence[FileChange]) -> str:
    """Links to what was migrated by the rules that the likely cause names."""
    found = [(change, site) for change in changes for site in change.sites if site.code in codes]
    items = "".join(
        f'<li><a href="#{site.anchor}">{escape(change.path)}:{site.line}</a> '
        f"<code>{escape(site.code)}</code> {escape(site.message)}</li>"
        for change, site in found[:SUSPECTS]
    )
    return f"<p><strong>Migrated there:</strong></p><ul>{items}</ul>" if items else ""


def _summary(verdict: Verdict) -> Iterator[str]:
    if verdict.tallies:
        rows = [
            (escape(aspect.value), str(tally.compared), _result(tally), _worst(tally))
            for aspect, tally in verdict.tallies.items()
        ]
        head = ("What", "Compared", "Result", "Largest difference")
        yield section("What was compared", table("What was compared", head, rows))


def _result(tally: Tally) -> str:
    if tally.exact:
        return '<span class="yes">✓ all the same</span>'
    if tally.different:
        return f'<span class="no">✗ {tally.different} different</span>'
    return f'<span class="some">≈ {tally.tolerated} within tolerance</span>'


def _worst(tally: Tally) -> str:
    return f"{tally.worst:.2e}" if tally.worst else "0" if tally.exact else ""


def _losses(old: Recording, new: Recording) -> Iterator[str]:
    curves = series.losses(old, new)
    worst = max((d for d in curves.apart if d is not None), default=0.0)
    places, drawn = curves.drawn()
    unit = "call of backward"
    chart = charts.line_chart(
        "Loss of both versions on rank 0",
        f"{len(curves.old)} values; largest difference {worst:.3g}",
        [charts.Series("old", "old", drawn.old), charts.Series("new", "new", drawn.new)],
        places,
        unit,
    )
    gap = charts.log_chart(
        "Difference of the losses",
        f"Absolute difference on a logarithmic axis, at most {worst:.3g}",
        drawn.apart,
        places[: len(drawn.apart)],
        unit,
    )
    rows = [
        (str(place), _loss(x), _loss(y), "" if d is None else f"{d:.3g}")
        for place, x, y, d in zip(places, drawn.old, drawn.new, drawn.apart, strict=False)
    ]
    legend = (
        'Loss on rank 0: <span class="entry"><span class="key k-old"></span>old</span>'
        '<span class="entry"><span class="key k-new"></span>new, drawn over it</span>'
    )
    numbers = table("Losses", ("Call", "Old", "New", "Difference"), rows, 1)
    yield section(
        "Loss",
        figure(legend, chart)
        + figure("Absolute difference, on a logarithmic axis", gap)
        + folded("The numbers", numbers),
    )


def _loss(value: float | None) -> str:
    return "not a scalar" if value is None else f"{value:.9g}"


def _heat(old: Recording, new: Recording) -> Iterator[str]:
    heat = series.heat(old, new)
    if not heat.rows:
        return
    if heat.equal:
        text = f"All {len(heat.rows) + heat.hidden} parameters and buffers are equal at all steps."
        yield section("Parameters by step", f'<p class="yes">✓ {escape(text)}</p>')
        return
    chart = charts.heat_map(
        "Relative difference of each parameter after each step",
        f"{len(heat.rows)} parameters by {len(heat.columns)} steps",
        heat.rows,
        heat.columns,
        heat.cells,
    )
    keys = "".join(
        f'<span class="entry"><span class="key k{n}"></span>{escape(name)}</span> '
        for n, name in enumerate(charts.LEVELS)
    )
    hidden = f" {heat.hidden} rows that differ less are left out." if heat.hidden else ""
    rows = [
        (f"<code>{escape(name)}</code>", _first_step(cells, heat.columns), f"{_most(cells):.2e}")
        for name, cells in zip(heat.rows, heat.cells, strict=True)
        if _most(cells)
    ]
    numbers = table(
        "Parameters that differ",
        ("Parameter", "First differs at step", "Largest difference"),
        rows,
        1,
    )
    caption = f"Relative difference of norms, over all ranks: {keys}{escape(hidden)}"
    yield section(
        "Parameters by step",
        figure(caption, scroller("Parameters by step", chart)) + folded("The numbers", numbers),
    )


def _most(cells: Sequence[float | None]) -> float:
    return max((cell or 0.0) for cell in cells)


def _first_step(cells: Sequence[float | None], columns: Sequence[str]) -> str:
    return next(column for cell, column in zip(cells, columns, strict=True) if cell)


def _collectives(old: Recording, new: Recording) -> Iterator[str]:
    rows = [
        (
            escape(row.kind),
            f"{row.old[0]:g}",
            f"{row.new[0]:g}",
            f"{row.old[1]:,.0f}",
            f"{row.new[1]:,.0f}",
            f"{row.new[1] / row.old[1]:.2f}" if row.old[1] else "",
        )
        for row in series.traffic(old, new)
    ]
    head = ("Collective", "Old count", "New count", "Old bytes", "New bytes", "Ratio")
    caption = '<p class="soft">Per step, the median over all steps, on rank 0.</p>'
    if rows:
        yield section("Communication", caption + table("Collectives", head, rows, 1))
    else:
        yield section("Communication", "<p>No collective was counted.</p>")


def _costs(old: Recording, new: Recording) -> Iterator[str]:
    rows = []
    times = series.step_seconds(old), series.step_seconds(new)
    if times[0] is not None and times[1] is not None:
        ratio = f"{times[1] / times[0]:.2f}" if times[0] else ""
        rows.append(("Median step time", *(f"{1e3 * t:.1f} ms" for t in times if t), ratio))
    peaks = series.peak_memory(old), series.peak_memory(new)
    if peaks[0] and peaks[1]:
        sizes = (f"{peak / 2**20:,.1f} MiB" for peak in peaks if peak)
        rows.append(("Peak GPU memory", *sizes, f"{peaks[1] / peaks[0]:.2f}"))
    if rows:
        note = "The time that recording takes is left out."
        if not peaks[0]:
            note += " There was no GPU, so memory was not measured."
        note = f'<p class="soft">{note}</p>'
        costs = table("Time and memory", ("", "Old", "New", "Ratio"), rows, 1)
        yield section("Time and memory", costs + note)


def _differences(verdict: Verdict) -> Iterator[str]:
    if verdict.differences:
        rows = [_difference(d) for d in verdict.differences[:SHOWN]]
        listed = table("Differences", ("What", "Rank", "Step", "In words"), rows)
        more = len(verdict.differences) - len(rows)
        rest = f'<p class="soft">… and {more} more.</p>' if more > 0 else ""
        words = f"{len(verdict.differences)} in all, in the order in which they happened"
        yield section("Differences", folded(words, listed + rest, opened=len(rows) <= 20))


def _difference(difference: Difference) -> tuple[str, str, str, str]:
    return (
        escape(difference.aspect.value),
        "" if difference.rank is None else str(difference.rank),
        "" if difference.step is None else str(difference.step),
        escape(difference.message),
    )


def _changes(changes: Sequence[FileChange]) -> Iterator[str]:
    if not changes:
        return
    parts = []
    for change in changes:
        parts.append(f"<h3><code>{escape(change.path)}</code></h3>")
        parts += [_hunk(hunk, change) for hunk in change.hunks]
        if change.rest:
            parts.append('<p class="where soft">Found, and nothing changed there:</p>')
            parts += [_site(site) for site in change.rest]
    yield section("The migration", "".join(parts))


def _hunk(hunk: Hunk, change: FileChange) -> str:
    classes = {"+": "added", "-": "removed", " ": "kept"}
    lines = "".join(
        f'<span class="{classes[sign]}">{escape(sign + text) or " "}</span>'
        for sign, text in hunk.lines
    )
    why = "".join(map(_site, hunk.sites))
    if not hunk.sites:  # imports, or a line that moved: what another place needs
        codes = ", ".join(dict.fromkeys(site.code for site in change.sites))
        why = f'<p class="rule soft">Follows from the other changes: {escape(codes)}</p>'
    return (
        f'<div class="hunk"><p class="where soft">{escape(hunk.heading)}</p>{why}'
        f'<pre tabindex="0" role="region" aria-label="{escape(f"{change.path}, {hunk.heading}")}">'
        f"<code>{lines}</code></pre></div>"
    )


def _site(site: Site) -> str:
    return (
        f'<p class="rule" id="{site.anchor}"><code>{escape(site.code)}</code> <span class="soft">'
        f"line {site.line}, {escape(site.tier)}:</span> {escape(site.message)}</p>"
    )


def _environment(old: Recording | None, new: Recording | None) -> Iterator[str]:
    heads = [run and run.ranks[min(run.ranks)].header for run in (old, new)]
    rows = []
    for label, name in (
        ("Device", "device"),
        ("torch", "torch"),
        ("CUDA", "cuda"),
        ("NCCL", "nccl"),
        ("Python", "python"),
        ("fsdp-migrate", "recorder"),
        ("Ranks", "world"),
        ("Host", "host"),
        ("Started", "started"),
        ("Order-independent reductions", "deterministic"),
        ("Program", "arguments"),
    ):
        cells = [_setting(getattr(head, name)) if head else "no recording" for head in heads]
        if any(cells):
            rows.append((escape(label), *map(escape, cells)))
    notes = dict.fromkeys(
        note
        for run in (old, new)
        for rank in (run.ranks.values() if run else ())
        for note in (rank.end.notes if rank.end else ())
    )
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    versions = table("Environment", ("", "Old", "New"), rows)
    yield section("Environment", versions + (f"<ul>{listed}</ul>" if listed else ""))


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
