"""`tandem evaluate`: the algorithms side by side on what happened after a cut, as a table and as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway.cli.compared import Comparison, document_of, print_comparison
from gateway.cli.describing import read_features
from gateway.report.page import page
from recommender.errors import BadInputError

if TYPE_CHECKING:
    from gateway.tuned import Tuned
    from gateway.wiring import Stores
    from recommender.blend import Content
    from recommender.comparison import Described
    from recommender.documents import Kind
    from recommender.evaluation import ServedRow
    from recommender.interactions import EventTable
    from recommender.recipe import Recipe

KS = (10, 20, 100)
_READ_AT_ONCE = 1_000  # documents


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


def time_option(text: str | None, option: str = "--as-of") -> int | None:
    """A time given on a command line as epoch milliseconds."""
    from gateway.files.values import BadValueError, parse_time

    try:
        return parse_time(text)
    except BadValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


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
    today: Mapping[Kind, Sequence[ServedRow]] | None = None,
    tuned: Tuned | None = None,
    described: Mapping[Kind, Described] | None = None,
    learning: bool = False,
    content: Content | None = None,
) -> Comparison:
    """Choose hyper-parameters on the older part of the log, and measure every algorithm on the newer, both ways.

    today: lists served today by what they hold, measured beside ours as "against"; those of talents have talents and
    jobs in each other's place. tuned: found by `tandem tune`, instead of a choice. described: see `describe_items`.
    learning: measure the learning curve, too, for the report. content: what the table's talents and jobs say.
    """
    from recommender.comparison import compare_one_way
    from recommender.documents import Kind
    from recommender.evaluation import build_trial, lists_served
    from recommender.learning_curve import Point, learning_curve
    from recommender.splits import split_events
    from recommender.training import contenders_both_ways
    from recommender.two_sides import both_sides

    split = split_events(table, seed=seed)
    recipe = recipe_for(split.train, tuned, seed, shown, content)
    algorithms = contenders_both_ways(split, recipe, seed=seed, content=content)
    both = both_sides(split, recipe, content=content, seed=seed)
    for kind, of_both in ({} if both is None else both.contenders()).items():
        algorithms[kind] |= of_both
    directions = {}
    for kind, parts in ((Kind.JOB, split), (Kind.TALENT, split.transposed())):
        trial = build_trial(parts, seed=seed)
        rows = (today or {}).get(kind)
        step = f"Comparing lists of {kind.value}s"
        directions[kind] = compare_one_way(
            algorithms[kind],
            trial,
            ks,
            seed=seed,
            described=(described or {}).get(kind),
            today=None if rows is None else lists_served(rows, parts, trial, max(ks)),
            on_algorithm=lambda done, of, step=step: shown.show(step, done, of),  # type: ignore[misc]
        )
    points: list[Point] = []
    of_jobs = directions[Kind.JOB]
    if learning and of_jobs.metrics:
        points += learning_curve(
            split,
            recipe,
            of_jobs.trial,
            of_jobs.segment_k,
            seed,
            lambda done, of: shown.show("Learning from less", done, of),
            content,
        )
    curves = {} if both is None else both.reliability(split, seed)
    bins = {f"{actor.value.lower()}s": [asdict(one) for one in of] for actor, of in curves.items()}
    return Comparison(split, recipe, directions, points, bins)


async def describe_items(stores: Stores, table: EventTable, shown: Steps) -> dict[Kind, Described]:
    """Categories and skills of the table's talents and jobs, as the catalogue has them now."""
    from recommender.comparison import describe
    from recommender.documents import Document, Kind

    described = {}
    for kind, ids in ((Kind.JOB, table.job_ids), (Kind.TALENT, table.talent_ids)):
        documents: list[Document | None] = []
        for start in range(0, len(ids), _READ_AT_ONCE):
            documents += await stores.catalogue.get_many(kind, ids=ids[start : start + _READ_AT_ONCE])
            shown.show(f"Reading {kind.value}s", len(documents), len(ids))
        described[kind] = await asyncio.to_thread(describe, documents)
    return described


def recipe_for(
    past: EventTable, tuned: Tuned | None, seed: int, shown: Steps, content: Content | None = None
) -> Recipe:
    """What `tandem tune` found, for this part of the log, or else a choice on it."""
    from recommender.choice import choose_recipe
    from recommender.interactions import affinity
    from recommender.recipe import brought_over, default_recipe

    if tuned is not None:
        return brought_over(tuned.recipe, tuned.formula, default_recipe(affinity(past, None, None)))
    step = "Choosing hyper-parameters"
    recipe = choose_recipe(past, seed=seed, on_trial=lambda done, of: shown.show(step, done, of), content=content)
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
    as_of_ms: int | None,
    today: Mapping[Kind, Path | None],
    ks: Sequence[int],
    seed: int,
    defaults: bool,
    learning: bool,
) -> tuple[Comparison, dict[str, Any]]:
    """The comparison, and what the log is like."""
    from gateway.settings import load_settings
    from gateway.wiring import stores
    from recommender.compiled import one_blas_thread
    from recommender.documents import Kind
    from recommender.log_facts import log_facts

    served = {}
    for kind, path in today.items():
        if path is not None:
            rows, complaint = read_served(path)
            served[kind] = rows if kind is Kind.JOB else [transposed(row) for row in rows]
            if complaint:
                Console(stderr=True).print(complaint, highlight=False, markup=False)
    async with stores(load_settings(), must_exist=True) as opened:
        with steps() as shown, one_blas_thread():
            table, _ = await read_events(opened, as_of_ms, shown)
            described = await describe_items(opened, table, shown)
            tuned = None if defaults else tuned_or_none(opened.models.path, Console(stderr=True))
            content = (await read_features(opened, shown)).of(table)
            comparison = await asyncio.to_thread(
                compare, table, ks, seed, shown, served, tuned, described, learning, content
            )
    if not comparison.metrics:
        raise BadInputError(
            "nothing can be measured: no talent with a history has a new, known job in the newest fifth of the log; "
            "import more events"
        )
    return comparison, log_facts(table)


def transposed(row: ServedRow) -> ServedRow:
    """A row of a list of talents, as a transposed split speaks of it."""
    from recommender.evaluation import ServedRow

    return ServedRow(row.job_id, row.talent_id, row.order)


def command(
    against: Annotated[
        Path | None,
        typer.Option(
            help="Lists of jobs served today, scored beside ours: talent_id, job_id, rank or score (any format)."
        ),
    ] = None,
    against_for_jobs: Annotated[
        Path | None, typer.Option(help="The same of lists of talents, served today to the owners of jobs.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as JSON; - prints them.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file, and measure a learning curve.")
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
    """Compare the served blend with popularity, item-kNN, RP3beta, content and ALS on your log; publish nothing."""
    import orjson

    from recommender.documents import Kind

    ks = tuple(sorted(set(k or KS)))
    today = {Kind.JOB: against, Kind.TALENT: against_for_jobs}
    comparison, log = asyncio.run(
        _evaluate(time_option(as_of), today, ks, seed, defaults, learning=html_file is not None)
    )
    told = document_of(comparison)
    document = orjson.dumps(told, option=orjson.OPT_INDENT_2)
    if html_file is not None:
        html_file.write_text(page("Evaluation", told, log=log), encoding="utf-8")
        typer.echo(f"The report is in {html_file}.", err=True)
    if json_file == Path("-"):
        typer.echo(document.decode())
        return
    print_comparison(comparison, ks, Console())
    if json_file is not None:
        json_file.write_bytes(document + b"\n")
