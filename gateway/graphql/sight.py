"""What of the market a viewer may see: which documents, which events, and which filters they may find them by.

A talent sees itself and the jobs that are not drafts; a client its own jobs and the talents; service, engineer and
admin see all. Whatever is out of sight is as if it were not there, so that nobody learns that it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeVar

from gateway.graphql.errors import ForbiddenError
from gateway.graphql.viewer import Viewer
from recommender.documents import Document, Job, JobStatus, Kind, Side
from recommender.events import Event, EventType
from recommender.filters import Filter, JobFilter

# What one side does that the other is told of. A client's views and shortlists are not the talent's to know, nor a
# talent's views and saves the client's; see recommender/reasons.py.
TOLD: Final = {
    Side.TALENT: frozenset({EventType.APPLY, EventType.WITHDRAW, EventType.ACCEPT, EventType.DECLINE}),
    Side.CLIENT: frozenset({EventType.INVITE, EventType.INTERVIEW, EventType.OFFER, EventType.HIRE, EventType.REJECT}),
}
_NOT_DRAFT: Final = tuple(status for status in JobStatus if status is not JobStatus.DRAFT)

_Filter = TypeVar("_Filter", bound=Filter)


def sees(viewer: Viewer, document: Document) -> bool:
    """Whether a document is there for a viewer."""
    if viewer.may_all:
        return True
    if isinstance(document, Job):
        if viewer.client_id is not None:
            return document.client_id == viewer.client_id
        return viewer.talent_id is not None and document.status is not JobStatus.DRAFT
    return viewer.client_id is not None or document.talent_id == viewer.talent_id


def may_find(viewer: Viewer, kind: Kind, document_id: str) -> bool:
    """Whether it is worth looking for an id: a talent may only ever find itself, without anybody being asked."""
    return viewer.talent_id is None or kind is Kind.JOB or document_id == viewer.talent_id


def sees_client(viewer: Viewer, client_id: str) -> bool:
    """Whether a client may be there for a viewer: to a talent every one is that has a job in sight."""
    return viewer.client_id is None or client_id == viewer.client_id


def statuses_in_sight(viewer: Viewer) -> tuple[JobStatus, ...]:
    """Of the jobs by which a client is known."""
    return tuple(JobStatus) if viewer.talent_id is None else _NOT_DRAFT


def sees_event(viewer: Viewer, event: Event) -> bool:
    """Whether a viewer may know of an event between documents that it sees."""
    if viewer.may_all:
        return True
    if viewer.talent_id is not None:
        return event.talent_id == viewer.talent_id and (event.actor is Side.TALENT or event.type in TOLD[event.actor])
    return viewer.client_id is not None and (event.actor is Side.CLIENT or event.type in TOLD[event.actor])


def did(viewer: Viewer, event: Event) -> bool:
    """Whether an event is the viewer's own doing, so that the list it came from was theirs, too."""
    return viewer.may_all or event.actor is (Side.CLIENT if viewer.talent_id is None else Side.TALENT)


def narrowed(viewer: Viewer, wanted: _Filter, public_attributes: frozenset[str]) -> _Filter:
    """A filter over what the viewer sees alone, so that totals, facets and pages tell of nothing else.

    Raises ForbiddenError for an attribute that the viewer sees of none of the documents.
    """
    if viewer.may_all:
        return wanted
    if not (viewer.client_id is not None and isinstance(wanted, JobFilter)):
        check_attributes((clause.name for clause in wanted.attributes), public_attributes)
    if not isinstance(wanted, JobFilter):
        return wanted
    if viewer.client_id is not None:
        is_asked = not wanted.client_ids or viewer.client_id in wanted.client_ids
        own = replace(wanted, client_ids=(viewer.client_id,))
        return own if is_asked else replace(own, ids=())
    if JobStatus.DRAFT not in wanted.statuses:
        return wanted
    left = tuple(status for status in wanted.statuses if status is not JobStatus.DRAFT)
    return replace(wanted, statuses=left) if left else replace(wanted, statuses=_NOT_DRAFT, ids=())


def check_attributes(names: Iterable[str], public: frozenset[str]) -> None:
    """Raise ForbiddenError for one by which somebody could be told from others who does not show it."""
    hidden = sorted(set(names) - public)
    if hidden:
        raise ForbiddenError(
            f"the attribute {hidden[0][:60]!r} is not public here: TANDEM_PUBLIC_ATTRIBUTES names those that talents "
            "and clients may filter, count and see"
        )


def shown_attributes(viewer: Viewer, document: Document, public: frozenset[str]) -> dict[str, str]:
    """The attributes of a document in sight: all of one's own, the public ones of another's."""
    own = viewer.client_id is not None if isinstance(document, Job) else viewer.talent_id is not None
    if viewer.may_all or own:
        return dict(document.attributes)
    return {name: value for name, value in document.attributes.items() if name in public}
