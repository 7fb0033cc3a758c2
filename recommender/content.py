"""What a subject says of itself, as weighted traits that items may share: the score when no behaviour speaks.

Weights are whole units, so that popularity (below one unit) only orders items that share equally much, and so that a
few new documents do not shift every score.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import Final

import numpy as np
from pyroaring import BitMap

from recommender.columns import ordinals_in
from recommender.documents import Document, Kind, Level, Talent
from recommender.filters import Filter, JobFilter, TalentFilter, TermFilter
from recommender.model import Side
from recommender.query import Profile
from recommender.scoring import Bias, Scores, Sparse
from recommender.text import fold, terms

MOST_SKILLS: Final = 50  # nobody has more to say; bounds the work of one hostile document
MOST_EMPTY: Final = 16  # places of a table for each holder
MOST_TITLE_TERMS: Final = 8  # "Senior Kubernetes Platform Engineer (Remote)" has five


class TraitField(enum.Enum):
    """Where a trait is looked for. TITLE looks for a word of the subject's title in all of the item's text."""

    SKILLS = "skills"
    CATEGORY = "category"
    COUNTRY = "country"
    LEVEL = "level"
    TITLE = "title"


# Units per unit of rarity. What one can do and in which trade counts twice a word of a title.
_BY_RARITY = {TraitField.SKILLS: 2, TraitField.CATEGORY: 2, TraitField.TITLE: 1}


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that a subject and an item may share; the value is folded (a search term for TITLE)."""

    field: TraitField
    value: str

    def request(self, kind: Kind) -> tuple[Filter, str | None]:
        """The filter and text that the items which have the trait match."""
        wanted: Filter = JobFilter() if kind is Kind.JOB else TalentFilter()
        match self.field:
            case TraitField.SKILLS:
                return replace(wanted, skills=TermFilter(all=(self.value,))), None
            case TraitField.CATEGORY:
                return replace(wanted, categories=(self.value,)), None
            case TraitField.COUNTRY:
                return replace(wanted, countries=(self.value,)), None
            case TraitField.LEVEL:
                return replace(wanted, levels=(Level(self.value.upper()),)), None
            case TraitField.TITLE:
                return wanted, self.value


@dataclass(frozen=True, slots=True)
class WeightedTrait:
    """A trait and how many units an item that has it gets."""

    trait: Trait
    units: int


def traits_from(subject: Document | Profile | None) -> tuple[Trait, ...]:
    """What is known of the subject, each trait once; nothing for None."""
    if subject is None:
        return ()
    found = [Trait(TraitField.SKILLS, fold(skill)) for skill in subject.skills[:MOST_SKILLS] if skill]
    if subject.category:
        found.append(Trait(TraitField.CATEGORY, fold(subject.category)))
    if subject.country:
        found.append(Trait(TraitField.COUNTRY, fold(subject.country)))
    if subject.level:
        found.append(Trait(TraitField.LEVEL, fold(subject.level.value)))
    if not isinstance(subject, Profile) and subject.title:
        found += [Trait(TraitField.TITLE, term) for term in terms(subject.title)[:MOST_TITLE_TERMS]]
    return tuple(dict.fromkeys(found))


def as_document(subject: Document | Profile) -> Document:
    """A profile as the talent it describes."""
    if not isinstance(subject, Profile):
        return subject
    return Talent(
        ordinal=0,
        talent_id="",
        skills=subject.skills,
        category=subject.category,
        country=subject.country,
        level=subject.level,
    )


def weigh(traits: Sequence[Trait], postings: Mapping[Trait, BitMap], population: BitMap) -> tuple[WeightedTrait, ...]:
    """Units of each trait that somebody in the population has: 1 for a country or level, else by rarity.

    Rarity is the inverse document frequency log2(N/n), rounded to a whole number of at least 1.
    """
    weighted = []
    for trait in traits:
        holders = postings[trait].intersection_cardinality(population)
        if holders:
            rarity = max(1, round(log2(len(population) / holders)))
            weighted.append(WeightedTrait(trait, _BY_RARITY[trait.field] * rarity if trait.field in _BY_RARITY else 1))
    return tuple(weighted)


def content_term(
    weighted: Sequence[WeightedTrait], postings: Mapping[Trait, BitMap], among: BitMap | None = None
) -> Sparse:
    """Units that each holder of a trait shares. among: those of whom it is wanted; None for all.

    Units are whole, so that their sums are the same in whatever order.
    """
    holders = [postings[item.trait] if among is None else postings[item.trait] & among for item in weighted]
    every = BitMap.union(BitMap(), *holders)
    ordinals = ordinals_in(every)
    # A table is quicker where it is full, and as long as the catalogue where it is not.
    is_dense = bool(every) and every.max() < MOST_EMPTY * len(every)
    values = np.zeros(int(every.max()) + 1 if is_dense else len(every))
    for found, item in zip(holders, weighted, strict=True):
        theirs = ordinals_in(found)
        values[theirs if is_dense else np.searchsorted(ordinals, theirs)] += item.units
    return Sparse("content", ordinals, values[ordinals] if is_dense else values)


def popularity_bias(side: Side, most: float = 0.5) -> Bias:
    """Decayed popularity scaled into [0, most]: by default it never outweighs one unit of content."""
    popularity: Scores = np.maximum(side.popularity.astype(np.float64), 0.0)
    largest = float(popularity.max(initial=0.0))
    return Bias("popularity", popularity / largest * most if largest > 0 else popularity)
