"""A comparison of algorithms, drawn as tables on a terminal and told as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from gateway.report.page import METRICS, NAMES

if TYPE_CHECKING:
    from recommender.comparison import Direction
    from recommender.documents import Kind
    from recommender.evaluation import Lead
    from recommender.learning_curve import Point
    from recommender.recipe import Recipe
    from recommender.splits import Split

_HEADINGS = {"novelty": "novelty", "diversity": "diverse"}  # shorter than the page's: a terminal is narrow
_BY = {"history": "asked: ", "popularity": "found: ", "category": "found: "}
_BEST_IS_MOST = ("recall", "ndcg", "map")  # of the others more is not simply better


@dataclass(frozen=True)
class Comparison:
    """What a comparison was made on and what came out, by what the lists hold: jobs for talents, talents for jobs.

    learning: of the served score of jobs, where it was measured. calibration: bins of a reliability curve by whose
    interest it is, each with "predicted", "observed" and "pairs".
    """

    split: Split
    recipe: Recipe
    directions: Mapping[Kind, Direction]
    learning: Sequence[Point] = ()
    calibration: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)

    @property
    def jobs(self) -> Direction:
        """Of lists of jobs."""
        from recommender.documents import Kind

        return self.directions[Kind.JOB]

    @property
    def metrics(self) -> dict[str, Mapping[str, float]]:
        """By algorithm, as a manifest keeps them; "<algorithm>:talents" of lists of talents."""
        return {
            f"{name}{'' if direction is self.jobs else ':talents'}": measured
            for direction in self.directions.values()
            for name, measured in direction.metrics.items()
        }


def print_comparison(comparison: Comparison, ks: Sequence[int], console: Console) -> None:
    """The tables of both directions and, in a few lines, what they were measured on."""
    from recommender.documents import Kind

    if not comparison.metrics:
        console.print(
            "Nothing can be measured yet: no talent with a history has a new, known job in the newest fifth of the log."
        )
        return
    for kind, heading in ((Kind.JOB, "Jobs for talents"), (Kind.TALENT, "Talents for jobs")):
        direction = comparison.directions[kind]
        if not direction.metrics:
            continue
        console.print(f"{heading}:", highlight=False)
        for k in ks:
            console.print(_drawn(direction, k))
        _print_leads(direction, console)
        console.print(_drawn_segments(direction))
        console.print(_measured_on(comparison.split, direction, kind), highlight=False)
    if any("against" in direction.metrics for direction in comparison.directions.values()):
        console.print(
            "Lists of today flatter themselves if what made them had seen the events that are asked about.",
            highlight=False,
        )


def _drawn(direction: Direction, k: int) -> RichTable:
    shown = [name for name in METRICS if any(f"{name}@{k}" in measured for measured in direction.metrics.values())]
    drawn = RichTable(title=f"k = {k}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("algorithm")
    for name in shown:
        drawn.add_column(_HEADINGS.get(name, METRICS[name]), justify="right")
    best = {name: max(measured[f"{name}@{k}"] for measured in direction.metrics.values()) for name in _BEST_IS_MOST}
    for algorithm, measured in direction.metrics.items():
        cells = []
        for name in shown:
            value = measured.get(f"{name}@{k}")
            text = "-" if value is None else f"{value:.4f}" if name in best else f"{value:.3f}"
            cells.append(f"[bold]{text}[/bold]" if value == best.get(name) else text)
        drawn.add_row(NAMES.get(algorithm, algorithm), *cells)
    return drawn


def _print_leads(direction: Direction, console: Console) -> None:
    for lead in (*direction.leads, *direction.leads_today):
        if lead.metric.endswith(f"@{direction.segment_k}"):
            metric = lead.metric.replace("recall", "Recall").replace("ndcg", "NDCG")
            of = ", the best of the others" if lead in direction.leads else ""
            console.print(
                f"Served against {NAMES[lead.best]}{of} in {metric}: {lead.difference:+.4f} "
                f"(95 %: {lead.low:+.4f} to {lead.high:+.4f}), {lead.verdict}.",
                highlight=False,
            )


def _drawn_segments(direction: Direction) -> RichTable:
    metric = f"recall@{direction.segment_k}"
    drawn = RichTable(
        title=f"Recall@{direction.segment_k} by segment, 95 %",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    names = [name for name in ("served", "popularity", "against") if name in direction.metrics]
    drawn.add_column("segment")
    for heading in ("asked", *(NAMES[name] for name in names), "difference"):
        drawn.add_column(heading, justify="right")
    for row in direction.segments:
        if row.by == "length":
            continue  # of the report's curve
        cells = [f"{row.means[name][metric]:.3f} ({_range(row.intervals[name][metric])})" for name in names]
        lead = next(lead for lead in row.leads if (lead.metric, lead.best) == (metric, "popularity"))
        # A category is anybody's text, and no markup.
        segment = Text(f"{_BY[row.by]}{row.name}")
        drawn.add_row(segment, f"{row.talents:,}", *cells, f"{lead.difference:+.3f} {lead.verdict}")
    return drawn


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f}–{interval[1]:.2f}"


def _measured_on(split: Split, direction: Direction, kind: Kind) -> str:
    from recommender.documents import Kind

    trial = direction.trial
    asked, found = ("talents", "jobs") if kind is Kind.JOB else ("jobs", "talents")
    how = (
        f"Learnt from {len(split.train):,} events until {_iso(split.cut_ms)}, asked about the {len(split.test):,} after"
        if split.cut_ms is not None
        else f"No times to split by: learnt from {len(split.train):,} events, asked about {len(split.test):,} drawn "
        "by chance from each talent"
    )
    sample = f", a sample of {trial.population:,}" if trial.population > len(trial.talents) else ""
    left_out = f" {trial.left_out:,} more acted on something new, but they or the {found} were unknown before."
    return (
        f"{how}: new {found} of {len(trial.talents):,} {asked}{sample}, among {int(trial.candidates.sum()):,} {found}."
        f"{left_out if trial.left_out else ''}"
    )


def document_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-able values: lists of jobs at the top, lists of talents below `talents_for_jobs`."""
    from recommender.documents import Kind

    split, recipe = comparison.split, comparison.recipe
    return {
        "split": "time" if split.cut_ms is not None else "random",
        "cut": _iso(split.cut_ms),
        "train_events": len(split.train),
        "test_events": len(split.test),
        "recipe": asdict(recipe),
        **_document_of(comparison.jobs, "talents", "jobs"),
        "talents_for_jobs": _document_of(comparison.directions[Kind.TALENT], "jobs", "talents"),
        "learning_curve": [*map(asdict, comparison.learning), *(_whole(comparison) if comparison.learning else [])],
        "calibration": {side: list(bins) for side, bins in comparison.calibration.items()},
    }


