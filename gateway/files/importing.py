"""From files to stores: `import_files` reads talents, jobs and events in that order and writes them in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol, TypeVar

from gateway.files.event_ids import EventIds
from gateway.files.formats import open_table
from gateway.files.import_summary import Counts, ImportSummary
from gateway.files.rejects import Rejects
from gateway.files.rows import (
    DOCUMENT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_REQUIRED,
    BadRowError,
    DocumentRow,
    DocumentRows,
    EventRow,
    EventRows,
    pay_field,
)
from gateway.files.table import BadRow, BrokenFileError, Row, Table
from recommender.documents import Document, Kind, Patch, PatchOutcome, Refused
from recommender.errors import BadInputError
from recommender.events import Event
from recommender.ports import Appended, Catalogue, CatalogueWriter, EventLog, SubjectKey

# Large enough that a transaction's fixed cost vanishes, small enough to be a blink and a few megabytes.
DOCUMENT_CHUNK = 5_000
EVENT_CHUNK = 10_000
_KNOWN_IDS = 250_000  # per kind, remembered as alive: about 30 MB

_PROGRESS_ROWS = 2_000

_T = TypeVar("_T")
OnProgress = Callable[[Path, int, int, int], None]


class WritableCatalogue(Catalogue, CatalogueWriter, Protocol):
    """A catalogue that can be read and changed."""


class ImportStores(Protocol):
    """What an import writes to."""

    @property
    def catalogue(self) -> WritableCatalogue:
        """Talents and jobs."""
        ...

    @property
    def events(self) -> EventLog:
        """What happened between them."""
        ...


async def import_files(
    stores: ImportStores | None,
    *,
    talents: Sequence[Path] = (),
    jobs: Sequence[Path] = (),
    events: Sequence[Path] = (),
    rejects: Path | None = None,
    on_progress: OnProgress | None = None,
    default_currency: str = "USD",
) -> ImportSummary:
    """Import files; good rows are kept, bad ones reported. The same import again changes nothing.

    stores: None only validates and writes nothing but the rejects file.
    rejects: where rejected rows go, JSON Lines of file, line, reason and row; an earlier file there is removed.
    on_progress: called now and then with a file, its bytes read, its bytes in all, and the rows read from it.
    default_currency: of an amount without one.
    Raises BadInputError, before anything is written, when a file cannot be opened, its header cannot be used, or
    `rejects` is one of the files. A cancelled import has written whole chunks; the same import again completes it.
    """
    _check_paths(rejects, [*talents, *jobs, *events])
    with ExitStack() as open_files:
        documents, logs = _open_tables(open_files, talents, jobs, events)
        written = open_files.enter_context(closing(Rejects(rejects)))
        run = _Import(stores, written, on_progress or _unheard, default_currency)
        for kind, table in documents:
            await run.read_documents(kind, table)
            table.close()
        for table in logs:
            await run.read_events(table)
            table.close()
    run.summary.rejects = rejects if written.count else None
    run.summary.samples = written.samples
    return run.summary


def check_files(
    *, talents: Sequence[Path] = (), jobs: Sequence[Path] = (), events: Sequence[Path] = (), rejects: Path | None = None
) -> None:
    """Raise BadInputError where `import_files` would before it writes anything, without any stores."""
    _check_paths(rejects, [*talents, *jobs, *events])
    with ExitStack() as open_files:
        _open_tables(open_files, talents, jobs, events)


def _check_paths(rejects: Path | None, paths: Sequence[Path]) -> None:
    if not paths:
        raise BadInputError("nothing to import: name at least one file of talents, jobs or events")
    if rejects is not None and any(rejects.resolve() == path.resolve() for path in paths):
        raise BadInputError(f"{rejects} is a file to import; the rejects need another one")


def _open_tables(
    open_files: ExitStack, talents: Sequence[Path], jobs: Sequence[Path], events: Sequence[Path]
) -> tuple[list[tuple[Kind, Table]], list[Table]]:
    """Every file, open, its header checked: documents and events."""

    def opened(path: Path, required: tuple[str, ...], wanted: frozenset[str] | None = None) -> Table:
        return open_files.enter_context(closing(open_table(path, required, wanted)))

    documents = [
        (kind, opened(path, (DOCUMENT_COLUMNS[kind].id,)))
        for kind, files in ((Kind.TALENT, talents), (Kind.JOB, jobs))
        for path in files
    ]
    return documents, [opened(path, EVENT_REQUIRED, frozenset(EVENT_COLUMNS)) for path in events]


def _unheard(_path: Path, _read: int, _size: int, _rows: int) -> None:
    """Nobody asked for progress."""


class _Import:
    """One import under way."""

    def __init__(
        self, stores: ImportStores | None, rejects: Rejects, on_progress: OnProgress, default_currency: str
    ) -> None:
        self.summary = ImportSummary()
        self._stores = stores
        self._rejects = rejects
        self._on_progress = on_progress
        self._default_currency = default_currency
        self._revisions: dict[Kind, int] = {}  # up to which it is known who was deleted
        self._alive: dict[Kind, set[str]] = {Kind.TALENT: set(), Kind.JOB: set()}

    async def read_documents(self, kind: Kind, table: Table) -> None:
        """Import one file of talents or jobs."""
        chunk: list[tuple[Row, DocumentRow]] = []
        ids: set[str] = set()
        for row, document in self._parsed(table, self.summary.of(kind), DocumentRows(DOCUMENT_COLUMNS[kind]).parse):
            # What a row leaves out of its pay is looked up, so an earlier row of the same id must be written by then.
            if len(chunk) >= DOCUMENT_CHUNK or (document.needs_known_pay and document.id in ids):
                await self._write_documents(kind, table, chunk)
                chunk, ids = [], set()
            chunk.append((row, document))
            ids.add(document.id)
        if chunk:
            await self._write_documents(kind, table, chunk)

    async def read_events(self, table: Table) -> None:
        """Import one file of events."""
        chunk: list[tuple[Row, EventRow]] = []
        if self._stores is not None and not self._revisions:
            self._revisions = {kind: (await self._stores.catalogue.mirror(kind)).revision for kind in Kind}
        with closing(EventIds()) as ids:
            for pair in self._parsed(table, self.summary.events, EventRows().parse):
                chunk.append(pair)
                if len(chunk) >= EVENT_CHUNK:
                    await self._write_events(table, chunk, ids)
                    chunk = []
            if chunk:
                await self._write_events(table, chunk, ids)

    def _parsed(self, table: Table, counts: Counts, parse: Callable[[Row], _T]) -> Iterator[tuple[Row, _T]]:
        """The good rows of a file with what they say; the others are rejected."""
        read = 0
        try:
            for row in table:
                read += 1
                counts.read += 1
                if read % _PROGRESS_ROWS == 0:
                    self._on_progress(table.path, table.position, table.size, read)
                if isinstance(row, BadRow):
                    self._reject(counts, table, row.line, row.reason, row.row)
                    continue
                try:
                    said = parse(row)
                except BadRowError as error:
                    self._reject(counts, table, row.line, str(error), row)
                    continue
                yield row, said
        except BrokenFileError as error:
            self._rejects.add(table.path, error.line, str(error), None)
            self.summary.problems.append(f"{table.path}:{error.line}: {error}; the rows before it are kept")
        self._on_progress(table.path, table.size, table.size, read)

    def _reject(self, counts: Counts, table: Table, line: int, reason: str, row: object) -> None:
        """row: None for one of somebody who was deleted, perhaps erased: its place says enough, and nothing is kept."""
        counts.rejected += 1
        self._rejects.add(table.path, line, reason, row)

    async def _write_documents(self, kind: Kind, table: Table, chunk: Sequence[tuple[Row, DocumentRow]]) -> None:
        counts = self.summary.of(kind)
        known = await self._known_pay(kind, [document.id for _, document in chunk if document.needs_known_pay])
        rows: list[Row] = []
        patches: list[Patch] = []
        for row, document in chunk:
            try:
                pay = pay_field(kind, document.pay, known.get(document.id), self._default_currency)
            except BadRowError as error:
                self._reject(counts, table, row.line, str(error), row)
                continue
            rows.append(row)
            patches.append(Patch(document.id, {**document.fields, **pay}, document.updated_at_ms))
        if self._stores is None:
            counts.valid += len(patches)
            return
        for row, _, outcome in zip(rows, patches, await self._stores.catalogue.upsert(kind, patches), strict=True):
            match outcome:
                case Refused(reason):
                    self._reject(counts, table, row.line, reason, row)
                case PatchOutcome.CREATED:
                    counts.created += 1
                case PatchOutcome.UPDATED:
                    counts.updated += 1
                case PatchOutcome.UNCHANGED:
                    counts.unchanged += 1
                case PatchOutcome.STALE:
                    counts.stale += 1
                case PatchOutcome.DELETED:
                    reason = "it was deleted: only a row with a later updated_at revives it, none if erased"
                    self._reject(counts, table, row.line, reason, None)

    async def _known_pay(self, kind: Kind, ids: Sequence[str]) -> dict[str, Document]:
        """The kept documents of rows that leave some of their pay as it is."""
        if self._stores is None or not ids:
            return {}
        found = await self._stores.catalogue.get_many(kind, ids=ids)
        return {document.id: document for document in found if document is not None}

    async def _write_events(self, table: Table, chunk: Sequence[tuple[Row, EventRow]], ids: EventIds) -> None:
        counts = self.summary.events
        if self._stores is None:
            counts.valid += len(chunk)
            return
        # Every row takes its number here, before any is turned away: ids depend on the file alone.
        assigned = iter(ids.assign([said for _, said in chunk if said.event_id is None]))
        events = [Event(said.event_id or next(assigned), *said[1:]) for _, said in chunk]
        gone_talents = await self._ensure(Kind.TALENT, [event.talent_id for event in events])
        gone_jobs = await self._ensure(Kind.JOB, [event.job_id for event in events])
        kept: list[tuple[Row, Event]] = []
        for (row, _), event in zip(chunk, events, strict=True):
            if event.talent_id in gone_talents:
                self._reject(counts, table, row.line, "talent_id: it was deleted", None)
            elif event.job_id in gone_jobs:
                self._reject(counts, table, row.line, "job_id: it was deleted", None)
            else:
                kept.append((row, event))
        outcomes = await self._stores.events.append([event for _, event in kept])
        await self._forget_erased([event for _, event in kept])
        for (row, event), outcome in zip(kept, outcomes, strict=True):
            match outcome:
                case Appended.ACCEPTED:
                    counts.accepted += 1
                case Appended.DUPLICATE:
                    counts.duplicates += 1
                case Appended.CONFLICT:
                    counts.conflicts += 1
                    reason = f"event_id: {event.event_id!r} was recorded before with other content"
                    self._rejects.add(table.path, row.line, reason, row)

    async def _forget_erased(self, events: Sequence[Event]) -> None:
        """Erase the events of who was erased while they were written. Whoever is erased from now on is waited for."""
        assert self._stores is not None  # noqa: S101 (a dry run does not come here)
        for kind in Kind:
            deleted: set[int] = set()
            while (changes := await self._stores.catalogue.changes(kind, self._revisions[kind])).revision > (
                self._revisions[kind]
            ):
                self._revisions[kind] = changes.revision
                deleted |= set(changes.deleted)
            if deleted:
                self._alive[kind].clear()
                ids = list(dict.fromkeys(event.id_of(kind) for event in events))
                for own_id, ordinal in zip(ids, await self._stores.catalogue.erased(kind, ids), strict=True):
                    if ordinal is not None:
                        await self._stores.events.forget(SubjectKey(kind, own_id))

    async def _ensure(self, kind: Kind, ids: Iterable[str]) -> set[str]:
        """Give every id a document, a bare one where there is none; the ids that were deleted come back."""
        assert self._stores is not None  # noqa: S101 (a dry run does not come here)
        catalogue, alive = self._stores.catalogue, self._alive[kind]
        unseen = [document_id for document_id in dict.fromkeys(ids) if document_id not in alive]
        if not unseen:
            return set()
        missing = await self._missing(kind, unseen)
        gone: set[str] = set()
        if missing:
            await catalogue.ensure(kind, missing)
            gone = set(await self._missing(kind, missing))
            if kind is Kind.TALENT:
                self.summary.bare_talents += len(missing) - len(gone)
            else:
                self.summary.bare_jobs += len(missing) - len(gone)
        if len(alive) + len(unseen) > _KNOWN_IDS:
            alive.clear()
        alive.update(document_id for document_id in unseen if document_id not in gone)
        return gone

    async def _missing(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Those ids that have no live document."""
        assert self._stores is not None  # noqa: S101 (a dry run does not come here)
        found = await self._stores.catalogue.get_many(kind, ids=ids)
        return [document_id for document_id, document in zip(ids, found, strict=True) if document is None]
