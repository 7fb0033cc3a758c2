"""A comparison of algorithms, drawn as tables on a terminal and told as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from recommender.comparison import Direction
    from recommender.documents import Kind
    from recommender.evaluation import Lead
    from recommender.recipe import Recipe
    from recommender.splits import Split

NAMES = {
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "rp3beta": "RP3beta",
    "als": "ALS",
    "served": "served",
    "against": "lists of today",
}
_METRICS = (
    ("recall", "Recall"),
    ("ndcg", "NDCG"),
    ("map", "MAP"),
    ("coverage", "coverage"),
    ("gini", "Gini"),
    ("novelty", "novelty"),
    ("new", "new"),
    ("diversity", "diversity"),
)
_BEST_IS_MOST = ("recall", "ndcg", "map")  # of the others more is not simply better
_SEGMENTS = {"history": "asked, by history", "popularity": "found, by popularity", "category": "found, by category"}


@dataclass(frozen=True)
class Comparison:
    """What a comparison was made on and what came out, by what the lists hold: jobs for talents, talents for jobs."""

    split: Split
    recipe: Recipe
    directions: Mapping[Kind, Direction]

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
    measured_here = [
        (name, label)
        for name, label in _METRICS
        if any(f"{name}@{k}" in measured for measured in direction.metrics.values())
    ]
    drawn = RichTable(title=f"k = {k}", title_justify="left")
    drawn.add_column("algorithm")
    for _, label in measured_here:
        drawn.add_column(label, justify="right")
    best = {name: max(measured[f"{name}@{k}"] for measured in direction.metrics.values()) for name in _BEST_IS_MOST}
    for algorithm, measured in direction.metrics.items():
        cells = []
        for name, _ in measured_here:
            value = measured.get(f"{name}@{k}")
            text = "-" if value is None else f"{value:.2f}" if name == "novelty" else f"{value:.4f}"
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
    drawn = RichTable(title=f"Recall@{direction.segment_k} by segment, 95 %", title_justify="left")
    for heading in ("segment", "", "asked"):
        drawn.add_column(heading, justify="right" if heading == "asked" else "left")
    names = [name for name in ("served", "popularity", "against") if name in direction.metrics]
    for name in names:
        drawn.add_column(NAMES[name], justify="right")
    drawn.add_column("served − popularity", justify="right")
    for row in direction.segments:
        if row.by == "length":
            continue  # of the report's curve
        cells = [f"{row.means[name][metric]:.4f} ({_range(row.intervals[name][metric])})" for name in names]
        lead = next(lead for lead in row.leads if (lead.metric, lead.best) == (metric, "popularity"))
        drawn.add_row(
            _SEGMENTS[row.by],
            Text(row.name),  # a category is anybody's text, and no markup
            f"{row.talents:,}",
            *cells,
            f"{lead.difference:+.4f} {lead.verdict}",
        )
    return drawn


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


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
    }


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
