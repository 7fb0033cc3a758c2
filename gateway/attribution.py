"""Attribution: what was served, and which events are credited to which row of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recommender.documents import Kind
from recommender.events import Event, EventType
from recommender.ports import Catalogue, EventLog, ServedItem, ServedList, ServingLog

MAX_RANK_DIGITS = 10  # holds any rank; Python refuses to convert thousands

Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What outcomes are told apart by. items: "jobs" or "talents", whatever was listed."""

    model: str
    placement: str
    strategy: str
    items: str


@dataclass(slots=True)
class Tally:
    """What was served of one group, and what came of it. lists: a list of several strategies counts in each."""

    lists: int = 0
    rows: int = 0
    outcomes: Counter[EventType] = field(default_factory=Counter)


@dataclass(slots=True)
class Report:
    """Every group's tally, and the events that quote a recommendation but could not be credited, by reason."""

    tallies: dict[Group, Tally] = field(default_factory=dict)
    uncredited: Counter[str] = field(default_factory=Counter)

    def tally(self, group: Group) -> Tally:
        """The tally of a group, empty at first."""
        return self.tallies.setdefault(group, Tally())


async def build_report(
    serving_log: ServingLog,
    events: EventLog,
    catalogue: Catalogue,
    advance: Advance = lambda _seq: None,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Report:
    """Read both logs once, in batches, and credit each event that quotes `<request_id>.<rank>` to that row.

    Counts the lists that were served from `since_ms` on and before `until_ms`, and what came of them, whenever it came.

    A row is credited once per event type, to the first such event of the log. An event whose quote is malformed, names
    no list or row that is kept, or is about another pair than the row's, is not credited.
    """
    report = Report()

    def counts(page: ServedList) -> bool:
        after = since_ms is None or page.served_at_ms >= since_ms
        return after and (until_ms is None or page.served_at_ms < until_ms)

    async for pages in serving_log.scan():
        _count_served(report, filter(counts, pages))
    seen: set[tuple[str, EventType]] = set()
    async for batch in events.scan():
        quoting = [event for event in batch if event.recommendation_id is not None]
        if quoting:
            await _credit(report, quoting, serving_log, catalogue, seen, counts)
        advance(batch[-1].seq)
    return report


def _count_served(report: Report, pages: Iterable[ServedList]) -> None:
    for page in pages:
        groups = [_group(page, item) for item in page.items]
        for group in groups:
            report.tally(group).rows += 1
        for group in set(groups):
            report.tally(group).lists += 1


async def _credit(
    report: Report,
    quoting: Sequence[Event],
    serving_log: ServingLog,
    catalogue: Catalogue,
    seen: set[tuple[str, EventType]],
    counts: Callable[[ServedList], bool],
) -> None:
    quotes = [_parsed(event.recommendation_id or "") for event in quoting]
    request_ids = sorted({quote[0] for quote in quotes if quote})
    pages = dict(zip(request_ids, await serving_log.get_many(request_ids), strict=True))
    ordinals = await _ordinals(quoting, quotes, pages, catalogue)
    for event, quote in zip(quoting, quotes, strict=True):
        if quote is None:
            report.uncredited["malformed"] += 1
            continue
        page = pages[quote[0]]
        item = next((item for item in page.items if item.rank == quote[1]), None) if page else None
        if page is not None and not counts(page):
            continue
        if page is None or item is None:
            report.uncredited["unknown"] += 1
        elif not _is_about(event, page, item, ordinals):
            report.uncredited["other_pair"] += 1
        elif (event.recommendation_id or "", event.type) in seen:
            report.uncredited["repeated"] += 1
        else:
            seen.add((event.recommendation_id or "", event.type))
            report.tally(_group(page, item)).outcomes[event.type] += 1


async def _ordinals(
    quoting: Sequence[Event],
    quotes: Sequence[tuple[str, int] | None],
    pages: Mapping[str, ServedList | None],
    catalogue: Catalogue,
) -> dict[tuple[Kind, str], int]:
    """Ordinals of the items that the events name; a deleted one has none."""
    wanted: dict[Kind, set[str]] = {}
    for event, quote in zip(quoting, quotes, strict=True):
        page = pages[quote[0]] if quote else None
        if page is not None:
            wanted.setdefault(page.kind, set()).add(_item_id(event, page.kind))
    found = {}
    for kind, ids in wanted.items():
        for document in await catalogue.get_many(kind, ids=sorted(ids)):
            if document is not None:
                found[kind, document.id] = document.ordinal
    return found


def _is_about(event: Event, page: ServedList, item: ServedItem, ordinals: Mapping[tuple[Kind, str], int]) -> bool:
    """Whether an event is of the pair that the row was. What is no longer known is taken on trust."""
    named = ordinals.get((page.kind, _item_id(event, page.kind)), item.ordinal)
    subject = page.subject
    if subject is None or subject.kind is page.kind:  # nobody's list, or what is similar: the other side is open
        return named == item.ordinal
    return named == item.ordinal and subject.id == (event.talent_id if subject.kind is Kind.TALENT else event.job_id)


def _item_id(event: Event, kind: Kind) -> str:
    return event.talent_id if kind is Kind.TALENT else event.job_id


def _parsed(recommendation_id: str) -> tuple[str, int] | None:
    """Request id and rank of `<request_id>.<rank>`; None when it is not of that form."""
    request_id, dot, rank = recommendation_id.rpartition(".")
    # Ten digits hold any rank; a thousand would make Python refuse the conversion.
    if not (
        dot and request_id and rank.isascii() and rank.isdecimal() and len(rank) <= 10 and not rank.startswith("0")
    ):
        return None
    return request_id, int(rank)


def _group(page: ServedList, item: ServedItem) -> Group:
    return Group(page.model_version, page.placement or "", item.strategy, f"{page.kind.value}s")
