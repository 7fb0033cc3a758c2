"""Why a pair is recommended: structured, and said in English to the person whose list it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from recommender.content import Trait, TraitField
from recommender.documents import BudgetType, Document, Job, Kind, Side, Talent
from recommender.events import RULES, Event, EventType, in_force
from recommender.query import Profile, Reason, ReasonKind
from recommender.text import fold

NEW_DAYS: Final = 7
DAY_MS: Final = 86_400_000
NAMED_SKILLS: Final = 3  # a sentence with more is a list

# What may be said of an acted-on pair, by who did what. A client's views and shortlists are not the talent's to know,
# nor a talent's views and saves the client's.
_TOLD_TO_TALENT: Final = {
    (Side.TALENT, EventType.VIEW): "Because you viewed “{}”",
    (Side.TALENT, EventType.SAVE): "Because you saved “{}”",
    (Side.TALENT, EventType.APPLY): "Because you applied to “{}”",
    (Side.TALENT, EventType.ACCEPT): "Because you accepted “{}”",
    (Side.CLIENT, EventType.INVITE): "Because you were invited to “{}”",
    (Side.CLIENT, EventType.INTERVIEW): "Because you were interviewed for “{}”",
    (Side.CLIENT, EventType.OFFER): "Because you were offered “{}”",
    (Side.CLIENT, EventType.HIRE): "Because you were hired for “{}”",
}
_TOLD_TO_CLIENT: Final = {
    (Side.CLIENT, EventType.VIEW): "Similar to a talent you viewed for “{}”",
    (Side.CLIENT, EventType.SHORTLIST): "Similar to a talent you shortlisted for “{}”",
    (Side.CLIENT, EventType.INVITE): "Similar to a talent you invited to “{}”",
    (Side.CLIENT, EventType.INTERVIEW): "Similar to a talent you interviewed for “{}”",
    (Side.CLIENT, EventType.OFFER): "Similar to a talent you made an offer for “{}”",
    (Side.CLIENT, EventType.HIRE): "Similar to a talent you hired for “{}”",
    (Side.TALENT, EventType.APPLY): "Similar to a talent who applied to “{}”",
    (Side.TALENT, EventType.ACCEPT): "Similar to a talent who accepted “{}”",
}
_TOLD_TO_PROFILE: Final = "Because you like “{}”"


@dataclass(frozen=True, slots=True)
class ActedOn:
    """An item of the history that speaks for a recommendation: what was done, and between whom.

    template: a sentence with a place for the job's title.
    """

    template: str
    job: Job
    talent: Talent | None  # None when the list is the talent's own

    @property
    def reason(self) -> Reason:
        """The reason in full."""
        return Reason(
            ReasonKind.SIMILAR_TO_ACTED_ON,
            self.template.format(self.job.title or self.job.job_id),
            job_ordinals=(self.job.ordinal,),
            talent_ordinals=() if self.talent is None else (self.talent.ordinal,),
        )


def told_of(pair: Iterable[Event], item_kind: Kind) -> str | None:
    """The sentence for the strongest event in force that the list's owner may know of; None when there is none."""
    table = _TOLD_TO_TALENT if item_kind is Kind.JOB else _TOLD_TO_CLIENT
    known = [event for event in in_force(pair) if (event.actor, event.type) in table]
    if not known:
        return None
    strongest = max(known, key=lambda event: RULES[event.type].weight)
    return table[strongest.actor, strongest.type]


def told_to_profile() -> str:
    """The sentence for a job that an anonymous person likes."""
    return _TOLD_TO_PROFILE


def reasons_for(
    subject: Document | Profile | None,
    item: Document,
    acted_on: ActedOn | None,
    *,
    is_popular: bool,
    now_ms: int,
    is_likely: bool = False,
) -> list[Reason]:
    """All that speaks for an item, most telling first. `subject` is None when nothing is known of it."""
    found = [
        acted_on.reason if acted_on is not None else None,
        shared_skills(subject, item) if subject is not None else None,
        _category(subject, item) if subject is not None else None,
        _pay(subject, item),
        _level(subject, item) if subject is not None else None,
        _new(item, now_ms),
        _likely(item) if is_likely else None,
        _popular(item) if is_popular else None,
    ]
    return [reason for reason in found if reason is not None]


