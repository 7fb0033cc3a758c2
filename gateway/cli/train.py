"""`tandem train`: a model from the event log, measured against baselines and published."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.cli.compared import Comparison, document_of, print_comparison
from gateway.cli.describing import read_features
from gateway.cli.evaluate import (
    KS,
    compare,
    describe_items,
    read_events,
    recipe_for,
    steps,
    time_option,
    tuned_or_none,
)
from gateway.cli.gating import gated
from gateway.report.page import page
from recommender.errors import ModelRefusedError

if TYPE_CHECKING:
    from gateway.wiring import Stores
    from recommender.documents import Kind
    from recommender.interactions import EventTable
    from recommender.model import Model, Ordinals, Side

_ENSURE_BATCH = 10_000


async def train_and_publish(
    stores: Stores,
    *,
    trained_at_ms: int,
    nonce: str,
    as_of_ms: int | None = None,
    evaluate: bool = True,
    seed: int = 42,
    defaults: bool = False,
    gate: bool = True,
    warm_start: bool = True,
    console: Console | None = None,
) -> Model:
    """Read the log, choose hyper-parameters, compare (unless told not to), train on everything and publish.

    The same model comes out with and without `evaluate`. defaults: ignore what `tandem tune` found. trained_at_ms and
    nonce make the version. gate: keep a model from serving that is surely worse than the serving one. warm_start: go on
    from the factors of the serving model; what is measured is learnt without it.
    Raises BadInputError when there is nothing to learn from, ModelRefusedError for a model that was kept and not
    pointed to.
    """
    from recommender.compiled import one_blas_thread
    from recommender.documents import Kind
    from recommender.interactions import affinity
    from recommender.recipe import carried_over
    from recommender.splits import split_events
    from recommender.two_sides import train_both_sides

    console = console or Console()
    metrics: Mapping[str, Mapping[str, float]] = {}
    comparison = None
    begun = {kind: (await stores.catalogue.mirror(kind)).revision for kind in Kind}
    with steps() as shown, one_blas_thread():
        table, last_seq = await read_events(stores, as_of_ms, shown)
        talent_ordinals = await _ordinals(stores, Kind.TALENT, table.talent_ids)
        job_ordinals = await _ordinals(stores, Kind.JOB, table.job_ids)
        tuned = None if defaults else tuned_or_none(stores.models.path, console)
        features = await read_features(stores, shown)
        content = features.of(table)
        if evaluate:
            described = await describe_items(stores, table, shown)
            comparison = await asyncio.to_thread(compare, table, KS, seed, shown, None, tuned, described, True, content)
            past, recipe, metrics = comparison.split.train, comparison.recipe, comparison.metrics
        else:
            past = split_events(table, seed=seed).train
            recipe = await asyncio.to_thread(recipe_for, past, tuned, seed, shown, content)
        model = await asyncio.to_thread(
            train_both_sides,
            table,
            carried_over(recipe, affinity(past, None, None), affinity(table, None, None)),
            talent_ordinals=talent_ordinals,
            job_ordinals=job_ordinals,
            as_of_ms=as_of_ms if as_of_ms is not None else table.newest_ms,
            watermark=last_seq if as_of_ms is None else int(table.seq.max()),
            trained_at_ms=trained_at_ms,
            nonce=nonce,
            seed=seed,
            metrics=metrics,
            on_iteration=lambda done, of: shown.show("Training", done, of),
            described=features.items,
            earlier=await asyncio.to_thread(_earlier, stores) if warm_start else None,
        )
        refusal = None
        if gate:
            model, refusal = await gated(stores, table, model, job_ordinals, content, seed, shown, console)
    if comparison is not None:
        print_comparison(comparison, KS, console)
    if refusal is not None:
        await asyncio.to_thread(stores.models.publish, model, make_current=False)
        await asyncio.to_thread(_write_report, stores, model, table, comparison, console)
        await _forget_deleted(stores, table, begun)
        raise ModelRefusedError(refusal)
    await _publish_vectors(stores, model, console)
    await asyncio.to_thread(stores.models.publish, model)
    await asyncio.to_thread(_write_report, stores, model, table, comparison, console)
    await _forget_deleted(stores, table, begun)
    _print_model(stores, model, console)
    return model


async def _forget_deleted(stores: Stores, table: EventTable, since: Mapping[Kind, int]) -> None:
    """Take out of the models who was deleted while one of them was learnt, as an erasure did not find it yet.

    After it was published: an erasure whose tombstone is younger than this look finds it by itself.
    """
    from recommender.documents import Kind

    for kind, ids in ((Kind.TALENT, table.talent_ids), (Kind.JOB, table.job_ids)):
        deleted, revision = set[int](), since[kind]
        while True:
            changes = await stores.catalogue.changes(kind, revision)
            deleted |= set(changes.deleted)
            if changes.revision <= revision:
                break
            revision = changes.revision
        if deleted:
            for own_id, ordinal in zip(ids, (await _ordinals(stores, kind, ids)).tolist(), strict=True):
                if ordinal in deleted:
                    await asyncio.to_thread(stores.models.erase, kind, ordinal, own_id)


def _earlier(stores: Stores) -> Model | None:
    """The model that serves, where it can be read: it is a start and nothing rests on it."""
    version = stores.models.current()
    try:
        return None if version is None else stores.models.load(version)
    except (ModelRefusedError, KeyError):
        return None


def _write_report(
    stores: Stores, model: Model, table: EventTable, comparison: Comparison | None, console: Console
) -> None:
    """Put the page beside the model. Nothing rests on it: where it cannot be written, that is said."""
    from recommender.errors import UnavailableError
    from recommender.log_facts import log_facts

    manifest = model.manifest
    told = {
        "trained_at": f"{datetime.fromtimestamp(manifest.trained_at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "events": manifest.events,
        "metrics": manifest.metrics,
        "hyperparameters": asdict(manifest.hyperparameters),
    }
    document = document_of(comparison) if comparison is not None else None
    try:
        path = stores.models.write_report(
            manifest.version, page(f"Model {manifest.version}", document, told, log_facts(table))
        )
    except UnavailableError as error:
        console.print(f"No report: {error}", highlight=False, markup=False, soft_wrap=True)
        return
    console.print(f"The report is in {path}.", highlight=False, markup=False, soft_wrap=True)


async def _publish_vectors(stores: Stores, model: Model, console: Console) -> None:
    """Make the vectors before the model is pointed to. Where that fails the server makes them, and scans until then."""
    if stores.vectors is None:
        return
    from gateway.vectors import publish_vectors
    from recommender.errors import UnavailableError
    from recommender.versions import LoadedModel

    with steps() as shown:
        try:
            recalls = await publish_vectors(
                stores.vectors,
                LoadedModel(model),
                stores.settings.knn_from,
                lambda kind, done, of: shown.show(f"Indexing vectors of {kind.value}s", done, of),
            )
        except UnavailableError as error:
            console.print(f"The vectors are not there yet: {error}", highlight=False, markup=False)
            return
    for kind, recall in recalls.items():
        if recall is not None:
            console.print(f"Vectors of {kind.value}s: recall {recall:.3f}.", highlight=False, markup=False)


async def _ordinals(stores: Stores, kind: Kind, ids: Sequence[str]) -> Ordinals:
    import numpy as np

    ordinals: list[int] = []
    for start in range(0, len(ids), _ENSURE_BATCH):
        ordinals += await stores.catalogue.ensure(kind, ids[start : start + _ENSURE_BATCH])
    return np.array(ordinals, dtype=np.uint32)


def _print_model(stores: Stores, model: Model, console: Console) -> None:
    hyper = model.manifest.hyperparameters
    decay = "no decay" if hyper.half_life_days is None else f"half-life {hyper.half_life_days:g} days"
    console.print(
        f"Published {model.manifest.version}: {model.manifest.events:,} events, "
        f"{_rows(model.talents)} talents, {_rows(model.jobs)} jobs; "
        f"{hyper.factors} factors, regularization {hyper.regularization:.4g}, "
        f"alpha {hyper.alpha:.4g}, {hyper.iterations} iterations, {decay}, "
        f"popularity {hyper.popularity:.4g}; neighbours {hyper.neighbours:g} in lists of jobs, "
        f"{hyper.talent_neighbours:g} in lists of talents, by content {hyper.content:g} and {hyper.talent_content:g}"
        f"{f'; it went on from {started_from}' if (started_from := model.manifest.started_from) else ''}.",
        highlight=False,
        markup=False,
    )
    if stores.models.current() != model.manifest.version:
        console.print(f"It does not serve: {stores.models.current()} is pinned. `tandem models promote` lifts the pin.")


def _rows(side: Side) -> str:
    cold = len(side.ordinals) - side.learnt_rows
    return f"{side.learnt_rows:,} (and {cold:,} by content alone)" if cold else f"{side.learnt_rows:,}"


async def _train(as_of_ms: int | None, evaluate: bool, seed: int, defaults: bool, gate: bool, warm_start: bool) -> None:
    from gateway.settings import load_settings
    from gateway.wiring import stores

    async with stores(load_settings(), must_exist=True) as opened:
        await train_and_publish(
            opened,
            trained_at_ms=time.time_ns() // 1_000_000,
            nonce=uuid.uuid4().hex,
            as_of_ms=as_of_ms,
            evaluate=evaluate,
            seed=seed,
            defaults=defaults,
            gate=gate,
            warm_start=warm_start,
        )


def command(
    as_of: Annotated[
        str | None,
        typer.Option(help="Train as if it were this time: later events are left out, ages are measured from it."),
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Compare with baselines on the newest fifth of the log first.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial factors and everything drawn by chance.")] = 42,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Ignore what `tandem tune` found, and choose anew.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "--no-gate", help="Let it serve even if it is worse than the serving model.")
    ] = False,
    warm_start: Annotated[
        bool, typer.Option(help="Go on from the serving model's factors, in a third of the iterations, where they fit.")
    ] = True,
) -> None:
    """Learn from the event log, print how well, and publish the model that serving picks up.

    A model that is surely worse than the serving one is kept, does not serve, and the command fails.
    """
    asyncio.run(_train(time_option(as_of), evaluate, seed, defaults, not force, warm_start))
