"""The report as one HTML page: everything is in it, nothing is fetched, nothing runs.

It is drawn from the JSON of `tandem evaluate` and of a manifest, so its figures are theirs. Ids of talents and jobs are
not in it; categories are, and are escaped like every other text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from gateway.report.plots import Series, Whisker, lines, whiskers

NAMES = {
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "rp3beta": "RP3beta",
    "content": "content",
    "als": "ALS",
    "own_side": "own side",
    "served": "served",
    "against": "today's",
}
METRICS = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "map": "MAP",
    "coverage": "coverage",
    "gini": "Gini",
    "novelty": "novelty, bits",
    "new": "new",
    "diversity": "diversity",
}
SEGMENTS = {
    "history": "who asks, by history",
    "popularity": "what is found, by popularity",
    "category": "what is found, by category",
}
DIRECTIONS = (("", "Jobs for talents", "talents", "jobs"), ("talents_for_jobs", "Talents for jobs", "jobs", "talents"))
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --faint: #60646c; --line: #d9dce1; --page: #fff;
  --c0: #0b68cb; --c1: #6b7280; --c2: #b45309; --c3: #15803d; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --faint: #a5a9b0; --line: #3a3f45; --page: #111315;
  --c0: #6cb2ff; --c1: #9aa1ab; --c2: #f0a04b; --c3: #5fce85; } }
body { margin: 0 auto; max-width: 1000px; padding: 24px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; } h2 { font-size: 20px; margin-top: 40px; } h3 { font-size: 16px; margin-top: 28px; }
p.faint, figcaption, caption, th { color: var(--faint); } figcaption, caption { text-align: left; padding: 4px 0; }
figure { margin: 0; max-width: 520px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); gap: 24px; }
svg { width: 100%; height: auto; } svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); fill: none; } .line { fill: none; stroke-width: 2; } .band { opacity: .15; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); stroke-dasharray: 6 3; }
.line.c2 { stroke: var(--c2); stroke-dasharray: 2 3; } .line.c3 { stroke: var(--c3); }
.band.c0, .dot.c0 { fill: var(--c0); } .band.c1, .dot.c1 { fill: var(--c1); }
.band.c2, .dot.c2 { fill: var(--c2); } .band.c3, .dot.c3 { fill: var(--c3); }
.legend { margin: 0; } .legend span { margin-right: 16px; }
.key { display: inline-block; width: 14px; height: 4px; margin-right: 6px; vertical-align: middle; }
.key.c0 { background: var(--c0); } .key.c1 { background: var(--c1); }
.key.c2 { background: var(--c2); } .key.c3 { background: var(--c3); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); text-align: right; font-weight: normal; }
th:first-child, td:first-child, td.text { text-align: left; } tr.ours td, tr.ours th { font-weight: 600; }
td small { color: var(--faint); white-space: nowrap; }
"""

Document = Mapping[str, Any]


def page(title: str, comparison: Document | None, model: Document | None = None, log: Document | None = None) -> str:
    """The report. comparison: as `tandem evaluate --json` prints it, with `learning_curve` and `calibration` where they
    were measured; model: of a manifest; log: see `log_facts`."""
    parts = [f"<h1>{escape(title)}</h1>"]
    if model is not None:
        parts.append(_model(model))
    if comparison is None or not comparison["metrics"]:
        parts.append("<p>Nothing was measured: too little happened after the cut, or --no-evaluate was given.</p>")
    else:
        parts.append(f'<p class="faint">{escape(_measured_on(comparison))}</p>')
        for key, heading, asked, found in DIRECTIONS:
            direction = comparison[key] if key else comparison
            if direction["metrics"]:
                parts.append(_direction(direction, heading, asked, found))
        parts.append(_curves(comparison))
        parts.append(_facts("Hyper-parameters that were chosen", comparison["recipe"]))
    if model is not None:
        parts.append(_facts("Hyper-parameters of the model", model["hyperparameters"]))
    if log is not None:
        parts.append(_facts("The log", log))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _model(model: Document) -> str:
    text = f"Trained {model['trained_at']} on {model['events']:,} events"
    parts = [f"<p>{escape(text)}.</p>"]
    gate = model["metrics"].get("gate")
    if gate:
        verdict = "It was kept from serving" if gate["refused"] else "It was let through"
        parts.append(
            f"<p>{verdict}: NDCG@20 {gate['learnt']:.4f} against {gate['serving']:.4f} of the model that served "
            f"(95 %: {gate['learnt_low']:+.4f} to {gate['learnt_high']:+.4f}), both learnt again without the "
            f"{gate['asked']:,.0f} talents who were asked; the model itself, which had seen the answers, reached "
            f"{gate['model']:.4f}.</p>"
        )
    return "".join(parts)


