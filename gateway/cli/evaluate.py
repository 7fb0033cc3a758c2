"""`tandem evaluate`: the algorithms side by side on what happened after a cut, as a table and as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from recommender.errors import BadInputError

if TYPE_CHECKING:
    from gateway.tuned import Tuned
    from gateway.wiring import Stores
    from recommender.evaluation import Lead, Outcome, ServedRow, Trial
    from recommender.interactions import EventTable
    from recommender.recipe import Recipe
    from recommender.splits import Split

KS = (10, 20, 100)
NAMES = {"popularity": "popularity", "item_knn": "item-kNN", "rp3beta": "RP3beta", "als": "ALS", "served": "served"}
_LEAD_K = 20  # of the lines below the tables; the JSON has all
_METRICS = (("recall", "Recall"), ("ndcg", "NDCG"), ("map", "MAP"), ("coverage", "coverage"), ("gini", "Gini"))


@dataclass(frozen=True)
class Comparison:
    """What a comparison was made on and what came out. metrics: by algorithm, by `<metric>@<k>`.

    intervals: of the means over talents, 95 %, the same way. leads: of the served score over the best of the others.
    """

    split: Split
    trial: Trial
    recipe: Recipe
    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    leads: Sequence[Lead]


class Steps:
    """Progress of a long command on stderr: one bar per step, shown when the step begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, step: str, done: int, of: int) -> None:
        """The step is this far."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=of)
        self._progress.update(self._tasks[step], completed=done, total=of)

    def show_as(self, step: str, label: str, done: int, of: int | None) -> None:
        """The step is this far, under a label that changes; `of` is None when nobody knows."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(label, total=of)
        self._progress.update(self._tasks[step], description=label, completed=done, total=of)

    def end(self, step: str) -> None:
        """The step is done, perhaps earlier than it might have been."""
        if step in self._tasks:
            done = self._progress.tasks[self._tasks[step]].completed
            self._progress.update(self._tasks[step], total=done)


