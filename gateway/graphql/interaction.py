"""What happened with a talent or a job: the log of one subject, newest first."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from gateway.graphql.context import Context
from gateway.graphql.cursors import InteractionCursor, decode_interaction, digest_of, encode_interaction
from gateway.graphql.inputs import Window, given
from gateway.graphql.job import Job, job_from
from gateway.graphql.node import PageInfo
from gateway.graphql.scalars import DateTime
from gateway.graphql.sight import did
from gateway.graphql.talent import Talent, talent_from
from gateway.graphql.viewer import Viewer
from recommender import documents
from recommender.documents import Kind, Side
from recommender.events import Event, EventType
from recommender.ports import SubjectKey

MOST_AT_ONCE = 500  # documents that are asked for together


@strawberry.type(description="One event of the log, e.g. an `APPLY` of a talent to a job.")
class Interaction:
    """From recommender.events.Event."""

    event_id: strawberry.ID = strawberry.field(description='The id it was recorded under, e.g. `"e-901"`.')
    actor: Side = strawberry.field(description="Who did it, e.g. `TALENT`.")
    type: EventType = strawberry.field(description="What it was, e.g. `APPLY`.")
    talent: Talent = strawberry.field(description='The talent, e.g. `{ talentId: "t-4" }`.')
    job: Job = strawberry.field(description='The job, e.g. `{ jobId: "j-17" }`.')
    occurred_at: DateTime | None = strawberry.field(description='When, if known, e.g. `"2026-01-31T09:30:00Z"`.')
    recommendation_id: strawberry.ID | None = strawberry.field(
        description="The row of a served list that it is credited to, e.g. after a click."
    )


@strawberry.type(description="An event and where it stands, e.g. `edges { cursor node { type } }`.")
class InteractionEdge:
    """An edge in Relay's sense."""

    cursor: str = strawberry.field(description="Pass it as `after` to go on with older events, e.g. `after: $cursor`.")
    node: Interaction = strawberry.field(description="The event, e.g. `{ type: SAVE }`.")


@strawberry.type(description="Events of one talent or job, newest first, e.g. `interactions(types: [SAVE])`.")
class InteractionConnection:
    """One page, resolved whole before its fields are."""

    edges: list[InteractionEdge] = strawberry.field(description="The events with their cursors, e.g. for paging.")
    nodes: list[Interaction] = strawberry.field(description="The events alone, e.g. for a plain list.")
    page_info: PageInfo = strawberry.field(description="Whether and how to go on, e.g. `{ hasNextPage: true }`.")


async def interactions(
    context: Context,
    kind: Kind,
    subject_id: str,
    types: Sequence[EventType] | None,
    window: Window,
) -> InteractionConnection:
    """One page of a subject's events by seq, newest first, undo events among them.

    Events with somebody who was deleted are left out, as there is nothing to show for them.
    """
    wanted, cursor = frozenset(given(types) or ()), window.cursor
    digest = digest_of(kind, subject_id, sorted(kind.value for kind in wanted))
    seq = None if cursor is None else decode_interaction(cursor, digest, context.now_ms, window.cursor_name)
    is_seen = await context.sees(kind, subject_id)
    loaders = context.loaders
    history = loaders.impressions_by_subject if EventType.IMPRESSION in wanted else loaders.history_by_subject
    events = [
        event
        for event in (await history.get(SubjectKey(kind, subject_id)) if is_seen else ())
        if (not wanted or event.type in wanted)
        and (seq is None or (event.seq > seq if window.is_backward else event.seq < seq))
    ]
    ways = events if window.is_backward else events[::-1]
    nodes, has_more = await _first_shown(context, ways, window.size)
    if window.is_backward:
        nodes.reverse()
    edges = [
        InteractionEdge(cursor=encode_interaction(InteractionCursor(own, digest), context.now_ms), node=node)
        for own, node in nodes
    ]
    return InteractionConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(
            has_next_page=cursor is not None if window.is_backward else has_more,
            has_previous_page=has_more if window.is_backward else cursor is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


async def _first_shown(
    context: Context, events: Sequence[Event], size: int
) -> tuple[list[tuple[int, Interaction]], bool]:
    """The first `size` events whose two parties still exist, with their seq, and whether there is another."""
    shown: list[tuple[int, Interaction]] = []
    # Few are left out, but of what a viewer sees a part of.
    step = size + 1 if context.viewer.may_all else max(size + 1, MOST_AT_ONCE)
    for start in range(0, len(events), step):
        batch = events[start : start + step]
        talents = await context.loaders.talent_by_talent_id.get_many(event.talent_id for event in batch)
        jobs = await context.loaders.job_by_job_id.get_many(event.job_id for event in batch)
        for event, talent, job in zip(batch, talents, jobs, strict=True):
            if isinstance(talent, documents.Talent) and isinstance(job, documents.Job):
                if len(shown) == size:
                    return shown, True
                shown.append((event.seq, _interaction_from(context.viewer, event, talent, job)))
    return shown, False


def _interaction_from(viewer: Viewer, event: Event, talent: documents.Talent, job: documents.Job) -> Interaction:
    quoted = event.recommendation_id
    return Interaction(
        event_id=strawberry.ID(event.event_id),
        actor=event.actor,
        type=event.type,
        talent=talent_from(talent),
        job=job_from(job),
        occurred_at=None if event.occurred_at_ms is None else DateTime(event.occurred_at_ms),
        recommendation_id=strawberry.ID(quoted) if quoted is not None and did(viewer, event) else None,
    )