def _measured_on(document: Document) -> str:
    if document["split"] == "time":
        return (
            f"Learnt from {document['train_events']:,} events until {document['cut']}, asked about the "
            f"{document['test_events']:,} after it."
        )
    return (
        f"No times to split by: learnt from {document['train_events']:,} events, asked about "
        f"{document['test_events']:,} drawn by chance from each talent."
    )


def _direction(direction: Document, heading: str, asked: str, found: str) -> str:
    k = direction["exposure"]["k"]
    of = direction[asked]
    parts = [
        f"<h2>{heading}</h2>",
        f'<p class="faint">{of["asked"]:,} {asked} asked of {of["could_be_asked"]:,}, among {direction[found]:,} '
        f"{found}. Intervals are of 95 %, over the {asked} asked.</p>",
        '<div class="plots">',
        *(_side_by_side(direction, f"{name}@{k}") for name in ("recall", "ndcg")),
        _by_length(direction, k, asked, found),
        _lorenz(direction, found),
        "</div>",
        _leads(direction),
    ]
    lengths = sorted({int(name.partition("@")[2]) for name in direction["metrics"]["served"]})
    parts += [_algorithms(direction, length) for length in lengths]
    parts.append(_segments(direction, k))
    return "".join(parts)


def _side_by_side(direction: Document, metric: str) -> str:
    intervals = direction["intervals"]
    rows = [
        Whisker(NAMES.get(name, name), measured[metric], *intervals[name][metric])
        for name, measured in direction["metrics"].items()
    ]
    return whiskers(_title(metric), rows)


def _by_length(direction: Document, k: int, asked: str, found: str) -> str:
    rows = [row for row in direction["segments"] if row["by"] == "length"]
    series = [
        Series(
            NAMES[name],
            list(range(len(rows))),
            [row["metrics"][name][f"recall@{k}"] for row in rows],
            [row["intervals"][name][f"recall@{k}"][0] for row in rows],
            [row["intervals"][name][f"recall@{k}"][1] for row in rows],
        )
        for name in _told_apart(direction)
    ]
    ticks = [(float(place), row["name"]) for place, row in enumerate(rows)]
    return lines(f"Recall@{k} by history", f"{found} that {asked} had acted on", f"Recall@{k}", series, ticks)


def _lorenz(direction: Document, found: str) -> str:
    curves = direction["exposure"]["share_held_by_least_shown"]
    series = [
        Series(NAMES[name], [place / (len(curve) - 1) for place in range(len(curve))], curve)
        for name, curve in curves.items()
    ]
    series.append(Series("all alike", [0.0, 1.0], [0.0, 1.0]))
    k = direction["exposure"]["k"]
    return lines(f"Exposure in the first {k}", f"share of the {found}, least shown first", "share of places", series)


def _told_apart(direction: Document) -> list[str]:
    return [name for name in ("served", "popularity", "against") if name in direction["metrics"]]


def _leads(direction: Document) -> str:
    sentences = [
        f"Served against {escape(NAMES[lead['best']])} in {_title(lead['metric'])}: {lead['difference']:+.4f} "
        f"({lead['low']:+.4f} to {lead['high']:+.4f}), {lead['verdict']}."
        for leads in (direction["served_against_best"], direction["served_against_today"])
        for lead in leads.values()
    ]
    return f"<p>{'<br>'.join(sentences)}</p>"