@contextmanager
def steps() -> Iterator[Steps]:
    """Bars for the length of a block."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Steps(progress)


def as_of_option(text: str | None) -> int | None:
    """The `--as-of` of a command line as epoch milliseconds."""
    from gateway.files.values import BadValueError, parse_time

    try:
        return parse_time(text)
    except BadValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from error


async def read_events(stores: Stores, as_of_ms: int | None, shown: Steps) -> tuple[EventTable, int]:
    """Every event until `as_of_ms`, and the seq of the last event that the log held.

    Raises BadInputError when there is none to learn from.
    """
    from recommender.interactions import EventTableBuilder

    builder, state = EventTableBuilder(), await stores.events.state()
    async for events in stores.events.scan(until_seq=state.last_seq):
        builder.add(events)
        shown.show("Reading events", events[-1].seq, state.last_seq)
    table = builder.build()
    if not len(table) and state.last_seq:
        raise BadInputError(
            "there is nothing to learn from: the log holds IMPRESSIONs alone, which say what was shown, not what was "
            "liked; import VIEW, SAVE or APPLY events too"
        )
    if not len(table):
        raise BadInputError("there are no events to learn from: import some with `tandem import --events FILE` first")
    if as_of_ms is not None:
        table = table.until(as_of_ms)
        if not len(table):
            raise BadInputError("no event had happened by --as-of: name a later time, or leave it out")
    return table, state.last_seq


def compare(
    table: EventTable,
    ks: Sequence[int],
    seed: int,
    shown: Steps,
    against: Sequence[ServedRow] | None = None,
    tuned: Tuned | None = None,
) -> Comparison:
    """Choose hyper-parameters on the older part of the log, and measure every algorithm on the newer.

    against: lists served today, measured beside ours as "against". tuned: found by `tandem tune`, instead of a choice.
    """
    from recommender.evaluation import build_trial, evaluate, intervals, leads, lists_served, measure
    from recommender.splits import split_events
    from recommender.training import contenders

    split = split_events(table, seed=seed)
    trial = build_trial(split, seed=seed)
    recipe = recipe_for(split.train, tuned, seed, shown)
    outcomes: dict[str, Outcome] = {}
    if trial.population:
        algorithms = contenders(split, recipe, seed=seed)
        shown.show("Comparing algorithms", 0, len(algorithms))
        for name, outcome in evaluate(algorithms, trial, ks):
            outcomes[name] = outcome
            shown.show("Comparing algorithms", len(outcomes), len(algorithms))
    found = leads(outcomes, "served", ks, seed) if outcomes else []
    if against is not None and outcomes:
        outcomes["against"] = measure(lists_served(against, split, trial, max(ks)), trial, ks)
    ends = {name: intervals(outcome, seed) for name, outcome in outcomes.items()}
    metrics = {name: outcome.metrics for name, outcome in outcomes.items()}
    return Comparison(split, trial, recipe, metrics, ends, found)


def recipe_for(past: EventTable, tuned: Tuned | None, seed: int, shown: Steps) -> Recipe:
    """What `tandem tune` found, for this part of the log, or else a choice on it."""
    from recommender.choice import choose_recipe
    from recommender.interactions import affinity
    from recommender.recipe import brought_over, default_recipe

    if tuned is not None:
        return brought_over(tuned.recipe, tuned.formula, default_recipe(affinity(past, None, None)))
    step = "Choosing hyper-parameters"
    recipe = choose_recipe(past, seed=seed, on_trial=lambda done, of: shown.show(step, done, of))
    shown.end(step)
    return recipe


def tuned_or_none(models: Path, console: Console) -> Tuned | None:
    """What `tandem tune` found; said, also when it cannot be followed."""
    from gateway.tuned import TunedRefusedError, read_tuned

    try:
        tuned = read_tuned(models)
    except TunedRefusedError as error:
        console.print(f"Ignored: {error}", highlight=False, markup=False, soft_wrap=True)
        return None
    if tuned is not None:
        console.print(
            f"Following what `tandem tune` found in {tuned.trials:,} trials ({tuned.value:.4f} against "
            f"{tuned.of_choice:.4f} on its validation split); --defaults ignores it.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return tuned


def print_comparison(comparison: Comparison, ks: Sequence[int], console: Console) -> None:
    """The table and, in a few lines, what it was measured on."""
    if not comparison.metrics:
        console.print(
            "Nothing can be measured yet: no talent with a history has a new, known job in the newest fifth of the log."
        )
        return
    for k in ks:
        drawn = RichTable(title=f"k = {k}", title_justify="left")
        drawn.add_column("algorithm")
        for _, label in _METRICS:
            drawn.add_column(f"{label}@{k}", justify="right")
        best = {name: max(measured[f"{name}@{k}"] for measured in comparison.metrics.values()) for name, _ in _METRICS}
        for algorithm, measured in comparison.metrics.items():
            cells = []
            for name, _ in _METRICS:
                value = measured[f"{name}@{k}"]
                is_best = value == best[name] and name not in ("coverage", "gini")  # more is not simply better there
                cells.append(f"[bold]{value:.4f}[/bold]" if is_best else f"{value:.4f}")
            drawn.add_row(NAMES.get(algorithm, algorithm), *cells)
        console.print(drawn)
    for lead in comparison.leads:
        if lead.metric.endswith(f"@{_LEAD_K}"):
            metric = lead.metric.replace("recall", "Recall").replace("ndcg", "NDCG")
            console.print(
                f"Served against {NAMES[lead.best]}, the best of the others in {metric}: {lead.difference:+.4f} "
                f"(95 %: {lead.low:+.4f} to {lead.high:+.4f}), {lead.verdict}.",
                highlight=False,
            )
    console.print(_measured_on(comparison), highlight=False)
    if "against" in comparison.metrics:
        console.print(
            "The lists of --against flatter themselves if what made them had seen the events that are asked about.",
            highlight=False,
        )


def _measured_on(comparison: Comparison) -> str:
    split, trial = comparison.split, comparison.trial
    how = (
        f"Learnt from {len(split.train):,} events until {_iso(split.cut_ms)}, asked about the {len(split.test):,} after"
        if split.cut_ms is not None
        else f"No times to split by: learnt from {len(split.train):,} events, asked about {len(split.test):,} drawn "
        "by chance from each talent"
    )
    sample = f", a sample of {trial.population:,}" if trial.population > len(trial.talents) else ""
    left_out = f" {trial.left_out:,} more acted on something new, but they or the jobs were unknown before."
    return (
        f"{how}: new jobs of {len(trial.talents):,} talents{sample}, among {int(trial.candidates.sum()):,} jobs."
        f"{left_out if trial.left_out else ''}"
    )


def document_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-able values."""
    split, trial, recipe = comparison.split, comparison.trial, comparison.recipe
    return {
        "split": "time" if split.cut_ms is not None else "random",
        "cut": _iso(split.cut_ms),
        "train_events": len(split.train),
        "test_events": len(split.test),
        "talents": {"asked": len(trial.talents), "could_be_asked": trial.population, "left_out": trial.left_out},
        "jobs": int(trial.candidates.sum()),
        "recipe": {
            "factors": recipe.factors,
            "strength": recipe.strength,
            "shrinkage": recipe.shrinkage,
            "half_life_days": recipe.half_life_days,
            "popularity": recipe.popularity,
            "likeness": asdict(recipe.likeness),
            "neighbours": recipe.neighbours,
            "talent_neighbours": recipe.talent_neighbours,
            "iterations": recipe.iterations,
        },
        "metrics": {name: dict(measured) for name, measured in comparison.metrics.items()},
        "intervals": {name: dict(measured) for name, measured in comparison.intervals.items()},
        "served_against_best": {lead.metric: {**asdict(lead), "verdict": lead.verdict} for lead in comparison.leads},
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def read_served(path: Path) -> tuple[list[ServedRow], str | None]:
    """The rows of a file of served lists, and what was wrong with those that are not in it, in one line.

    Columns: talent_id, job_id and rank (1 is best) or score (most is best); rank decides where both stand.
    Raises BadInputError when no row can be used.
    """
    from gateway.files.formats import open_table
    from gateway.files.table import BadRow, BrokenFileError

    rows: list[ServedRow] = []
    bad, first = 0, ""
    with closing(
        open_table(path, ("talent_id", "job_id"), frozenset({"talent_id", "job_id", "rank", "score"}))
    ) as table:
        try:
            for row in table:
                try:
                    if isinstance(row, BadRow):
                        raise ValueError(row.reason)
                    rows.append(_served_row(dict(zip(row.columns, row.values, strict=True))))
                except ValueError as error:
                    bad += 1
                    first = first or f"line {row.line}: {error}"
        except BrokenFileError as error:
            bad += 1
            first = first or f"line {error.line}: {error}"
    if not rows:
        raise BadInputError(f"{path}: no row can be used{f' ({first})' if first else ''}")
    return rows, f"{path}: {bad} rows could not be used; the first is {first}" if bad else None


def _served_row(cells: Mapping[str, Any]) -> ServedRow:
    from gateway.files.values import parse_id
    from recommender.evaluation import ServedRow

    talent_id, job_id = parse_id(cells.get("talent_id")), parse_id(cells.get("job_id"))
    if talent_id is None or job_id is None:
        raise ValueError("talent_id and job_id must not be empty")
    for column, sign in (("rank", 1.0), ("score", -1.0)):
        cell = cells.get(column)
        if cell is not None and cell != "":
            return ServedRow(talent_id, job_id, sign * _number(column, cell))
    raise ValueError("a rank or a score is needed")


def _number(column: str, cell: Any) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise ValueError(f"{column} must be a number; got {cell!r}")
    return number


async def _evaluate(
    as_of_ms: int | None, against: Path | None, ks: Sequence[int], seed: int, defaults: bool
) -> Comparison:
    from gateway.settings import load_settings
    from gateway.wiring import stores

    served, complaint = read_served(against) if against else (None, None)
    if complaint:
        Console(stderr=True).print(complaint, highlight=False, markup=False)
    async with stores(load_settings(), must_exist=True) as opened:
        with steps() as shown:
            table, _ = await read_events(opened, as_of_ms, shown)
            tuned = None if defaults else tuned_or_none(opened.models.path, Console(stderr=True))
            comparison = await asyncio.to_thread(compare, table, ks, seed, shown, served, tuned)
    if not comparison.metrics:
        raise BadInputError(
            "nothing can be measured: no talent with a history has a new, known job in the newest fifth of the log; "
            "import more events"
        )
    return comparison


def command(
    against: Annotated[
        Path | None,
        typer.Option(
            help="Lists served today, scored beside ours: talent_id, job_id, rank or score (CSV, JSONL, Parquet)."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as JSON; - prints them.")
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="Length of the measured lists; may be repeated.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Look at nothing later than this time; the newest event's by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn by chance.")] = 42,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ignore what `tandem tune` found.")] = False,
) -> None:
    """Compare popularity, item-kNN, RP3beta, ALS and the served blend on your own log, by time; publish nothing."""
    import orjson

    ks = tuple(sorted(set(k or KS)))
    comparison = asyncio.run(_evaluate(as_of_option(as_of), against, ks, seed, defaults))
    document = orjson.dumps(document_of(comparison), option=orjson.OPT_INDENT_2)
    if json_file == Path("-"):
        typer.echo(document.decode())
        return
    print_comparison(comparison, ks, Console())
    if json_file is not None:
        json_file.write_bytes(document + b"\n")
