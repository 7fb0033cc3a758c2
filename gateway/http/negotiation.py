"""Which media type to answer in: GraphQL's own for who asks for it, plain JSON for everybody else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gateway.graphql.incremental import PartsForm
from gateway.http.problem import JSON, HttpProblem

GRAPHQL = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"

# What each range covers, the first one preferred. `*/*` is curl's and stands for plain JSON.
_COVERS = {GRAPHQL: GRAPHQL, JSON: JSON, "*/*": JSON, "application/*": JSON, EVENT_STREAM: EVENT_STREAM}


LONGEST_KEPT = 500  # characters of a header: those of browsers and clients are shorter
MOST_KEPT = 128


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What is answered in. parts_form: None for who does not read parts."""

    media_type: str
    parts_form: PartsForm | None


def negotiated(accept: str) -> Negotiated:
    """What a header asks for. Raises HttpProblem 406 when none that we have is accepted."""
    return _kept(accept) if len(accept) <= LONGEST_KEPT else _negotiated(accept)


def _negotiated(accept: str) -> Negotiated:
    media_type = response_type(accept)
    return Negotiated(media_type, parts_form(accept) if media_type != EVENT_STREAM else None)


_kept = lru_cache(maxsize=MOST_KEPT)(_negotiated)  # clients send the same one over and over


def response_type(accept: str) -> str:
    """The media type to answer in. Raises HttpProblem 406 when none that we have is accepted.

    By q, then in the order of the header: clients list event streams behind JSON on every request. Ranges of types that
    there are not (multipart) are passed over.
    """
    if not accept.strip():
        return JSON
    best: tuple[float, str] | None = None
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        if media_range in _COVERS and quality > (best[0] if best else 0.0):
            best = (quality, _COVERS[media_range])
    if best is None:
        raise HttpProblem(406, "NOT_ACCEPTABLE", f"answers are {GRAPHQL}, {JSON} or {EVENT_STREAM}; Accept allows none")
    return best[1]


def parts_form(accept: str) -> PartsForm | None:
    """The form in which an answer may come in parts; None for who does not read them.

    Of a range without a parameter it is the older one: urql's. Apollo's multipart subscriptions are another protocol.
    """
    for part in accept.split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        if media_range.lower() != MULTIPART or not _quality(parameters):
            continue
        specs = [parameter for parameter in parameters if parameter.partition("=")[0].endswith("Spec")]
        for form in PartsForm:
            if form.value in specs or (form is PartsForm.PATHS and not specs):
                return form
    return None


def wants_page(accept: str) -> bool:
    """Whether a browser opens the address: it lists text/html and no JSON type."""
    ranges = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    return "text/html" in ranges and not ranges & {GRAPHQL, JSON, EVENT_STREAM}


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0