def reason_of_trait(trait: Trait, item: Document) -> Reason | None:
    """What one shared trait says; None for a country or a word of a title, which are no reasons by themselves."""
    match trait.field:
        case TraitField.SKILLS:
            skill = next((skill for skill in item.skills if fold(skill) == trait.value), trait.value)
            return Reason(ReasonKind.SHARED_SKILLS, f"Shares {skill}", skills=(skill,))
        case TraitField.CATEGORY:
            return Reason(ReasonKind.CATEGORY, f"In the same field: {item.category}")
        case TraitField.LEVEL:
            return Reason(ReasonKind.LEVEL_FITS, f"At the same level: {trait.value}")
    return None


def shared_skills(subject: Document | Profile, item: Document) -> Reason | None:
    """The skills that both name, as the item spells them; None when there are none."""
    asked = {fold(skill) for skill in subject.skills}
    shared = tuple({fold(skill): skill for skill in reversed(item.skills) if fold(skill) in asked}.values())[::-1]
    if not shared:
        return None
    return Reason(ReasonKind.SHARED_SKILLS, f"Shares {_listed(shared)}", skills=shared)


def _listed(words: Sequence[str]) -> str:
    if len(words) > NAMED_SKILLS:
        words = [*words[:NAMED_SKILLS], f"{len(words) - NAMED_SKILLS} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _category(subject: Document | Profile, item: Document) -> Reason | None:
    if not subject.category or not item.category or fold(subject.category) != fold(item.category):
        return None
    return Reason(ReasonKind.CATEGORY, f"In the same field: {item.category}")


def _pay(subject: Document | Profile | None, item: Document) -> Reason | None:
    """An hourly rate against an hourly budget of the same currency; nothing else compares."""
    match subject, item:
        case (Talent() as talent, Job() as job) | (Job() as job, Talent() as talent):
            rate, budget = talent.hourly_rate, job.budget
        case _:
            return None
    if rate is None or budget is None or budget.type is not BudgetType.HOURLY or rate.currency != budget.currency:
        return None
    most = budget.max if budget.max is not None else budget.min  # without an upper end, only the lower one is sure
    if most is None or rate.amount > most:
        return None
    if item is job:
        bound = "from" if budget.max is None else "up to"
        pay = f"{_money(most)} {budget.currency}"
        text = f"Pays {bound} {pay} an hour, your rate is {_money(rate.amount)} {rate.currency}"
    else:
        text = f"Asks for {_money(rate.amount)} {rate.currency} an hour, within your budget"
    return Reason(ReasonKind.PAY_FITS, text)


def _money(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _level(subject: Document | Profile, item: Document) -> Reason | None:
    if subject.level is None or item.level is None or subject.level is not item.level:
        return None
    return Reason(ReasonKind.LEVEL_FITS, f"At the same level: {item.level.value.lower()}")


def _new(item: Document, now_ms: int) -> Reason | None:
    since = item.posted_at_ms if isinstance(item, Job) else item.created_at_ms
    if since is None or not 0 <= now_ms - since <= NEW_DAYS * DAY_MS:
        return None
    days = (now_ms - since) // DAY_MS
    when = "today" if days == 0 else "yesterday" if days == 1 else f"{days} days ago"
    return Reason(ReasonKind.NEW, f"{'Posted' if isinstance(item, Job) else 'Joined'} {when}")


def _likely(item: Document) -> Reason:
    text = "The client is likely to answer" if isinstance(item, Job) else "Likely to be interested"
    return Reason(ReasonKind.LIKELY_TO_ACCEPT, text)


def _popular(item: Document) -> Reason:
    with_whom = "Popular with talents" if isinstance(item, Job) else "Popular with clients"
    return Reason(ReasonKind.POPULAR, with_whom)
