"""Talents and jobs as the catalogue keeps them, and partial changes to them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MAX_ID_BYTES = 256
ORDINAL_LIMIT = 2**32


class Kind(enum.Enum):
    """What a document describes."""

    TALENT = "talent"
    JOB = "job"

    __hash__ = object.__hash__  # there is one object of each; Enum's own hash is a function of Python's


class Side(enum.Enum):
    """Who acts: the talent, or the client who owns the job."""

    TALENT = "TALENT"
    CLIENT = "CLIENT"

    __hash__ = object.__hash__  # as of Kind


class Level(enum.Enum):
    """Seniority asked for or offered, lowest first."""

    ENTRY = "ENTRY"
    INTERMEDIATE = "INTERMEDIATE"
    EXPERT = "EXPERT"


class JobStatus(enum.Enum):
    """Where a job is in its life. Only OPEN is shown to talents; a DRAFT already gets talents recommended."""

    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PAUSED = "PAUSED"
    FILLED = "FILLED"
    CLOSED = "CLOSED"


class BudgetType(enum.Enum):
    """How a job pays. Budgets of different types never compare."""

    HOURLY = "HOURLY"
    FIXED = "FIXED"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency (ISO 4217, upper case)."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What a job pays: a range (either end may be open) in one currency and of one type."""

    type: BudgetType
    min: Decimal | None
    max: Decimal | None
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Talent:
    """A person who looks for work. Times are epoch milliseconds, UTC."""

    ordinal: int
    talent_id: str
    title: str | None = None
    description: str | None = None
    skills: tuple[str, ...] = ()
    category: str | None = None
    country: str | None = None
    hourly_rate: Money | None = None
    level: Level | None = None
    is_available: bool = True
    created_at_ms: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    updated_at_ms: int | None = None

    @property
    def id(self) -> str:
        """The marketplace's own id."""
        return self.talent_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work that a client offers. Times are epoch milliseconds, UTC."""

    ordinal: int
    job_id: str
    client_id: str | None = None
    title: str | None = None
    description: str | None = None
    skills: tuple[str, ...] = ()
    category: str | None = None
    country: str | None = None
    is_remote: bool | None = None
    budget: Budget | None = None
    level: Level | None = None
    status: JobStatus = JobStatus.OPEN
    posted_at_ms: int | None = None
    expires_at_ms: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    updated_at_ms: int | None = None

    @property
    def id(self) -> str:
        """The marketplace's own id."""
        return self.job_id


Document = Talent | Job


@dataclass(frozen=True, slots=True)
class Patch:
    """A partial change of one document: a field that is absent keeps its value, None (or an empty value) clears it.

    `fields` is keyed by the names of Talent's or Job's fields, without ordinal and id; `attributes` is a mapping whose
    None values remove single attributes. With `updated_at_ms`, an older patch never overwrites a newer one.
    """

    id: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    updated_at_ms: int | None = None


class PatchOutcome(enum.Enum):
    """What became of one patch."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    STALE = "stale"  # older than what is kept: nothing was written
    DELETED = "deleted"  # the document has a tombstone that this patch may not lift: nothing was written


@dataclass(frozen=True, slots=True)
class Refused:
    """What became of a patch that the catalogue cannot take: nothing of it was written, and the others were.

    reason: fit for who sent it.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in one kind of document after a revision, each document once, in its newest state.

    revision: the catalogue's revision that a reader has reached after applying these. newest: that of the newest change
    among these, where an older one is still under way and so keeps `revision` below it.
    """

    revision: int
    upserted: Sequence[Document]
    deleted: Sequence[int]  # ordinals
    newest: int = 0
