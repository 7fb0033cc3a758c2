"""The gate of `tandem train`: a model that is surely worse than the serving one is kept and does not serve."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from recommender.errors import ModelRefusedError

if TYPE_CHECKING:
    from gateway.cli.evaluate import Steps
    from gateway.wiring import Stores
    from recommender.blend import Content
    from recommender.gate import Judgement
    from recommender.interactions import EventTable
    from recommender.model import Manifest, Model, Ordinals

GROUP = "gate"  # of a manifest's metrics: what the gate measured
_WHY = {
    "learnt": "its events or hyper-parameters teach less",
    "model": "something is wrong with it, for it has even seen the answers",
    "model_factors": "its factors are not what its events teach",
}


async def gated(
    stores: Stores,
    table: EventTable,
    model: Model,
    job_ordinals: Ordinals,
    content: Content,
    seed: int,
    shown: Steps,
    console: Console,
) -> tuple[Model, str | None]:
    """The model with what the gate measured among its metrics, and in one line why it must not serve; None: it may.

    Nothing is measured, and the model may serve, where there is no other to compare it with or nobody to ask.
    """
    from recommender.gate import judge

    serving = _serving(stores, console)
    if serving is None:
        return model, None
    found = await asyncio.to_thread(
        judge,
        table,
        serving,
        model,
        job_ordinals,
        content=content,
        seed=seed,
        on_step=lambda done, of: shown.show("Comparing with the serving model", done, of),
    )
    if found is None:
        console.print(
            f"Not compared with {serving.version}, which serves: fewer than 20 talents have two jobs that both models "
            "know.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return model, None
    refused_for = found.refused_for
    metrics = {**model.manifest.metrics, GROUP: _metrics(found)}
    model = replace(model, manifest=replace(model.manifest, metrics=metrics))
    if refused_for is None:
        console.print(_compared(found, serving), highlight=False, markup=False, soft_wrap=True)
        return model, None
    name = next(name for name, lead in found.leads.items() if lead is refused_for)
    return model, (
        f"model {model.manifest.version} is kept but does not serve: NDCG@20 {found.values[name]:.4f} against "
        f"{found.values[refused_for.best]:.4f} (95 %: {refused_for.low:+.4f} to {refused_for.high:+.4f}) of "
        f"{serving.version}, which goes on serving, over {found.asked:,} talents; {_WHY[name]}. "
        "`tandem train --force` or `tandem models promote` overrules"
    )


def was_refused(manifest: Manifest) -> bool:
    """Whether the gate kept this model from serving."""
    return manifest.metrics.get(GROUP, {}).get("refused", 0.0) == 1.0


def _serving(stores: Stores, console: Console) -> Manifest | None:
    """Of the model that a publication would replace."""
    try:
        version = stores.models.current()
        return None if version is None or stores.models.is_pinned() else stores.models.manifest(version)
    except (ModelRefusedError, KeyError) as error:
        console.print(f"Not compared with the serving model: {error}", highlight=False, markup=False, soft_wrap=True)
        return None


def _metrics(found: Judgement) -> dict[str, float]:
    lead = found.refused_for
    measured = {"asked": float(found.asked), "refused": float(lead is not None), **found.values}
    for name, of in found.leads.items():
        measured |= {f"{name}_low": of.low, f"{name}_high": of.high}
    return measured


def _compared(found: Judgement, serving: Manifest) -> str:
    lead = found.leads["learnt"]
    return (
        f"Against {serving.version}, which serves: NDCG@20 {found.values['learnt']:.4f} and "
        f"{found.values['serving']:.4f}, {lead.difference:+.4f} (95 %: {lead.low:+.4f} to {lead.high:+.4f}), "
        f"{lead.verdict}; {found.asked:,} talents, whom neither had learnt from."
    )
