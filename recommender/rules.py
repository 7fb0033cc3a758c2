"""Business rules: what a product team keeps out of lists, pins into them or boosts within them, for whom and when."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pyroaring import BitMap

from recommender.documents import Changes, Kind, Talent
from recommender.filters import Filter, JobFilter
from recommender.mirror import Mirror
from recommender.query import ListQuery, Mode, Profile

_ANYBODY: Final = 1  # ordinal of a profile that is looked at as if it were a talent of the catalogue


class RuleKind(enum.Enum):
    """EXCLUDE keeps items out of the candidates; PIN gives one a row; BOOST raises or lowers what it matches."""

    EXCLUDE = "exclude"
    PIN = "pin"
    BOOST = "boost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Its items decide in which lists it stands: jobs are listed for talents, talents for jobs.

    items: what it is about. subjects: whose lists, of the other kind; None is everybody's, and similar items', too.
    placements: where; empty is everywhere. from_ms, until_ms: when; from on, and until before.
    position: of a PIN, from 1. factor, addition: of a BOOST; see `steering.standings`.
    """

    name: str
    kind: RuleKind
    items: Filter
    subjects: Filter | None = None
    placements: tuple[str, ...] = ()
    from_ms: int | None = None
    until_ms: int | None = None
    position: int = 1
    factor: float = 1.0
    addition: float = 0.0

    @property
    def item_kind(self) -> Kind:
        """What the lists that it stands in are made of."""
        return Kind.JOB if isinstance(self.items, JobFilter) else Kind.TALENT

    def holds_at(self, as_of_ms: int) -> bool:
        """Whether it is in force then."""
        is_begun = self.from_ms is None or self.from_ms <= as_of_ms
        return is_begun and (self.until_ms is None or as_of_ms < self.until_ms)


def needs_subject(rules: Sequence[Rule], query: ListQuery) -> bool:
    """Whether the subject must be looked at to tell which rules are for the list."""
    return any(rule.subjects is not None and _may_concern(rule, query) for rule in rules)


def rules_for(rules: Sequence[Rule], query: ListQuery, subjects: Mirror | None, as_of_ms: int) -> tuple[Rule, ...]:
    """The rules that are for a list, in force or not. subjects: the subject's kind, where `needs_subject` says so."""
    return tuple(rule for rule in rules if _may_concern(rule, query) and _is_for(rule, query, subjects, as_of_ms))


def _may_concern(rule: Rule, query: ListQuery) -> bool:
    is_there = not rule.placements or query.options.placement in rule.placements
    return is_there and rule.item_kind is query.item_kind and (rule.subjects is None or query.mode is Mode.RECOMMENDED)


def _is_for(rule: Rule, query: ListQuery, subjects: Mirror | None, as_of_ms: int) -> bool:
    if rule.subjects is None:
        return True
    if query.subject_id is None:
        return bool(_alone(query.profile or Profile()).matching(rule.subjects, as_of_ms))
    if subjects is None or (rule.subjects.ids is not None and query.subject_id not in rule.subjects.ids):
        return False
    return bool(subjects.matching(replace(rule.subjects, ids=(query.subject_id,)), as_of_ms))


def _alone(profile: Profile) -> Mirror:
    """A profile as the only talent there is: filters mean the same for somebody without an account."""
    mirror = Mirror(Kind.TALENT)
    somebody = Talent(
        ordinal=_ANYBODY,
        talent_id="",
        skills=profile.skills,
        category=profile.category,
        country=profile.country,
        level=profile.level,
    )
    mirror.apply(Changes(1, [somebody], ()))
    return mirror


def in_force(rules: Sequence[Rule], kind: RuleKind, as_of_ms: int) -> list[Rule]:
    """The rules of a kind that hold then, in their order."""
    return [rule for rule in rules if rule.kind is kind and rule.holds_at(as_of_ms)]


def ruled_out(rules: Sequence[Rule], items: Mirror, as_of_ms: int) -> BitMap:
    """Everything that the rules keep out."""
    excluding = in_force(rules, RuleKind.EXCLUDE, as_of_ms)
    return BitMap.union(BitMap(), *(items.matching(rule.items, as_of_ms) for rule in excluding))


def excluding_rule(rules: Sequence[Rule], items: Mirror, ordinal: int, as_of_ms: int) -> Rule | None:
    """The first rule that keeps an item out; None when none does."""
    excluding = in_force(rules, RuleKind.EXCLUDE, as_of_ms)
    return next((rule for rule in excluding if ordinal in items.matching(rule.items, as_of_ms)), None)
