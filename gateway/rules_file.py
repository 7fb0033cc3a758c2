"""The rules file: what a product team writes, read into the recommender's rules, and read again when it changes."""

from __future__ import annotations

import asyncio
import math
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from recommender.documents import BudgetType, JobStatus, Kind, Level
from recommender.errors import BadInputError, TandemError
from recommender.filters import AttributeFilter, Filter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.rules import Rule, RuleKind
from recommender.steering import DEPTH

T = TypeVar("T")
Default = TypeVar("Default")
Member = TypeVar("Member", bound=Enum)

DAY_MS: Final = 86_400_000
POLL_SECONDS: Final = 1.0
MOST_RULES: Final = 1_000  # each is matched against the catalogue for each list that it is for
MOST_BYTES: Final = 1_000_000
LARGEST_FACTOR: Final = 100.0
_LISTS: Final = {"jobs": Kind.JOB, "talents": Kind.TALENT}
_OF_KIND: Final = {"position": RuleKind.PIN, "factor": RuleKind.BOOST, "add": RuleKind.BOOST}

_log = structlog.get_logger("tandem.rules")


class RulesError(TandemError):
    """A rules file cannot be used. One line that names the file, the rule and the key, and says what to do."""


class RulesFile:
    """The rules file of a process. `rules` are of its last good version; `problem` says what is wrong with a newer one.

    Raises RulesError when the first version cannot be used: to serve without rules that exclude would be worse.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._seen = _signature(path)
        self.rules = read_rules(path)

    def refresh(self) -> bool:
        """Read the file when it has changed; whether there are other rules now. Blocks."""
        seen = _signature(self.path)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            rules = read_rules(self.path)
        except RulesError as error:
            self.problem = str(error)
            _log.error("rules refused", reason=self.problem, kept=len(self.rules))
            return False
        self.problem = None
        is_other = rules != self.rules
        self.rules = rules
        if is_other:
            _log.info("rules changed", rules=len(rules))
        return is_other


async def follow_rules(file: RulesFile, steer: Callable[[Sequence[Rule]], None], every: float = POLL_SECONDS) -> None:
    """Hand over the rules whenever the file has others, for ever."""
    while True:
        await asyncio.sleep(every)
        if await asyncio.to_thread(file.refresh):
            steer(file.rules)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, in its order. Raises RulesError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RulesError(
            f"{path}: {(error.strerror or str(error)).lower()}; correct TANDEM_RULES or the file"
        ) from error
    if len(content) > MOST_BYTES:
        raise RulesError(f"{path}: at most {MOST_BYTES:,} bytes")
    try:
        return rules_from(tomllib.loads(content.decode()))
    except UnicodeDecodeError as error:
        raise RulesError(f"{path}: the file must be UTF-8; it is not at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{path}: not TOML: {error}") from error
    except BadInputError as error:
        raise RulesError(f"{path}: {error}") from error


def rules_from(document: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules of a parsed file. Raises BadInputError that names rule and key."""
    top = _Table("", document)
    tables = top.take("rule", _tables, None) or []
    top.end()
    if len(tables) > MOST_RULES:
        raise BadInputError(f"at most {MOST_RULES:,} rules; there are {len(tables):,}")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        if not isinstance(name, str) or not name.strip():
            raise BadInputError(f'rule {number}: name: every rule needs one, in quotes, such as "Spring campaign"')
        rule = _rule(_Table(f"rule “{name}”", table))
        if any(rule.name == other.name for other in rules):
            raise BadInputError(f"rule “{name}”: name: another rule has it; give each its own")
        rules.append(rule)
    _check_pins(rules)
    return tuple(rules)


def _rule(table: _Table) -> Rule:
    name = table.take("name", _text, "")
    kind = table.need("kind", lambda value: _one_of(value, {kind.value: kind for kind in RuleKind}))
    listed = table.take("list", lambda value: _one_of(value, _LISTS), Kind.JOB)
    starts_ms = table.take("from", lambda value: _moment(value, is_end=False), None)
    ends_ms = table.take("until", lambda value: _moment(value, is_end=True), None)
    if starts_ms is not None and ends_ms is not None and ends_ms <= starts_ms:
        raise table.wrong("until", "must be later than `from`")
    for key, of_kind in _OF_KIND.items():
        if key in table and of_kind is not kind:
            raise table.wrong(key, f"belongs to a {of_kind.value}, and this is a rule of kind {kind.value}")
    other = Kind.TALENT if listed is Kind.JOB else Kind.JOB
    items, subjects = table.table("match"), table.table("for")
    if items is None:
        raise table.missing("match")
    rule = Rule(
        name=name,
        kind=kind,
        items=_filter(items, listed),
        subjects=None if subjects is None else _filter(subjects, other, tuple(JobStatus)),
        placements=table.take("placements", _texts, ()),
        from_ms=starts_ms,
        until_ms=ends_ms,
        position=table.need("position", _position) if kind is RuleKind.PIN else 1,
        factor=table.take("factor", _factor, 1.0),
        addition=table.take("add", _addition, 0.0),
    )
    table.end()
    if kind is RuleKind.BOOST and rule.factor == 1.0 and rule.addition == 0.0:
        raise table.wrong("factor", "a boost needs a `factor` other than 1 or an `add` other than 0")
    return rule


