"""Charts as inline SVG: readable without scripts, with a name and a description each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 34


@dataclass(frozen=True)
class Series:
    """One curve; None is a gap."""

    label: str
    style: str  # CSS class
    values: Sequence[float | None]


def line_chart(
    title: str, description: str, series: Sequence[Series], places: Sequence[int], unit: str
) -> str:
    """Curves over numbered calls."""
    values = [v for s in series for v in s.values if v is not None and math.isfinite(v)]
    if not values:
        return _empty(f"{title}: there is nothing to draw.")
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    ticks = _ticks(low, high)
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [_grid(y(tick), _number(tick)) for tick in ticks]
    parts += _calls(places, unit)
    for one in series:
        parts.append(_curve(one, [None if v is None else y(v) for v in one.values]))
    return _svg(title, description, HEIGHT, parts)


def log_chart(
    title: str,
    description: str,
    values: Sequence[float | None],
    places: Sequence[int],
    unit: str,
) -> str:
    """Differences on a logarithmic axis, with a line of their own for those that are zero."""
    finite = _positive(values)
    endless = [v for v in values if v is not None and math.isinf(v)]
    if not finite and not endless:
        return _empty(f"{title}: all differences are exactly zero.")
    low = math.floor(math.log10(min(finite, default=1.0)))
    high = max(math.ceil(math.log10(max(finite, default=1.0))), low + 1)
    zero = HEIGHT - BOTTOM
    base = zero - 24

    def y(value: float) -> float:
        if value == 0:
            return zero
        if math.isinf(value):
            return TOP
        return TOP + (base - TOP) * (high - math.log10(value)) / (high - low)

    step = max(1, (high - low) // 6)
    parts = [_grid(y(10.0**e), f"1e{e}") for e in range(low, high + 1, step)]
    parts += [_grid(zero, "0"), *_calls(places, unit)]
    heights = [None if v is None else y(v) for v in values]
    above = [h if v else None for h, v in zip(heights, values, strict=True)]
    parts.append(_curve(Series(title, "apart", above), above))
    parts += _dots(values, heights, [f"{unit} {number}" for number in places])
    return _svg(title, description, HEIGHT, parts)


def _positive(values: Sequence[float | None]) -> list[float]:
    """The values that have a place on a logarithmic axis."""
    return [v for v in values if v is not None and v > 0 and math.isfinite(v)]


def _dots(
    values: Sequence[float | None], heights: Sequence[float | None], names: Sequence[str]
) -> Iterator[str]:
    """A dot for each value, which says what it is when it is pointed at."""
    radius = 3 if len(values) <= 100 else 1.5
    for place, (value, height) in enumerate(zip(values, heights, strict=True)):
        if value is not None:
            yield (
                f'<circle class="{"dot" if value else "zero"}" '
                f'cx="{_x(place, len(values)):.1f}" cy="{height:.1f}" '
                f'r="{radius}"><title>{escape(f"{names[place]}: {value:.3g}")}</title></circle>'
            )


def heat_map(
    title: str,
    description: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[float | None]],
) -> str:
    """A matrix of differences: the darker the larger; equal cells are left light."""
    label, size = 250, 14
    width = max((WIDTH - label - RIGHT) / max(len(columns), 1), 3)
    height = len(rows) * size + TOP + BOTTOM
    parts = []
    for r, row in enumerate(rows):
        y = TOP + r * size
        parts.append(
            f'<text class="label" x="{label - 6}" y="{y + size - 4}" text-anchor="end">'
            f"<title>{escape(row)}</title>{escape(_shorten(row, 38))}</text>"
        )
        for c, value in enumerate(cells[r]):
            what = "absent" if value is None else f"{value:.2e}" if value else "equal"
            parts.append(
                f'<rect class="heat{level(value)}" x="{label + c * width:.1f}" y="{y}" '
                f'width="{max(width - 1, 2):.1f}" height="{size - 1}">'
                f"<title>{escape(f'{row}, step {columns[c]}: {what}')}</title></rect>"
            )
    every = max(1, len(columns) // 10)
    for c in range(0, len(columns), every):
        x = label + (c + 0.5) * width
        parts.append(
            f'<text class="label" x="{x:.1f}" y="{height - 16}" text-anchor="middle">'
            f"{escape(columns[c])}</text>"
        )
    axis = f'<text class="label" x="{WIDTH - RIGHT}" y="{height - 2}" text-anchor="end">step</text>'
    return _svg(title, description, height, [*parts, axis])


def level(value: float | None) -> int:
    """The shade of a relative difference: 0 for equal, up to 6."""
    if value is None or value == 0:
        return 0
    if not math.isfinite(value):
        return 6
    return 1 + sum(value >= bound for bound in _BOUNDS)


_BOUNDS = (1e-7, 1e-5, 1e-3, 1e-2, 1e-1)
LEVELS = ("equal", *(f"below {bound:.0e}".replace("-0", "-") for bound in _BOUNDS), "more")


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height:g}" aria-label="{escape(title)}. '
        f'{escape(description)}"><g aria-hidden="true">{"".join(parts)}</g></svg>'
    )


def _empty(text: str) -> str:
    return f'<p class="empty">{escape(text)}</p>'


def _grid(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="label" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _calls(places: Sequence[int], unit: str) -> list[str]:
    every = max(1, math.ceil(len(places) / 12))
    marks = [
        f'<text class="label" x="{_x(n, len(places)):.1f}" y="{HEIGHT - 18}" text-anchor="middle">'
        f"{places[n]}</text>"
        for n in range(0, len(places), every)
    ]
    axis = f'<text class="label" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">'
    return [*marks, f"{axis}{escape(unit)}</text>"]


def _x(place: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _curve(series: Series, heights: Sequence[float | None]) -> str:
    path, pen, count = [], "M", len(heights)
    for place, y in enumerate(heights):
        if y is None or not math.isfinite(y):
            pen = "M"
            continue
        path.append(f"{pen}{_x(place, count):.1f} {y:.1f}")
        pen = "L"
    if len(path) == 1:
        path.append("h.1")  # a single point still shows
    return f'<path class="curve {series.style}" d="{" ".join(path)}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around an interval."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…" + text[-limit + 1 :]
