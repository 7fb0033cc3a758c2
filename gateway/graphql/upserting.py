"""upsertTalents and upsertJobs: an absent field keeps what is there, null clears it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import strawberry
from strawberry import UNSET

from gateway.graphql.context import Context
from gateway.graphql.cursors import ConsistencyToken, encode_token
from gateway.graphql.enums import UserErrorCode
from gateway.graphql.filters import currency_code
from gateway.graphql.ids import own_id
from gateway.graphql.inputs import given
from gateway.graphql.scalars import DateTime
from gateway.graphql.user_error import Faults, UserError
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Money, Patch, PatchOutcome, Refused
from recommender.errors import BadInputError

MAX_DOCUMENTS = 500
MAX_SKILLS = 200
MAX_SHORT = 1_000  # characters of a title, a skill, a name …
MAX_LONG = 100_000  # of a description or an attribute's value
MAX_ATTRIBUTES = 200


@strawberry.input(description='An amount in one currency, e.g. `{ amount: "55", currency: "USD" }`.')
class MoneyInput:
    """Becomes recommender.documents.Money."""

    amount: Decimal = strawberry.field(description='How much, 0 or more, e.g. `"55.50"`.')
    currency: str = strawberry.field(description='ISO 4217 code, e.g. `"USD"`.')


@strawberry.input(description='What a job pays, e.g. `{ type: HOURLY, min: "40", max: "60", currency: "USD" }`.')
class BudgetInput:
    """Becomes recommender.documents.Budget."""

    type: BudgetType = strawberry.field(description="By the hour or as one sum, e.g. `HOURLY`.")
    min: Decimal | None = strawberry.field(default=UNSET, description='Lower end, e.g. `"40"`; null is open.')
    max: Decimal | None = strawberry.field(default=UNSET, description='Upper end, e.g. `"60"`; null is open.')
    currency: str = strawberry.field(description='ISO 4217 code, e.g. `"USD"`.')


@strawberry.input(description='A column that Tandem only keeps, e.g. `{ name: "timezone", value: "CET" }`.')
class AttributeInput:
    """One entry of a document's attributes; those not named stay."""

    name: str = strawberry.field(description='The column\'s name, e.g. `"timezone"`.')
    value: str | None = strawberry.field(default=UNSET, description='Its text, e.g. `"CET"`; null removes it.')


@strawberry.input(description='A new or changed talent, e.g. `{ talentId: "t-4", isAvailable: false }`.')
class TalentInput:
    """Becomes a recommender.documents.Patch."""

    talent_id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"t-4"`.')
    title: str | None = strawberry.field(default=UNSET, description='What they call themselves, e.g. `"Go developer"`.')
    description: str | None = strawberry.field(default=UNSET, description='About them, e.g. `"Ten years of …"`.')
    skills: list[str] | None = strawberry.field(default=UNSET, description='All they can do, e.g. `["Go", "SQL"]`.')
    category: str | None = strawberry.field(default=UNSET, description='Their field, e.g. `"Software"`.')
    country: str | None = strawberry.field(default=UNSET, description='Where they live, e.g. `"DE"`.')
    hourly_rate: MoneyInput | None = strawberry.field(
        default=UNSET, description='What they ask, e.g. `{ amount: "55", currency: "USD" }`.'
    )
    level: Level | None = strawberry.field(default=UNSET, description="Their seniority, e.g. `EXPERT`.")
    is_available: bool | None = strawberry.field(
        default=UNSET, description="Whether to recommend them, e.g. `false`; null is available."
    )
    created_at: DateTime | None = strawberry.field(
        default=UNSET, description='When they joined, e.g. `"2026-01-31T09:30:00Z"`.'
    )
    attributes: list[AttributeInput] | None = strawberry.field(
        default=UNSET, description='Columns to keep, e.g. `[{ name: "timezone", value: "CET" }]`.'
    )
    updated_at: DateTime | None = strawberry.field(
        default=UNSET, description='When it changed at its source: older never overwrites newer, e.g. `"2026-02-01T…"`.'
    )


@strawberry.input(description='A new or changed job, e.g. `{ jobId: "j-17", status: CLOSED }`.')
class JobInput:
    """Becomes a recommender.documents.Patch."""

    job_id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"j-17"`.')
    client_id: strawberry.ID | None = strawberry.field(default=UNSET, description='Who offers it, e.g. `"acme"`.')
    title: str | None = strawberry.field(default=UNSET, description='Its headline, e.g. `"Go developer"`.')
    description: str | None = strawberry.field(default=UNSET, description='Its text, e.g. `"You will build …"`.')
    skills: list[str] | None = strawberry.field(default=UNSET, description='All it asks for, e.g. `["Go", "SQL"]`.')
    category: str | None = strawberry.field(default=UNSET, description='Its field, e.g. `"Software"`.')
    country: str | None = strawberry.field(default=UNSET, description='Where the work is, e.g. `"DE"`.')
    is_remote: bool | None = strawberry.field(default=UNSET, description="From anywhere or not, e.g. `true`.")
    budget: BudgetInput | None = strawberry.field(
        default=UNSET, description='What it pays, e.g. `{ type: FIXED, max: "2000", currency: "USD" }`.'
    )
    level: Level | None = strawberry.field(default=UNSET, description="The seniority it asks for, e.g. `EXPERT`.")
    status: JobStatus | None = strawberry.field(
        default=UNSET, description="Where it is in its life, e.g. `CLOSED`; null is `OPEN`."
    )
    posted_at: DateTime | None = strawberry.field(
        default=UNSET, description='When it was posted, e.g. `"2026-01-31T09:30:00Z"`.'
    )
    expires_at: DateTime | None = strawberry.field(
        default=UNSET, description='From when on it is gone, e.g. `"2026-03-01T00:00:00Z"`.'
    )
    attributes: list[AttributeInput] | None = strawberry.field(
        default=UNSET, description='Columns to keep, e.g. `[{ name: "visa", value: "yes" }]`.'
    )
    updated_at: DateTime | None = strawberry.field(
        default=UNSET, description='When it changed at its source: older never overwrites newer, e.g. `"2026-02-01T…"`.'
    )


