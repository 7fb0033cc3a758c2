"""recordEvents: what arrives, what is checked, what is answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import strawberry
from strawberry import UNSET

from gateway import instruments
from gateway.graphql.context import Context
from gateway.graphql.cursors import ConsistencyToken, encode_token
from gateway.graphql.enums import UserErrorCode
from gateway.graphql.ids import own_id
from gateway.graphql.inputs import given
from gateway.graphql.job import Job, job_from
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.scalars import DateTime, serialize_datetime
from gateway.graphql.talent import Talent, talent_from
from gateway.graphql.user_error import Faults, UserError
from recommender import documents
from recommender.degradation import degraded
from recommender.documents import MAX_ID_BYTES, Kind, Side
from recommender.errors import BadInputError, UnavailableError
from recommender.events import RULES, Event, EventType
from recommender.ports import Appended, SubjectKey

MAX_EVENTS = 500
MAX_AHEAD_MS = 5 * 60_000  # a phone's clock may be wrong by this much


@strawberry.input(description='One thing that happened, e.g. `{ eventId: "e-901", actor: TALENT, type: APPLY, … }`.')
class EventInput:
    """Becomes recommender.events.Event."""

    event_id: strawberry.ID = strawberry.field(
        description='Yours, unique; sending it again changes nothing, e.g. `"0b6f…"`.'
    )
    actor: Side = strawberry.field(description="Who did it; must be the side that the type belongs to, e.g. `TALENT`.")
    type: EventType = strawberry.field(description="What it was, e.g. `APPLY`.")
    talent_id: strawberry.ID = strawberry.field(description='The talent\'s own id, e.g. `"t-4"`.')
    job_id: strawberry.ID = strawberry.field(description='The job\'s own id, e.g. `"j-17"`.')
    occurred_at: DateTime | None = strawberry.field(
        default=UNSET, description='When; absent is now, e.g. `"2026-01-31T09:30:00Z"`.'
    )
    value: float | None = strawberry.field(
        default=UNSET, description="Multiplies the weight of its type; above 0, e.g. `2.5`."
    )
    recommendation_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="The row of a served list that led to it, e.g. an edge's `recommendationId`."
    )


@strawberry.input(description="Events to record, 1 to 500, e.g. `{ events: [{ … }] }`.")
class RecordEventsInput:
    """The argument of recordEvents."""

    events: list[EventInput] = strawberry.field(description="In the order in which they happened, e.g. a view, a save.")


@strawberry.type(description="What became of the events, e.g. `{ acceptedCount: 2, userErrors: [] }`.")
class RecordEventsPayload:
    """An index that no error names is durable."""

    accepted_count: int = strawberry.field(description="Newly written, e.g. `2`.")
    duplicate_count: int = strawberry.field(description="Known already with the same content, e.g. `1` after a retry.")
    user_errors: list[UserError] = strawberry.field(description="Events that were not written and why, e.g. `[]`.")
    token: str | None = strawberry.field(
        description="Send it as header Tandem-Consistency-Token to see these events in another query, e.g. of the job."
    )
    talents: list[Talent] | None = strawberry.field(
        description="The talents of the events, e.g. to ask for their new `recommendedJobs` at once.",
        directives=NULL_ONLY_ON_ERROR,
    )
    jobs: list[Job] | None = strawberry.field(
        description="The jobs of the events, e.g. to ask for their new `recommendedTalents` at once.",
        directives=NULL_ONLY_ON_ERROR,
    )


@dataclass(frozen=True, slots=True)
class _Checked:
    """An event that may be written, with its place in the input and whether its time is ours."""

    index: int
    event: Event
    time_is_now: bool


async def record_events(context: Context, given_events: Sequence[EventInput]) -> RecordEventsPayload:
    """Write what is right, say what is wrong. Raises BadInputError, UnavailableError (then nothing was written)."""
    if not 1 <= len(given_events) <= MAX_EVENTS:
        raise BadInputError(f"events: between 1 and {MAX_EVENTS} events; got {len(given_events)}")
    faults = Faults("events")
    wellformed = [
        checked
        for index, one in enumerate(given_events)
        if (checked := _check(index, one, context, faults)) is not None
    ]
    talents = await context.loaders.talent_by_talent_id.get_many(checked.event.talent_id for checked in wellformed)
    jobs = await context.loaders.job_by_job_id.get_many(checked.event.job_id for checked in wellformed)
    known, touched_talents, touched_jobs = [], {}, {}
    for checked, talent, job in zip(wellformed, talents, jobs, strict=True):
        if not isinstance(talent, documents.Talent):
            faults.add(checked.index, "talentId", UserErrorCode.UNKNOWN_ID, "there is no such talent")
        elif not isinstance(job, documents.Job):
            faults.add(checked.index, "jobId", UserErrorCode.UNKNOWN_ID, "there is no such job")
        else:
            known.append(checked)
            touched_talents[talent.ordinal], touched_jobs[job.ordinal] = talent, job
    if len(known) < len(wellformed) and degraded():
        raise UnavailableError("catalogue", "it cannot be told whether a talent or a job is new")
    outcomes = await context.services.events.append([checked.event for checked in known]) if known else []
    context.forget_loaded()
    outcomes = await _forgive_our_own_clock(context, known, outcomes)
    for checked, outcome in zip(known, outcomes, strict=True):
        if outcome is Appended.CONFLICT:
            faults.add(checked.index, "eventId", UserErrorCode.CONFLICT, "this eventId was recorded with other content")
    for outcome in Appended:
        instruments.EVENTS.labels(outcome.value).inc(outcomes.count(outcome))
    state = await context.services.events.state()
    return RecordEventsPayload(
        accepted_count=outcomes.count(Appended.ACCEPTED),
        duplicate_count=outcomes.count(Appended.DUPLICATE),
        user_errors=sorted(faults.errors, key=lambda error: error.index or 0),
        token=encode_token(ConsistencyToken(events=state.last_seq)),
        talents=[talent_from(talent) for talent in touched_talents.values()],
        jobs=[job_from(job) for job in touched_jobs.values()],
    )


def _check(index: int, one: EventInput, context: Context, faults: Faults) -> _Checked | None:
    """The event, or None after noting every fault that can be seen without looking anything up."""
    before, now_ms, viewer = len(faults.errors), context.now_ms, context.viewer
    recommendation_id = given(one.recommendation_id)
    for field, text in (("eventId", one.event_id), ("talentId", one.talent_id), ("jobId", one.job_id)):
        try:
            own_id(text, field)
        except BadInputError as error:
            faults.add_error(index, field, error)
    if recommendation_id is not None and not 1 <= len(recommendation_id.encode()) <= MAX_ID_BYTES:
        faults.add(index, "recommendationId", UserErrorCode.INVALID, f"has 1 to {MAX_ID_BYTES} bytes")
    side = Side.TALENT if viewer.talent_id is not None else Side.CLIENT
    if not viewer.may_all and one.actor is not side:
        message = f"{viewer.named} records what the {side.value.lower()} does"
        faults.add(index, "actor", UserErrorCode.FORBIDDEN, message)
    rule = RULES[one.type]
    if rule.actor not in (None, one.actor):
        faults.add(
            index, "actor", UserErrorCode.INVALID, f"{one.type.value} is done by {rule.actor and rule.actor.value}"
        )
    value, occurred_at = given(one.value), given(one.occurred_at)
    if value is not None and not (math.isfinite(value) and value > 0):
        faults.add(index, "value", UserErrorCode.INVALID, f"must be above 0; got {value}")
    if occurred_at is not None and occurred_at > now_ms + MAX_AHEAD_MS:
        message = f"must not lie in the future; it is {serialize_datetime(now_ms)} now"
        faults.add(index, "occurredAt", UserErrorCode.INVALID, message)
    if len(faults.errors) > before:
        return None
    event = Event(
        event_id=one.event_id,
        actor=one.actor,
        type=one.type,
        talent_id=one.talent_id,
        job_id=one.job_id,
        occurred_at_ms=now_ms if occurred_at is None else occurred_at,
        value=value,
        recommendation_id=recommendation_id,
    )
    return _Checked(index, event, time_is_now=occurred_at is None)


async def _forgive_our_own_clock(
    context: Context, known: Sequence[_Checked], outcomes: Sequence[Appended]
) -> list[Appended]:
    """An event sent again without a time differs from the first by our clock alone: that is no conflict."""
    suspects = [
        place
        for place, (checked, outcome) in enumerate(zip(known, outcomes, strict=True))
        if outcome is Appended.CONFLICT and checked.time_is_now
    ]
    if not suspects:
        return list(outcomes)
    subjects = [SubjectKey(Kind.TALENT, known[place].event.talent_id) for place in suspects]
    histories = await context.services.events.history(subjects, impressions=True)
    settled = list(outcomes)
    for place, history in zip(suspects, histories, strict=True):
        sent = known[place].event
        kept = next((event for event in history if event.event_id == sent.event_id), None)
        if kept is not None and replace(kept, occurred_at_ms=sent.occurred_at_ms, seq=sent.seq) == sent:
            settled[place] = Appended.DUPLICATE
    return settled
