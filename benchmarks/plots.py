"""Pictures for docs/performance.md from what `make bench` kept.

    .venv/bin/python -m benchmarks.plots [benchmarks/results/last.json] [docs/performance]

Writes an SVG for each part that is there and `figures.json`, the numbers of the tables with machine and commands, and
prints the tables as Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.tables import Table

SIZE = (8.0, 3.4)
Kept = Mapping[str, Any]
Draw = Callable[[Figure, Kept], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("benchmarks/results/last.json"))
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/performance"))
    given = parser.parse_args()
    whole = orjson.loads(given.results.read_bytes())
    parts: dict[str, Kept] = whole["parts"]
    given.out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update(
        {"svg.hashsalt": "tandem", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    draws: dict[str, Draw] = {"load": loads, "growth": growth, "retrieval": retrieval}
    for name, draw in draws.items():
        if name in parts:
            figure = Figure(figsize=SIZE, layout="constrained")
            draw(figure, {part: kept["kept"] for part, kept in parts.items()})
            figure.savefig(given.out / f"{name}.svg", metadata={"Date": None})
    summary = {name: {key: part[key] for key in ("at", "command", "seconds", "kept")} for name, part in parts.items()}
    kept = orjson.dumps({"machine": whole["machine"], "parts": summary}, option=orjson.OPT_APPEND_NEWLINE)
    (given.out / "figures.json").write_bytes(kept)
    for name, part in parts.items():
        for table in tables_of(part["kept"]):
            print(f"\n{name}: {table.title}, {part['at']}\n\n{table.markdown()}\n" + "\n".join(table.notes))


def tables_of(kept: Any) -> Iterator[Table]:
    """Those of a part that keeps tables."""
    if isinstance(kept, dict):
        yield from (Table(**table) for table in kept.get("tables", ()))


def loads(figure: Figure, parts: Kept) -> None:
    """Latency of misses by rate, a curve for each market and kind of stores."""
    axes = figure.subplots(1, 2)
    curves = (("load", "embedded", "embedded"), ("production", "embedded", "embedded, 100,000 jobs"))
    for place, label in enumerate(("p50", "p99")):
        for part, stores, name in (*curves, ("production", "production", "Elasticsearch and Redis, 100,000 jobs")):
            found = parts.get(part, {"figures": {}})["figures"].get(stores, {})
            curve = sorted((one["rate"], one[f"{label}_ms"]) for what, one in found.items() if _is_share(what))
            if curve:
                axes[place].plot(*zip(*curve, strict=True), marker="o", label=name)
        _labels(axes[place], f"misses, {label}", "requests a second", "" if place else "ms from when it was due")
        axes[place].set_yscale("log")
    axes[0].legend(frameon=False, fontsize=7)


def _is_share(what: str) -> bool:
    return what.startswith("miss") and what.endswith("%")


def growth(figure: Figure, parts: Kept) -> None:
    """Requests by jobs and by events, and training."""
    axes = figure.subplots(1, 3)
    measured = parts["growth"]["figures"]["growth"]
    for place, (fixed, free, name) in enumerate((("events", "jobs", "jobs and talents"), ("jobs", "events", "events"))):
        value = max(sorted({one[fixed] for one in measured}), key=[one[fixed] for one in measured].count)
        some = sorted((one for one in measured if one[fixed] == value), key=lambda one: one[free])
        for what in some[0]["requests"]:
            costs = [one["requests"][what]["cpu_p50_ms"] for one in some]
            axes[place].loglog([one[free] for one in some], costs, marker="o", label=what)
        _labels(axes[place], f"{value:,} {fixed}", name, "CPU ms of a request" if not place else "")
        axes[2].loglog(
            [one[free] for one in some],
            [one["training"]["cpu_s"] for one in some],
            marker="o",
            label=f"by {name}",
        )
    axes[0].legend(frameon=False, fontsize=7)
    _labels(axes[2], "training", "", "CPU s")
    axes[2].legend(frameon=False, fontsize=7, loc="lower right")


def retrieval(figure: Figure, parts: Kept) -> None:
    """The best 500 by how many match, beside the limits, for each size."""
    kept = parts["retrieval"]
    sizes = sorted({row["jobs"] for row in kept})
    axes = figure.subplots(1, len(sizes), squeeze=False)[0]
    for axis, jobs in zip(axes, sizes, strict=True):
        rows = sorted((row for row in kept if row["jobs"] == jobs), key=lambda row: row["share"])
        for way in ("ours", "NumPy", "implicit", "gather", "stream"):
            if all(way in row["cpu_ms"] for row in rows):
                axis.loglog(
                    [row["share"] * jobs for row in rows],
                    [row["cpu_ms"][way]["least"] for row in rows],
                    marker="o",
                    linestyle="--" if way in ("gather", "stream") else "-",
                    label=way,
                )
        _labels(axis, f"{jobs:,} jobs", "jobs that match", "CPU ms of a list" if axis is axes[0] else "")
    axes[0].legend(frameon=False, fontsize=7)


def _labels(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


if __name__ == "__main__":
    main()