@strawberry.input(description='Talents to create or change, 1 to 500, e.g. `{ talents: [{ talentId: "t-4", … }] }`.')
class UpsertTalentsInput:
    """The argument of upsertTalents."""

    talents: list[TalentInput] = strawberry.field(description="In any order, e.g. one that became unavailable.")


@strawberry.input(description='Jobs to create or change, 1 to 500, e.g. `{ jobs: [{ jobId: "j-17", … }] }`.')
class UpsertJobsInput:
    """The argument of upsertJobs."""

    jobs: list[JobInput] = strawberry.field(description="In any order, e.g. one that was just posted.")


@strawberry.type(description="What became of the documents, e.g. `{ acceptedCount: 2, userErrors: [] }`.")
class UpsertPayload:
    """An index that no error names is durable and visible to every later query."""

    accepted_count: int = strawberry.field(description="How many were taken, e.g. `2`.")
    user_errors: list[UserError] = strawberry.field(description="Those that were not taken and why, e.g. `[]`.")
    token: str | None = strawberry.field(
        description="Send it as header Tandem-Consistency-Token to see the change elsewhere, e.g. on another replica."
    )


async def upsert_talents(context: Context, talents: Sequence[TalentInput]) -> UpsertPayload:
    """Write what is right, say what is wrong. Raises BadInputError, UnavailableError."""
    return await _upsert(context, Kind.TALENT, "talents", talents, _talent_patch)


async def upsert_jobs(context: Context, jobs: Sequence[JobInput]) -> UpsertPayload:
    """Write what is right, say what is wrong. Raises BadInputError, UnavailableError."""
    return await _upsert(context, Kind.JOB, "jobs", jobs, _job_patch)


_Input = TypeVar("_Input", TalentInput, JobInput)


async def _upsert(
    context: Context,
    kind: Kind,
    name: str,
    inputs: Sequence[_Input],
    patch_of: Callable[[int, _Input, Faults], Patch],
) -> UpsertPayload:
    if not 1 <= len(inputs) <= MAX_DOCUMENTS:
        raise BadInputError(f"{name}: between 1 and {MAX_DOCUMENTS}; got {len(inputs)}")
    faults = Faults(name)
    patches: list[tuple[int, Patch]] = []
    for index, one in enumerate(inputs):
        before = len(faults.errors)
        patch = patch_of(index, one, faults)
        if len(faults.errors) == before:
            patches.append((index, patch))
    catalogue = context.services.catalogue
    outcomes = await _write(context, kind, [patch for _, patch in patches])
    id_field = "talentId" if kind is Kind.TALENT else "jobId"
    accepted = 0
    for (index, _), outcome in zip(patches, outcomes, strict=True):
        match outcome:
            case Refused(reason):
                faults.add(index, id_field, UserErrorCode.INVALID, reason)
            case PatchOutcome.STALE:
                faults.add(index, "updatedAt", UserErrorCode.CONFLICT, "what is kept is newer")
            case PatchOutcome.DELETED:
                message = "this id was deleted after the given `updatedAt`, or erased for good; nothing was written"
                faults.add(index, id_field, UserErrorCode.CONFLICT, message)
            case _:
                accepted += 1
    revision = (await catalogue.mirror(kind)).revision
    context.forget_loaded()
    return UpsertPayload(
        accepted_count=accepted,
        user_errors=sorted(faults.errors, key=lambda error: error.index or 0),
        token=encode_token(
            ConsistencyToken(talents=revision) if kind is Kind.TALENT else ConsistencyToken(jobs=revision)
        ),
    )


