"""What is sent to Elasticsearch about vectors, built by pure functions: mapping, rows, filters and kNN searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.adapters.elasticsearch.bodies import Body, derived, derived_fields
from gateway.adapters.elasticsearch.records import Record
from gateway.adapters.term_postings import HEAVIEST
from recommender.documents import BudgetType, Kind
from recommender.filters import Filter, JobFilter, PayFilter
from recommender.mirror import DAY_MS
from recommender.text import fold, terms

SCHEMA = 1
STATE = "state"  # the id of the one document that is no row: how far the index has followed the catalogue
MOST_CANDIDATES = 10_000  # what Elasticsearch lets one search look at

MarkOf = Callable[[str], str]


def template(pattern: str) -> Body:
    """The index template of every vectors index: nothing is made by writing to it."""
    return {"index_patterns": [pattern], "allow_auto_create": False, "template": {}}


def index(kind: Kind, version: str, width: int, options: Mapping[str, Any], similarity: str = "dot_product") -> Body:
    """One index of one model's rows. width: of the vectors, which have length 1; options: how they are indexed."""
    vector = {
        "type": "dense_vector",
        "dims": width,
        "index": True,
        "similarity": similarity,
        "index_options": dict(options),
    }
    return {
        "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"},
        "mappings": {
            "dynamic": "strict",
            "_meta": {"tandem": {"schema": SCHEMA, "kind": f"{kind.value} vectors", "model": version}},
            "_source": {"includes": ["followed"]},
            "properties": {
                "ordinal": {"type": "long"},
                "vector": vector,
                "followed": {"type": "object", "enabled": False},
                **derived_fields(kind),
            },
        },
    }


def row(index_name: str, kind: Kind, record: Record, vector: Sequence[float]) -> list[Body]:
    """Two lines of a bulk: a live document's row and what it can be filtered by, unless a later state is there."""
    assert record.stored is not None  # noqa: S101
    target = _versioned(index_name, record)
    return [{"index": target}, {"ordinal": record.ordinal, "vector": vector, **derived(kind, record.stored)}]


def no_row(index_name: str, record: Record) -> list[Body]:
    """Two lines of a bulk: nothing in the place of a document that is gone, unless a later state is there."""
    return [{"index": _versioned(index_name, record)}, {}]


def followed(index_name: str, revision: int) -> list[Body]:
    """Two lines of a bulk: how far the index has followed, unless it is further by now."""
    target = {"_index": index_name, "_id": STATE, "version": max(1, revision), "version_type": "external"}
    return [{"index": target}, {"followed": {"revision": revision}}]


def measured(meta: Mapping[str, Any], recall: float) -> Body:
    """What the mapping says of an index that is complete: `meta` and its recall."""
    return {"tandem": {**meta["tandem"], "recall": recall}}


def _versioned(index_name: str, record: Record) -> Body:
    # Revisions only grow, so any number of processes may send the same changes: the first one counts.
    return {"_index": index_name, "_id": record.mark, "version": record.revision, "version_type": "external"}


def clauses(
    kind: Kind, wanted: Filter, text: str | None, excluded: Sequence[int], as_of_ms: int, mark_of: MarkOf
) -> list[Body] | None:
    """Query clauses, to be ANDed, that hold for exactly the eligible documents of a filter and text.

    excluded: ordinals that are left out. None for a filter that the index has no fields for: a numeric range of an
    attribute.
    """
    if any(clause.min is not None or clause.max is not None for clause in wanted.attributes):
        return None
    found: list[Body] = [_one_of("skills", [fold(skill)]) for skill in wanted.skills.all]
    either = {
        "skills": [fold(skill) for skill in wanted.skills.any],
        "category": [fold(name) for name in wanted.categories],
        "country": [fold(name) for name in wanted.countries],
        "level": [fold(level.value) for level in wanted.levels],
    }
    found += [_one_of(name, values) for name, values in either.items() if values]
    found += [
        _one_of("attributes", [f"{clause.name}\0{fold(value)}" for value in clause.any])
        for clause in wanted.attributes
        if clause.any
    ]
    if wanted.ids is not None:
        found.append(_named(wanted.ids, mark_of))
    if wanted.pay is not None:
        found.append(_pays(wanted.pay))
    found += [_one_of("terms", [f"{weight}{term}" for weight in range(1, HEAVIEST + 1)]) for term in terms(text or "")]
    found += _of_kind(kind, wanted, as_of_ms)
    without: list[Body] = []
    if wanted.exclude_ids:
        without.append(_named(wanted.exclude_ids, mark_of))
    if excluded:
        without.append({"terms": {"ordinal": list(excluded)}})
    if wanted.skills.none:
        without.append(_one_of("skills", [fold(skill) for skill in wanted.skills.none]))
    if kind is Kind.JOB:
        without.append({"range": {"expires_at_ms": {"lte": as_of_ms}}})
    return [*found, {"bool": {"must_not": without}}] if without else found


def _of_kind(kind: Kind, wanted: Filter, as_of_ms: int) -> list[Body]:
    """The clauses of one kind alone; those of eligibility first, and expiry apart from them."""
    found: list[Body] = []
    if wanted.within_days is not None:
        found.append({"range": {"since_ms": {"gte": as_of_ms - wanted.within_days * DAY_MS}}})
    if not isinstance(wanted, JobFilter):
        if wanted.is_available is not None:
            found.append({"term": {"is_available": wanted.is_available}})
        return [{"term": {"is_available": True}}, *found]
    found.append(_one_of("status", ["OPEN"]))
    if wanted.statuses:
        found.append(_one_of("status", [status.value for status in wanted.statuses]))
    if wanted.client_ids:
        found.append(_one_of("client_id", wanted.client_ids))
    if wanted.is_remote is not None:
        found.append({"term": {"is_remote": wanted.is_remote}})
    return found


def _one_of(field: str, values: Sequence[str]) -> Body:
    return {"terms": {field: list(values)}}


def _named(ids: Sequence[str], mark_of: MarkOf) -> Body:
    return {"ids": {"values": [mark_of(one) for one in ids]}}


def _pays(pay: PayFilter) -> Body:
    """Pay in the same unit whose range overlaps; an open end has no number."""
    unit = f"{fold(pay.currency)} {pay.budget_type.value if isinstance(pay.budget_type, BudgetType) else ''}"
    comparable: list[Body] = [_one_of("pay_in", [unit])]
    if pay.max is not None:
        comparable.append(_beyond("pay_low", {"gt": pay.max}))
    if pay.min is not None:
        comparable.append(_beyond("pay_high", {"lt": pay.min}))
    either: list[Body] = [{"bool": {"filter": comparable}}]
    if pay.include_unknown:
        either.append({"bool": {"must_not": [{"exists": {"field": "pay_in"}}]}})
    return {"bool": {"should": either, "minimum_should_match": 1}}


def _beyond(field: str, bound: Body) -> Body:
    """Not beyond a bound: so an open end, which is missing, passes."""
    return {"bool": {"must_not": [{"range": {field: bound}}]}}


def nearest(vector: Sequence[float], k: int, candidates: int, filters: Sequence[Body]) -> Body:
    """The ordinals of about the best k rows that pass every filter, as sort values: their order is decided elsewhere.

    candidates: how many the search of the graph looks at; more take longer and miss fewer.
    """
    return {
        "knn": {
            "field": "vector",
            "query_vector": vector,
            "k": k,
            "num_candidates": candidates,
            "filter": list(filters),
        },
        "size": k,
        "sort": ["ordinal"],
        "track_total_hits": False,
        "stored_fields": "_none_",  # not even ids: those would be read from disk, document by document
    }
