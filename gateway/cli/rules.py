"""`tandem rules`: a rules file read as serving would read it, and what it would change, before anybody sees it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.settings import Settings, load_settings
from recommender.errors import BadInputError

if TYPE_CHECKING:
    from rich.table import Table

    from gateway.wiring import Stores
    from recommender.documents import Document
    from recommender.list_changes import Change
    from recommender.ports import ServedList
    from recommender.query import ListQuery
    from recommender.rules import Rule

command = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Check a rules file, or show what it would change. Nothing is."
)

ANY_WIDTH = 1_000  # a pipe has no width: a row is a line
NOTHING = "-"

FILE = Annotated[Path | None, typer.Argument(help="The rules file. [default: TANDEM_RULES]")]
AT = Annotated[str | None, typer.Option("--at", help="Judge as of this time (UTC), such as 2026-03-01. [default: now]")]


@command.command()
def check(file: FILE = None, at: AT = None) -> None:
    """Read a rules file, and show what each rule matches now; exits 1 when one of them can't do what it says."""
    settings = load_settings()
    path = file or _set_file(settings)
    looked_at = asyncio.run(_check(settings, path, _moment(at)))
    table = _table("Rule", "Kind", "List", "Holds", "Now", "Matches", "For")
    for one in looked_at:
        table.add_row(*one.cells)
    _print(table, looked_at, f"{path}: no rules")
    problems = [one for one in looked_at if one.problem]
    for one in problems:
        typer.echo(f"rule “{one.rule.name}”: {one.problem}")
    if problems:
        raise typer.Exit(1)