def _algorithms(direction: Document, k: int) -> str:
    metrics, intervals = direction["metrics"], direction["intervals"]
    shown = [name for name in METRICS if any(f"{name}@{k}" in measured for measured in metrics.values())]
    rows = []
    for algorithm, measured in metrics.items():
        cells = []
        for name in shown:
            value, interval = measured.get(f"{name}@{k}"), intervals[algorithm].get(f"{name}@{k}")
            cells.append(_cell(value, interval, 2 if name == "novelty" else 4))
        ours = ' class="ours"' if algorithm == "served" else ""
        rows.append(f"<tr{ours}><th scope='row'>{escape(NAMES.get(algorithm, algorithm))}</th>{''.join(cells)}</tr>")
    return _table(f"Lists of {k}", ["", *(METRICS[name] for name in shown)], rows)


def _segments(direction: Document, k: int) -> str:
    names = _told_apart(direction)
    rows = []
    for row in direction["segments"]:
        if row["by"] == "length":
            continue
        cells = [
            _cell(row["metrics"][name][f"{metric}@{k}"], row["intervals"][name][f"{metric}@{k}"])
            for metric in ("recall", "ndcg")
            for name in names
        ]
        (lead,) = (
            lead for lead in row["served_against"] if (lead["metric"], lead["best"]) == (f"recall@{k}", "popularity")
        )
        rows.append(
            f'<tr><th scope="row">{escape(SEGMENTS[row["by"]])}</th><td class="text">{escape(row["name"])}</td>'
            f"<td>{row['asked']:,}</td>{''.join(cells)}<td>{lead['verdict']}</td></tr>"
        )
    headings = ["", "segment", "asked"]
    headings += [f"{METRICS[metric]}@{k}, {NAMES[name]}" for metric in ("recall", "ndcg") for name in names]
    return _table("Segments", [*headings, f"Recall@{k}, served and popularity"], rows)


def _curves(document: Document) -> str:
    parts = []
    points = document.get("learning_curve")
    if points:
        series = []
        for metric in dict.fromkeys(point["metric"] for point in points):
            of = [point for point in points if point["metric"] == metric]
            xs, ys, lows, highs = ([point[part] for point in of] for part in ("events", "value", "low", "high"))
            series.append(Series(_title(metric), xs, ys, lows, highs))
        parts.append(lines("Learning curve of the served score", "events learnt from", "jobs for talents", series))
    for side, bins in document.get("calibration", {}).items():
        to = max(max(one["predicted"], one["observed"]) for one in bins)  # such pairs are rare: far from 1
        series = [
            Series("observed", [one["predicted"] for one in bins], [one["observed"] for one in bins]),
            Series("perfectly calibrated", [0.0, to], [0.0, to]),
        ]
        parts.append(lines(f"Calibration, {side}", "predicted probability", "observed share", series))
    if not parts:
        return ""
    return f'<h2>Learning and calibration</h2><div class="plots">{"".join(parts)}</div>'


def _facts(heading: str, facts: Document) -> str:
    rows = [f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in _told(facts)]
    return f"<h2>{escape(heading)}</h2>" + _table("", [], rows)


def _told(facts: Document, within: str = "") -> Iterable[tuple[str, str]]:
    """Names and values as text, nested ones by the names above them."""
    for name, value in facts.items():
        label = f"{within}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _told(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            yield label, ", ".join(_number(one) for one in value)
        else:
            yield label, _number(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _title(metric: str) -> str:
    name, _, k = metric.partition("@")
    return f"{METRICS[name]}@{k}"


def _cell(value: float | None, interval: Sequence[float] | None = None, places: int = 4) -> str:
    if value is None:
        return "<td>–</td>"
    ends = f" <small>{interval[0]:.3f}–{interval[1]:.3f}</small>" if interval else ""
    return f"<td>{value:.{places}f}{ends}</td>"


def _table(caption: str, headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return (
        f'<div class="scroll"><table>{f"<caption>{escape(caption)}</caption>" if caption else ""}'
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{''.join(rows)}</tbody></table></div>"
    )
