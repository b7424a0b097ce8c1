"""The report: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from fsdp_migrate.runtime import recording
from fsdp_migrate.runtime.compare import Difference, Outcome, Tally, Verdict
from fsdp_migrate.runtime.compare.words import headline
from fsdp_migrate.runtime.recording import NoRecording, Recording
from fsdp_migrate.runtime.report import charts, series
from fsdp_migrate.runtime.report.migration import FileChange, Hunk, Site
from fsdp_migrate.runtime.report.style import CSS

SHOWN = 200  # differences in the table
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
        f'{_header(verdict)}\n<main id="details">\n' + "\n".join(sections) + "\n</main>\n"
        "</body>\n</html>\n"
    )


def _read(folder: Path) -> Recording | None:
    try:
        return recording.read(folder)
    except NoRecording:
        return None


def _header(verdict: Verdict) -> str:
    lines = [f"<h1>{escape(headline(verdict))}</h1>"]
    if verdict.first is not None:
        label = "First divergence" if verdict.outcome is Outcome.DIFFERENT else "Reason"
        lines.append(f"<p><strong>{label}:</strong> {escape(str(verdict.first))}</p>")
    if verdict.cause is not None:
        codes = "".join(f" <code>{escape(code)}</code>" for code in verdict.cause.codes)
        lines.append(
            f"<p><strong>Likely cause:</strong> {escape(verdict.cause.title)}{codes}<br>"
            f'<span class="soft">{escape(verdict.cause.explanation)}</span></p>'
        )
    body = "\n".join(lines)
    return (
        '<header><p class="eyebrow">fsdp-migrate: does the new version train as the old one?</p>'
        f'<div class="verdict {verdict.outcome.value}">{body}</div></header>'
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 99) -> str:
    """A table of escaped cells; from column `numbers` on they are aligned to the right."""

    def cell(tag: str, place: int, text: str, scope: str = "") -> str:
        kind = ' class="n"' if place >= numbers else ""
        return f"<{tag}{kind}{scope}>{text}</{tag}>"

    heading = "".join(cell("th", n, escape(t), ' scope="col"') for n, t in enumerate(head))
    body = "".join(
        "<tr>"
        + cell("th", 0, row[0], ' scope="row"')
        + "".join(cell("td", n, text) for n, text in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{heading}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _summary(verdict: Verdict) -> Iterator[str]:
    if verdict.tallies:
        rows = [
            (escape(aspect.value), str(tally.compared), _result(tally), _worst(tally))
            for aspect, tally in verdict.tallies.items()
        ]
        head = ("What", "Compared", "Result", "Largest difference")
        yield _section("What was compared", _table(head, rows))


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
    apart = curves.differences()
    worst = max((d for d in apart if d is not None), default=0.0)
    chart = charts.line_chart(
        "Loss of both versions on rank 0",
        f"{len(curves.old)} values; largest difference {worst:.3g}",
        [
            charts.Series("old", "old", curves.old),
            charts.Series("new", "new", curves.new),
        ],
        "call of backward",
    )
    gap = charts.log_chart(
        "Difference of the losses",
        f"Absolute difference on a logarithmic axis, at most {worst:.3g}",
        apart,
        "call of backward",
    )
    rows = [
        (str(n), _loss(x), _loss(y), "" if d is None else f"{d:.3g}")
        for n, (x, y, d) in enumerate(zip(curves.old, curves.new, apart, strict=False))
    ][:SHOWN]
    table = _table(("Call", "Old", "New", "Difference"), rows, 1)
    yield _section(
        "Loss",
        f'<figure>{chart}<figcaption><span class="key k-old"></span>old'
        '<span class="key k-new"></span>new, drawn over it</figcaption></figure>'
        f"<figure>{gap}<figcaption>Absolute difference, logarithmic</figcaption></figure>"
        f"<details><summary>The numbers</summary>{table}</details>",
    )


def _loss(value: float | None) -> str:
    return "not a scalar" if value is None else f"{value:.9g}"


def _heat(old: Recording, new: Recording) -> Iterator[str]:
    heat = series.heat(old, new)
    if not heat.rows:
        return
    if heat.equal:
        text = f"All {len(heat.rows) + heat.hidden} parameters and buffers are equal at all steps."
        yield _section("Parameters by step", f'<p class="yes">✓ {escape(text)}</p>')
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
    table = _table(("Parameter", "First differs at step", "Largest difference"), rows, 1)
    yield _section(
        "Parameters by step",
        f'<figure><div class="scroll">{chart}</div><figcaption>Relative difference of norms: '
        f"{keys}{escape(hidden)}</figcaption></figure>"
        f"<details><summary>The numbers</summary>{table}</details>",
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
        yield _section("Communication", caption + _table(head, rows, 1))
    else:
        yield _section("Communication", "<p>No collective was counted.</p>")


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
        note = "" if peaks[0] else '<p class="soft">No GPU: memory was not measured.</p>'
        table = _table(("", "Old", "New", "Ratio"), rows, 1)
        yield _section("Time and memory", table + note)


def _differences(verdict: Verdict) -> Iterator[str]:
    if verdict.differences:
        rows = [_difference(d) for d in verdict.differences[:SHOWN]]
        table = _table(("What", "Rank", "Step", "In words"), rows)
        more = len(verdict.differences) - len(rows)
        rest = f'<p class="soft">… and {more} more.</p>' if more > 0 else ""
        opened = "" if len(rows) > 20 else " open"
        yield _section(
            "Differences",
            f"<details{opened}><summary>{len(verdict.differences)} in all, in the order in which "
            f"they happened</summary>{table}{rest}</details>",
        )


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
        parts += [_hunk(hunk) for hunk in change.hunks]
        parts += [_site(site) for site in change.rest]
    yield _section("The migration", "".join(parts))


def _hunk(hunk: Hunk) -> str:
    classes = {"+": "added", "-": "removed", " ": "kept"}
    lines = "".join(
        f'<span class="{classes[sign]}">{escape(sign + text) or " "}</span>'
        for sign, text in hunk.lines
    )
    sites = "".join(map(_site, hunk.sites))
    return (
        f'{sites}<pre tabindex="0" aria-label="{escape(hunk.heading)}"><code>{lines}</code></pre>'
    )


def _site(site: Site) -> str:
    return (
        f'<p class="rule"><code>{escape(site.code)}</code> <span class="soft">line {site.line}, '
        f"{escape(site.tier)}:</span> {escape(site.message)}</p>"
    )


def _environment(old: Recording | None, new: Recording | None) -> Iterator[str]:
    heads = [run and run.ranks[min(run.ranks)].header for run in (old, new)]
    rows = []
    for label, name in (
        ("Device", "device"),
        ("torch", "torch"),
        ("Python", "python"),
        ("Ranks", "world"),
        ("Host", "host"),
        ("Order-independent reductions", "deterministic"),
        ("Program", "arguments"),
    ):
        cells = [_setting(getattr(head, name)) if head else "no recording" for head in heads]
        rows.append((escape(label), *map(escape, cells)))
    notes = dict.fromkeys(
        note
        for run in (old, new)
        for rank in (run.ranks.values() if run else ())
        for note in (rank.end.notes if rank.end else ())
    )
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    table = _table(("", "Old", "New"), rows)
    yield _section("Environment", table + (f"<ul>{listed}</ul>" if listed else ""))


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