@command.command()
def diff(
    new: Annotated[Path, typer.Argument(help="The new rules file.")],
    against: Annotated[
        Path | None, typer.Option(help="The file to compare with. [default: TANDEM_RULES, else no rules]")
    ] = None,
    talents: Annotated[list[str] | None, typer.Option("--talent", help="Whose jobs; may be given often.")] = None,
    jobs: Annotated[list[str] | None, typer.Option("--job", help="Whose talents; may be given often.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many subjects, where none is named.")] = 20,
    first: Annotated[int, typer.Option(min=1, max=500, help="Rows of each list that are looked at.")] = 20,
    placement: Annotated[str | None, typer.Option(help="Where the lists are shown.")] = None,
    at: AT = None,
) -> None:
    """Show what enters, leaves and moves in lists of today under a new rules file. Nothing is changed or logged."""
    from gateway.rules_file import read_rules

    settings = load_settings()
    rules_after = read_rules(new)
    old = against or settings.rules
    rules_before = () if old is None else read_rules(old)
    named = (tuple(talents or ()), tuple(jobs or ()))
    compared = asyncio.run(_compare(settings, rules_before, rules_after, named, sample, first, placement, _moment(at)))
    changed = [one for one in compared if one.changes]
    table = _table("List of", "Item", "Title", "Before", "After", "Because of")
    for one in changed:
        for change, title, why in one.changes:
            places = (str(change.before or NOTHING), str(change.after or NOTHING))
            table.add_row(one.subject, change.item_id, title, *places, why)
    _print(table, changed, "no list changes")
    entered = sum(1 for one in changed for change, _, _ in one.changes if _enters(change, first))
    left = sum(1 for one in changed for change, _, _ in one.changes if _leaves(change, first))
    moved = sum(len(one.changes) for one in changed) - entered - left
    typer.echo(
        f"{len(changed):,} of {len(compared):,} lists change in their first {first} rows: "
        f"{entered:,} items enter, {left:,} leave, {moved:,} move."
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """A rule and what it matches."""

    rule: Rule
    cells: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One list under both files. changes: each with the item's title and the rules that are about it."""

    subject: str
    changes: Sequence[tuple[Change, str, str]]


def _set_file(settings: Settings) -> Path:
    if settings.rules is None:
        raise BadInputError("name a rules file, or set TANDEM_RULES to one")
    return settings.rules


def _moment(at: str | None) -> int:
    from gateway.cli.evaluate import time_option

    found = time_option(at)
    return time.time_ns() // 1_000_000 if found is None else found


async def _check(settings: Settings, path: Path, now_ms: int) -> list[Looked]:
    from gateway.rules_file import in_words, read_rules
    from gateway.wiring import stores
    from recommender.documents import JobStatus, Kind
    from recommender.filters import JobFilter, TalentFilter
    from recommender.rules import RuleKind, ruled_out

    rules = read_rules(path)
    looked_at = []
    async with stores(settings, must_exist=True) as opened:
        mirrors = {kind: await opened.catalogue.mirror(kind) for kind in Kind}
        everybody = {
            Kind.TALENT: len(mirrors[Kind.TALENT].matching(TalentFilter(), now_ms)),
            Kind.JOB: len(mirrors[Kind.JOB].matching(JobFilter(statuses=tuple(JobStatus)), now_ms)),
        }
        for rule in rules:
            kind = rule.item_kind
            other = Kind.TALENT if kind is Kind.JOB else Kind.JOB
            listable = mirrors[kind].eligible(now_ms)
            matched = mirrors[kind].matching(rule.items, now_ms) & listable
            subjects = (
                everybody[other] if rule.subjects is None else len(mirrors[other].matching(rule.subjects, now_ms))
            )
            outs = [one for one in rules if one.item_kind is kind and one.subjects is None and not one.placements]
            problem = None
            if not matched:
                problem = f"matches no {kind.value} that can be listed; correct `match`, or drop it"
            elif not subjects:
                problem = f"is for no {other.value} that there is; correct `for`, or drop it"
            elif rule.kind is RuleKind.PIN and not matched - ruled_out(outs, mirrors[kind], now_ms):
                problem = "all that it pins is excluded by other rules; drop one of them"
            cells = (
                rule.name,
                rule.kind.value + _strength(rule),
                f"{kind.value}s",
                in_words(rule),
                "yes" if rule.holds_at(now_ms) else "no",
                f"{len(matched):,} of {len(listable):,}",
                f"{subjects:,} of {everybody[other]:,} {other.value}s"
                + (f", at {', '.join(rule.placements)}" if rule.placements else ""),
            )
            looked_at.append(Looked(rule, cells, problem))
    return looked_at


def _strength(rule: Rule) -> str:
    from recommender.rules import RuleKind

    if rule.kind is RuleKind.PIN:
        return f" to {rule.position}"
    if rule.kind is RuleKind.BOOST:
        factor = f" ×{rule.factor:g}" if rule.factor != 1 else ""
        return factor + (f" {rule.addition:+g}" if rule.addition else "")
    return ""


async def _compare(
    settings: Settings,
    before: Sequence[Rule],
    after: Sequence[Rule],
    named: tuple[Sequence[str], Sequence[str]],
    sample: int,
    first: int,
    placement: str | None,
    now_ms: int,
) -> list[Compared]:
    """Both versions of each list, down to where re-ranking ends, and what differs in the first rows."""
    from gateway.wiring import steering_of, stores
    from recommender.list_changes import changes_between
    from recommender.query import RankedPage
    from recommender.recommender import Recommender
    from recommender.rules import rules_for

    async with stores(settings, must_exist=True) as opened:
        queries = await _queries(opened, [*before, *after], named, sample, placement, now_ms)
        pages = []
        for rules in (before, after):
            recommender = Recommender(
                catalogue=opened.catalogue,
                events=opened.events,
                serving_log=_Unlogged(),
                models=opened.models,
                clock_ms=lambda: now_ms,
                new_id=lambda: "",
                steering=steering_of(settings, rules),
                mutual_weight=settings.mutual_weight,
            )
            await asyncio.to_thread(recommender.refresh_model)
            pages.append(await recommender.lists(queries))
        compared = []
        for query, old, new in zip(queries, *pages, strict=True):
            for answer in (old, new):
                if isinstance(answer, Exception):
                    raise answer
            if not isinstance(old, RankedPage) or not isinstance(new, RankedPage):
                raise BadInputError(f"there is no {query.subject_kind.value} {query.subject_id!r}")
            changes = changes_between([item.id for item in old.items], [item.id for item in new.items], first)
            mirror, subjects = old.context.mirror, await opened.catalogue.mirror(query.subject_kind)
            ordinals = mirror.ordinals_of([change.item_id for change in changes])
            documents = await opened.catalogue.get_many(query.item_kind, [one or 0 for one in ordinals])
            about = [
                (rule, mirror.matching(rule.items, now_ms))
                for rule in dict.fromkeys([*before, *after])
                if rule.holds_at(now_ms) and rule in rules_for([*before, *after], query, subjects, now_ms)
            ]
            compared.append(
                Compared(
                    f"{query.subject_kind.value} {query.subject_id}",
                    [
                        (change, _title(document), ", ".join(rule.name for rule, items in about if ordinal in items))
                        for change, document, ordinal in zip(changes, documents, ordinals, strict=True)
                    ],
                )
            )
        return compared


async def _queries(
    opened: Stores,
    rules: Iterable[Rule],
    named: tuple[Sequence[str], Sequence[str]],
    sample: int,
    placement: str | None,
    now_ms: int,
) -> list[ListQuery]:
    """The lists of the named subjects, else of some, at even distances, for each kind of list that a rule is about."""
    from recommender.documents import JobStatus, Kind
    from recommender.filters import JobFilter, TalentFilter
    from recommender.query import ListQuery, Mode, Options
    from recommender.retrieval import ordinals_from_bitmap
    from recommender.steering import DEPTH

    chosen = {Kind.TALENT: list(named[0]), Kind.JOB: list(named[1])}
    if not any(named):
        about = {rule.item_kind for rule in rules}
        for kind, everybody, items in (
            (Kind.TALENT, TalentFilter(), Kind.JOB),
            (Kind.JOB, JobFilter(statuses=(JobStatus.OPEN, JobStatus.DRAFT)), Kind.TALENT),
        ):
            if items in about:
                mirror = await opened.catalogue.mirror(kind)
                there = ordinals_from_bitmap(mirror.matching(everybody, now_ms))
                chosen[kind] = mirror.ids_of(there[:: max(1, -(-len(there) // sample))])
    return [
        ListQuery(
            mode=Mode.RECOMMENDED,
            subject_kind=kind,
            subject_id=subject_id,
            filter=JobFilter() if kind is Kind.TALENT else TalentFilter(),
            options=Options(placement=placement),
            first=DEPTH,
        )
        for kind, ids in chosen.items()
        for subject_id in ids
    ]


class _Unlogged:
    """A serving log that keeps nothing: nobody is shown these lists."""

    async def append(self, served: Sequence[ServedList]) -> None:
        """See ServingLog."""

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """See ServingLog."""
        return [None] * len(request_ids)

    async def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """See ServingLog."""
        nothing: Sequence[Sequence[ServedList]] = ()
        for batch in nothing:
            yield batch


def _title(document: Document | None) -> str:
    return (document.title if document is not None else None) or NOTHING


def _enters(change: Change, first: int) -> bool:
    return (change.before or first + 1) > first and change.after is not None and change.after <= first


def _leaves(change: Change, first: int) -> bool:
    return (change.after or first + 1) > first


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*headings, box=box.SIMPLE_HEAD)


def _print(table: Table, rows: Sequence[object], otherwise: str) -> None:
    from rich.console import Console

    if not rows:
        typer.echo(otherwise)
        return
    # A title may hold what reads as markup.
    Console(width=None if sys.stdout.isatty() else ANY_WIDTH, markup=False, emoji=False).print(table)