def _whole(comparison: Comparison) -> list[dict[str, Any]]:
    """The last points of the learning curve: what everything before the cut teaches."""
    served, intervals = comparison.jobs.metrics["served"], comparison.jobs.intervals["served"]
    return [
        {
            "share": 1.0,
            "events": len(comparison.split.train),
            "metric": metric,
            "value": served[metric],
            "low": intervals[metric][0],
            "high": intervals[metric][1],
        }
        for metric in dict.fromkeys(point.metric for point in comparison.learning)
    ]


def _document_of(direction: Direction, asked: str, found: str) -> dict[str, Any]:
    trial = direction.trial
    return {
        asked: {"asked": len(trial.talents), "could_be_asked": trial.population, "left_out": trial.left_out},
        found: int(trial.candidates.sum()),
        "metrics": {name: dict(measured) for name, measured in direction.metrics.items()},
        "intervals": {name: dict(measured) for name, measured in direction.intervals.items()},
        "served_against_best": {lead.metric: _document_of_lead(lead) for lead in direction.leads},
        "served_against_today": {lead.metric: _document_of_lead(lead) for lead in direction.leads_today},
        "segments": [
            {
                "by": row.by,
                "name": row.name,
                "asked": row.talents,
                "pairs": row.pairs,
                "metrics": row.means,
                "intervals": row.intervals,
                "served_against": [_document_of_lead(lead) for lead in row.leads],
            }
            for row in direction.segments
        ],
        "exposure": {"k": direction.segment_k, "share_held_by_least_shown": direction.exposure},
    }


def _document_of_lead(lead: Lead) -> dict[str, Any]:
    return {**asdict(lead), "verdict": lead.verdict}


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