def _check_pins(rules: Sequence[Rule]) -> None:
    """Raises BadInputError for a pin of what a rule that is in force with it excludes."""
    for pin in rules:
        if pin.kind is not RuleKind.PIN:
            continue
        for out in rules:
            if out.kind is RuleKind.EXCLUDE and _covers(out, pin):
                raise BadInputError(
                    f"rule “{pin.name}”: match: what it pins is excluded by rule “{out.name}”; drop one of the two, or "
                    "part them by `from` and `until`"
                )


def _covers(out: Rule, pin: Rule) -> bool:
    """Whether an exclusion surely takes all that a pin matches, in some list at some time."""
    if out.item_kind is not pin.item_kind or not _meet_in_time(out, pin):
        return False
    if out.subjects not in (None, pin.subjects) or (
        out.placements and not (pin.placements and set(pin.placements) <= set(out.placements))
    ):
        return False
    if out.items == pin.items:
        return True
    takes_ids_alone = out.items.ids is not None and out.items == type(out.items)(ids=out.items.ids)
    return takes_ids_alone and pin.items.ids is not None and set(pin.items.ids) <= set(out.items.ids or ())


def _meet_in_time(one: Rule, other: Rule) -> bool:
    starts = [rule.from_ms for rule in (one, other) if rule.from_ms is not None]
    ends = [rule.until_ms for rule in (one, other) if rule.until_ms is not None]
    return not starts or not ends or max(starts) < min(ends)


# --- filters ----------------------------------------------------------------------------------------------------------


def _filter(table: _Table, kind: Kind, statuses: tuple[JobStatus, ...] = ()) -> Filter:
    """The filter of a table, with the names of the GraphQL API's JobFilter and TalentFilter.

    statuses: of a job; no job but an open one is ever listed, but talents are listed for drafts, too.
    """
    if not table:
        raise table.wrong("", 'must name something, such as categories = ["Design"]')
    try:
        shared: dict[str, Any] = {
            "ids": table.take("ids", _ids, None),
            "exclude_ids": table.take("excludeIds", _ids, ()),
            "skills": _terms(table.table("skills")),
            "categories": table.take("categories", _texts, ()),
            "countries": table.take("countries", _texts, ()),
            "levels": table.take("levels", _levels, ()),
            "attributes": tuple(map(_attribute, table.tables("attributes"))),
        }
        found: Filter
        if kind is Kind.JOB:
            found = JobFilter(
                **shared,
                client_ids=table.take("clientIds", _ids, ()),
                is_remote=table.take("isRemote", _yes_or_no, None),
                posted_within_days=table.take("postedWithinDays", _days, None),
                pay=_pay(table.table("budget"), needs_type=True),
                statuses=statuses,
            )
        else:
            found = TalentFilter(
                **shared,
                is_available=table.take("isAvailable", _yes_or_no, None),
                joined_within_days=table.take("joinedWithinDays", _days, None),
                pay=_pay(table.table("hourlyRate"), needs_type=False),
            )
    except BadInputError as error:
        if str(error).startswith("rule "):
            raise
        raise table.wrong("", str(error)) from error
    table.end()
    if found in (JobFilter(statuses=statuses), TalentFilter()):
        raise table.wrong("", "must name something; empty lists match everything")
    return found


def _terms(table: _Table | None) -> TermFilter:
    if table is None:
        return TermFilter()
    found = TermFilter(
        all=table.take("all", _texts, ()), any=table.take("any", _texts, ()), none=table.take("none", _texts, ())
    )
    table.end()
    return found


def _attribute(table: _Table) -> AttributeFilter:
    found = AttributeFilter(
        name=table.need("name", _text),
        any=table.take("in", _texts, ()),
        min=table.take("min", _number, None),
        max=table.take("max", _number, None),
    )
    table.end()
    return found


def _pay(table: _Table | None, *, needs_type: bool) -> PayFilter | None:
    if table is None:
        return None
    found = PayFilter(
        currency=table.need("currency", _currency),
        min=table.take("min", _number, None),
        max=table.take("max", _number, None),
        include_unknown=table.take("includeUnknown", _yes_or_no, False),
        budget_type=table.need("type", lambda value: _member(value, BudgetType)) if needs_type else None,
    )
    table.end()
    return found


# --- values -----------------------------------------------------------------------------------------------------------