async def _write(context: Context, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
    """What became of each patch. One without a time is of now where it meets a tombstone, and so revives the id.

    Elsewhere it stays without: stamped with now, it would lose against a feed whose clock is ahead.
    """
    if not patches:
        return []
    outcomes = list(await context.services.catalogue.upsert(kind, patches))
    again = [
        at
        for at, outcome in enumerate(outcomes)
        if outcome is PatchOutcome.DELETED and patches[at].updated_at_ms is None
    ]
    if again:
        stamped = [replace(patches[at], updated_at_ms=context.now_ms) for at in again]
        for at, outcome in zip(again, await context.services.catalogue.upsert(kind, stamped), strict=True):
            outcomes[at] = outcome
    return outcomes


class _Fields:
    """The fields of one patch as they are checked; a fault is noted, and the patch then not used."""

    def __init__(self, index: int, faults: Faults) -> None:
        self._index = index
        self._faults = faults
        self.fields: dict[str, Any] = {}

    def put(self, name: str, field: str, value: Any, check: Callable[[Any], Any] = lambda value: value) -> None:
        """Keep a given value under the domain's name: null stays null, absent is left out."""
        if value is UNSET:
            return
        try:
            self.fields[name] = None if value is None else check(value)
        except BadInputError as error:
            self._faults.add_error(self._index, field, error)

    def document_id(self, field: str, value: str) -> str:
        """The id, checked."""
        try:
            own_id(value, field)
        except BadInputError as error:
            self._faults.add_error(self._index, field, error)
        return value


def _talent_patch(index: int, one: TalentInput, faults: Faults) -> Patch:
    fields = _Fields(index, faults)
    talent_id = fields.document_id("talentId", one.talent_id)
    _put_shared(fields, one)
    fields.put("hourly_rate", "hourlyRate", one.hourly_rate, _money)
    fields.put("is_available", "isAvailable", one.is_available)
    fields.put("created_at_ms", "createdAt", one.created_at)
    return Patch(id=talent_id, fields=fields.fields, updated_at_ms=given(one.updated_at))


def _job_patch(index: int, one: JobInput, faults: Faults) -> Patch:
    fields = _Fields(index, faults)
    job_id = fields.document_id("jobId", one.job_id)
    fields.put("client_id", "clientId", one.client_id, lambda value: own_id(value, "clientId"))
    _put_shared(fields, one)
    fields.put("is_remote", "isRemote", one.is_remote)
    fields.put("budget", "budget", one.budget, _budget)
    fields.put("status", "status", one.status)
    fields.put("posted_at_ms", "postedAt", one.posted_at)
    fields.put("expires_at_ms", "expiresAt", one.expires_at)
    return Patch(id=job_id, fields=fields.fields, updated_at_ms=given(one.updated_at))


def _put_shared(fields: _Fields, one: TalentInput | JobInput) -> None:
    fields.put("title", "title", one.title, _text)
    fields.put("description", "description", one.description, lambda value: _text(value, MAX_LONG))
    fields.put("skills", "skills", one.skills, _skills)
    fields.put("category", "category", one.category, _text)
    fields.put("country", "country", one.country, _text)
    fields.put("level", "level", one.level)
    fields.put("attributes", "attributes", one.attributes, _attributes)


def _text(value: str, most: int = MAX_SHORT) -> str:
    if len(value) > most:
        raise BadInputError(f"at most {most} characters; got {len(value)}")
    return value


def _skills(values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > MAX_SKILLS:
        raise BadInputError(f"at most {MAX_SKILLS} skills; got {len(values)}")
    return tuple(dict.fromkeys(_text(value) for value in values if value.strip()))


def _attributes(values: Sequence[AttributeInput]) -> dict[str, str | None]:
    if len(values) > MAX_ATTRIBUTES:
        raise BadInputError(f"at most {MAX_ATTRIBUTES} attributes; got {len(values)}")
    found: dict[str, str | None] = {}
    for one in values:
        if not one.name or one.name in found:
            raise BadInputError(f"a name is given once and not empty; got {one.name[:60]!r}")
        value = given(one.value)
        found[_text(one.name)] = None if value is None else _text(value, MAX_LONG)
    return found


def _money(value: MoneyInput) -> Money:
    if value.amount < 0:
        raise BadInputError(f"the amount must be 0 or more; got {value.amount}")
    return Money(value.amount, currency_code(value.currency, "currency"))


def _budget(value: BudgetInput) -> Budget:
    low, high = given(value.min), given(value.max)
    if low is None and high is None:
        raise BadInputError("give min, max or both; a null budget clears it")
    if any(end is not None and end < 0 for end in (low, high)):
        raise BadInputError(f"min and max must be 0 or more; got min {low} and max {high}")
    if low is not None and high is not None and low > high:
        raise BadInputError(f"min must not be above max; got min {low} and max {high}")
    return Budget(type=value.type, min=low, max=high, currency=currency_code(value.currency, "currency"))
