"""Plots as inline SVG: lines with bands, and values with whiskers. No script, no colour that is not the page's.

A plotting library would weigh more than the rest of the report (matplotlib and what it needs: 60 MB) or bring scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 44
ROW = 26  # height of one line of a chart of whiskers
NAME_WIDTH = 120
TICKS = 5

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: equally many xs and ys, and a band where lows and highs are given."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()


def lines(title: str, x_label: str, y_label: str, series: Sequence[Series], x_ticks: Sequence[Tick] = ()) -> str:
    """Lines over a common x; both axes begin at 0 or at what is least. x_ticks: where something is written below."""
    xs = [x for one in series for x in one.xs] or [0.0]
    ys = [y for one in series for y in (*one.ys, *one.highs)] or [0.0]
    x_from, x_to = min(xs) if x_ticks else 0.0, max(xs) or 1.0
    y_to = max(ys) or 1.0
    x_span = (x_to - x_from) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x_from) / x_span * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / y_to * (HEIGHT - TOP - BOTTOM),
        )

    drawn = []
    for y, written in _ticks(y_to):
        left, height = place(x_from, y)
        drawn.append(f'<path class="grid" d="M{left:.1f} {height:.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{written}</text>')
    for x, written in x_ticks or _ticks(x_to):
        left, _ = place(x, 0)
        drawn.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(written)}</text>')
    for number, one in enumerate(series):
        if one.lows:
            there = [place(x, y) for x, y in zip(one.xs, one.highs, strict=True)]
            back = [place(x, y) for x, y in zip(one.xs, one.lows, strict=True)][::-1]
            drawn.append(f'<polygon class="band c{number % 4}" points="{_points([*there, *back])}"/>')
        points = [place(x, y) for x, y in zip(one.xs, one.ys, strict=True)]
        drawn.append(f'<polyline class="line c{number % 4}" points="{_points(points)}"/>')
        if len(points) <= TICKS * 4:
            drawn += [f'<circle class="dot c{number % 4}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points]
    drawn.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    drawn.append(f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    legend = "".join(
        f'<span><i class="key c{number % 4}"></i>{escape(one.name)}</span>' for number, one in enumerate(series)
    )
    return _figure(title, HEIGHT, drawn, legend)


@dataclass(frozen=True, slots=True)
class Whisker:
    """A value and between what it lies."""

    name: str
    value: float
    low: float
    high: float


def whiskers(title: str, rows: Sequence[Whisker]) -> str:
    """Values above each other, each with its interval, on one scale from 0."""
    to = max([row.high for row in rows], default=0.0) or 1.0
    height = ROW * len(rows) + 30

    def place(value: float) -> float:
        return NAME_WIDTH + max(value, 0.0) / to * (WIDTH - NAME_WIDTH - 60)

    drawn = []
    for value, written in _ticks(to):
        drawn.append(f'<path class="grid" d="M{place(value):.1f} 4V{height - 24}"/>')
        drawn.append(f'<text x="{place(value):.1f}" y="{height - 8}" text-anchor="middle">{written}</text>')
    for number, row in enumerate(rows):
        at = ROW * number + 18
        emphasis = "c0" if row.name == "served" else "c1"
        drawn.append(f'<text x="{NAME_WIDTH - 8}" y="{at + 4}" text-anchor="end">{escape(row.name)}</text>')
        drawn.append(f'<path class="line {emphasis}" d="M{place(row.low):.1f} {at}H{place(row.high):.1f}"/>')
        drawn.append(f'<circle class="dot {emphasis}" cx="{place(row.value):.1f}" cy="{at}" r="4"/>')
        drawn.append(f'<text x="{place(row.high) + 6:.1f}" y="{at + 4}">{row.value:.4f}</text>')
    return _figure(title, height, drawn, "")


def _figure(title: str, height: int, drawn: Sequence[str], legend: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
        + (f'<p class="legend">{legend}</p>' if legend else "")
        + "</figure>"
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _ticks(to: float) -> list[Tick]:
    """Round values from 0 to at most `to`."""
    power = 10.0 ** len(f"{int(to)}") if to >= 1 else 1.0
    while power > to:
        power /= 10
    step = next(power * factor for factor in (0.2, 0.5, 1.0, 2.0, 5.0) if to / (power * factor) <= TICKS + 1e-9)
    return [(step * place, f"{step * place:.6g}") for place in range(int(to / step + 1e-9) + 1)]