class _Table:
    """A table of the file whose keys are taken one by one; `end` complains of those that nobody took."""

    def __init__(self, where: str, content: dict[str, Any]) -> None:
        self._where = where
        self._content = content
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def __bool__(self) -> bool:
        return bool(self._content)

    def take(self, key: str, read: Callable[[Any], T], default: Default) -> T | Default:
        """A value, or the default where the key is absent. Raises BadInputError that names the key."""
        self._known.append(key)
        if key not in self._content:
            return default
        try:
            return read(self._content[key])
        except _Wrong as problem:
            raise self.wrong(key, f"{problem}; got {_shown(self._content[key])}") from None

    def need(self, key: str, read: Callable[[Any], T]) -> T:
        """A value that must be there."""
        found = self.take(key, read, None)
        if found is None:
            raise self.missing(key)
        return found

    def missing(self, key: str) -> BadInputError:
        """The error of a key that is not there."""
        return self.wrong(key, "is missing")

    def table(self, key: str) -> _Table | None:
        """The table under a key; None where there is none."""
        found = self.take(key, _table, None)
        return None if found is None else _Table(self._path(key), found)

    def tables(self, key: str) -> list[_Table]:
        """The tables of a list."""
        return [_Table(self._path(key), found) for found in self.take(key, _tables, None) or ()]

    def end(self) -> None:
        """Raises BadInputError for the first key that is not known."""
        for key in self._content:
            if key not in self._known:
                close = get_close_matches(key, self._known, 1)
                meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(self._known)}"
                raise self.wrong(key, f"no such key; {meant}")

    def wrong(self, key: str, what: str) -> BadInputError:
        """The error of a key."""
        return BadInputError(": ".join(part for part in (self._path(key), what) if part))

    def _path(self, key: str) -> str:
        if not self._where or not key:
            return self._where or key
        return f"{self._where}: {key}" if self._where.endswith("”") else f"{self._where}.{key}"


class _Wrong(Exception):  # noqa: N818 — it never leaves this file
    """A value is none of what its key takes; says what it takes."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong('a text in quotes, such as "home"')
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise _Wrong('a list of texts, such as ["Design", "Data Science"]')
    return tuple(value)


def _ids(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, list) and all(isinstance(one, str | int) and not isinstance(one, bool) for one in value)
    if not is_list or not value or not all(str(one) for one in value):
        raise _Wrong('a list of ids, such as ["j-17", "j-18"]')
    return tuple(str(one) for one in value)  # an integer is decimal text, as in imported files


def _one_of(value: Any, choices: dict[str, T]) -> T:
    if not isinstance(value, str) or value.strip().lower() not in choices:
        raise _Wrong(f"one of {', '.join(choices)}")
    return choices[value.strip().lower()]


def _member(value: Any, members: type[Member]) -> Member:
    return _one_of(value, {member.name.lower(): member for member in members})


def _levels(value: Any) -> tuple[Level, ...]:
    return tuple(_member(one, Level) for one in _texts(value))


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Wrong("a number")
    return float(value)


def _days(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Wrong("a whole number of days from 0")
    return value


def _position(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= DEPTH:
        raise _Wrong(f"a row from 1 to {DEPTH}")
    return value


def _factor(value: Any) -> float:
    if not 0 < (found := _number(value)) <= LARGEST_FACTOR:
        raise _Wrong(f"a number above 0 and up to {LARGEST_FACTOR:g}")
    return found


def _addition(value: Any) -> float:
    if not -1 <= (found := _number(value)) <= 1:
        raise _Wrong("a number from -1 to 1")
    return found


def _currency(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 3 or not (value.isascii() and value.isalpha()):
        raise _Wrong('three letters such as "USD"')
    return value.upper()


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong('a table, such as { categories = ["Design"] }')
    return value


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _Wrong("a list of tables; in front of each rule stands [[rule]]")
    return value


def _moment(value: Any, *, is_end: bool) -> int:
    """Epoch milliseconds. A day alone is whole: it begins at its first moment, and ends at its last. Naive is UTC."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC) + timedelta(days=1 if is_end else 0)
    if not isinstance(value, datetime):
        raise _Wrong("a day or a time in UTC, such as 2026-03-01 or 2026-03-01T08:00:00Z")
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return round(moment.timestamp() * 1000)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, date | datetime) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def in_words(rule: Rule) -> str:
    """When a rule holds, as people say it: by days, the last one whole, where it begins and ends with days."""
    starts = "" if rule.from_ms is None else _day(rule.from_ms)
    # What ends with a day ends at the first moment of the next one.
    ends = "" if rule.until_ms is None else _day(rule.until_ms - (DAY_MS if rule.until_ms % DAY_MS == 0 else 0))
    if starts and ends:
        return f"{starts} to {ends}"
    return f"from {starts}" if starts else f"until {ends}" if ends else "always"


def _day(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%d}" if time_ms % DAY_MS == 0 else f"{moment:%Y-%m-%d %H:%M}"
