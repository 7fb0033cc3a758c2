"""The root of mutations."""

from __future__ import annotations

from typing import Annotated

import strawberry

from gateway.graphql.context import Info
from gateway.graphql.deleting import DeleteInput, DeletePayload, delete
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.recording import RecordEventsInput, RecordEventsPayload, record_events
from gateway.graphql.upserting import UpsertJobsInput, UpsertPayload, UpsertTalentsInput, upsert_jobs, upsert_talents
from recommender.documents import Kind


@strawberry.type(description="What can be changed, e.g. `mutation { recordEvents(input: $input) { acceptedCount } }`.")
class Mutation:
    """One field per action. Whether the viewer may is asked before, see access.py."""

    @strawberry.mutation(
        description="Record what happened. Send a batch again until it is answered: an `eventId` counts once, e.g. "
        "from an app's offline queue. When the log is down it fails with UNAVAILABLE and nothing was written.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def record_events(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 — the contract's name
            RecordEventsInput, strawberry.argument(description="The events, e.g. `{ events: [{ … }] }`.")
        ],
    ) -> RecordEventsPayload | None:
        return await record_events(info.context, input.events)

    @strawberry.mutation(
        description="Create or change talents: an absent field keeps, null clears, e.g. a new rate.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def upsert_talents(
        self,
        info: Info,
        input: Annotated[  # noqa: A002
            UpsertTalentsInput, strawberry.argument(description="The talents, e.g. `{ talents: [{ … }] }`.")
        ],
    ) -> UpsertPayload | None:
        return await upsert_talents(info.context, input.talents)

    @strawberry.mutation(
        description="Create or change jobs: an absent field keeps, null clears, e.g. `status: CLOSED`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def upsert_jobs(
        self,
        info: Info,
        input: Annotated[  # noqa: A002
            UpsertJobsInput, strawberry.argument(description="The jobs, e.g. `{ jobs: [{ … }] }`.")
        ],
    ) -> UpsertPayload | None:
        return await upsert_jobs(info.context, input.jobs)

    @strawberry.mutation(
        description="Delete a talent, with `erase` for good, e.g. when the person asks for it.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def delete_talent(
        self,
        info: Info,
        input: Annotated[  # noqa: A002
            DeleteInput, strawberry.argument(description='Which, e.g. `{ id: "t-4", erase: true }`.')
        ],
    ) -> DeletePayload | None:
        return await delete(info.context, Kind.TALENT, input)

    @strawberry.mutation(
        description="Delete a job, with `erase` for good, e.g. one that was posted by mistake.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def delete_job(
        self,
        info: Info,
        input: Annotated[  # noqa: A002
            DeleteInput, strawberry.argument(description='Which, e.g. `{ id: "j-17" }`.')
        ],
    ) -> DeletePayload | None:
        return await delete(info.context, Kind.JOB, input)
