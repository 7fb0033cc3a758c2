"""What is sent to Elasticsearch, built by pure functions. What a user wrote is only ever a value in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.adapters.documents import Stored
from gateway.adapters.elasticsearch.records import Record
from gateway.adapters.term_postings import HEAVIEST, relevance_by_term
from recommender.documents import Kind
from recommender.text import fold

Body = dict[str, Any]

SCHEMA = 1
TERMS_PAGE = 10_000  # postings of one answer: the most that an index gives by default
LONGEST_KEYWORD = 8_000  # characters; Lucene refuses a term of more than 32,766 bytes
LONG_LIMIT = 2**63

_KEYWORD = {"type": "keyword", "ignore_above": LONGEST_KEYWORD}
_SHARED = {
    **dict.fromkeys(("skills", "category", "country", "level", "attributes", "pay_in"), _KEYWORD),
    "pay_low": {"type": "double"},
    "pay_high": {"type": "double"},
    "since_ms": {"type": "long"},
}
# What is derived from the stored document: indexed, and kept out of the stored source.
_DERIVED: dict[Kind, Body] = {
    Kind.TALENT: {**_SHARED, "is_available": {"type": "boolean"}},
    Kind.JOB: {
        **_SHARED,
        "client_id": _KEYWORD,
        "is_remote": {"type": "boolean"},
        "status": {"type": "keyword"},
        "expires_at_ms": {"type": "long"},
    },
}


def mappings(kind: Kind) -> Body:
    """The mapping of one kind's index. `_meta` tells it from a foreign one."""
    indexed = derived_fields(kind)
    return {
        "dynamic": "strict",
        "_meta": {"tandem": {"schema": SCHEMA, "kind": kind.value}},
        "_source": {"excludes": sorted(indexed)},
        "properties": {
            "ordinal": {"type": "long"},
            "id": {"type": "keyword"},
            "revision": {"type": "long"},
            "is_live": {"type": "boolean"},
            "tombstone": {"type": "object", "enabled": False},
            "document": {"type": "object", "enabled": False},
            **indexed,
        },
    }


def derived_fields(kind: Kind) -> Body:
    """The fields by which documents of a kind are found."""
    return {**_DERIVED[kind], "terms": {"type": "keyword", "doc_values": False}}


def template(kind: Kind, alias: str) -> Body:
    """The index template. One shard: its sequence numbers are the catalogue's order of changes."""
    settings = {
        "index.number_of_shards": 1,
        "index.auto_expand_replicas": "0-1",
        "index.refresh_interval": "1s",
        "index.max_result_window": TERMS_PAGE,
    }
    return {
        "index_patterns": [f"{alias}.*"],
        # A write that comes too late for an index that was replaced must fail, not make it again.
        "allow_auto_create": False,
        "template": {"settings": settings, "mappings": mappings(kind)},
    }


def state_template(index: str) -> Body:
    """The template of the index that holds the counters and the key of the tombstones."""
    settings = {"index.number_of_shards": 1, "index.auto_expand_replicas": "0-1"}
    return {
        "index_patterns": [index],
        "allow_auto_create": False,
        "template": {
            "settings": settings,
            "mappings": {"dynamic": False, "_meta": {"tandem": {"schema": SCHEMA, "kind": "state"}}},
        },
    }


def source(kind: Kind, record: Record, *, revision: int | None) -> Body:
    """What is indexed for a record. revision: where it is not that of the write itself."""
    body: Body = {"ordinal": record.ordinal, "is_live": record.stored is not None}
    if revision is not None:
        body["revision"] = revision
    if record.tombstone is not None:
        body["tombstone"] = {
            "updated_at_ms": record.tombstone.updated_at_ms,
            "is_erased": record.tombstone.is_erased,
        }
    if record.stored is not None:
        body |= {"id": record.id, "document": record.stored, **derived(kind, record.stored)}
    return body


def derived(kind: Kind, stored: Stored) -> Body:
    """The values of those fields."""
    values: Body = {
        "terms": [f"{weight}{term}" for term, weight in relevance_by_term(stored).items()],
        "skills": [fold(skill) for skill in stored.get("skills", ())],
        "attributes": [f"{name}\0{fold(value)}" for name, value in stored.get("attributes", {}).items()],
        **{name: fold(stored[name]) for name in ("category", "country", "level") if name in stored},
        **_pay(stored),
    }
    since = stored.get("created_at_ms" if kind is Kind.TALENT else "posted_at_ms")
    numbers = {"since_ms": since, "expires_at_ms": stored.get("expires_at_ms")}
    values |= {name: number for name, number in numbers.items() if number is not None and abs(number) < LONG_LIMIT}
    if kind is Kind.TALENT:
        values["is_available"] = stored.get("is_available", True)
    else:
        values["status"] = stored.get("status", "OPEN")
        values |= {name: stored[name] for name in ("client_id", "is_remote") if name in stored}
    return values


def _pay(stored: Stored) -> Body:
    if "hourly_rate" in stored:
        amount, currency = stored["hourly_rate"]
        found: dict[str, str | None] = {"pay_low": amount, "pay_high": amount}
        unit = f"{fold(currency)} "
    elif "budget" in stored:
        budget_type, low, high, currency = stored["budget"]
        found = {"pay_low": low, "pay_high": high}
        unit = f"{fold(currency)} {budget_type}"
    else:
        return {}
    amounts = {name: float(amount) for name, amount in found.items() if amount is not None}
    return {"pay_in": unit, **{name: amount for name, amount in amounts.items() if abs(amount) < float("inf")}}


def written(index: str, kind: Kind, record: Record, *, revision: int | None) -> list[Body]:
    """Two lines of a bulk: write a record if nobody has written it since it was read."""
    target: Body = {"_index": index, "_id": record.mark}
    if record.seq_no is None:
        return [{"create": target}, source(kind, record, revision=revision)]
    target |= {"if_seq_no": record.seq_no, "if_primary_term": record.primary_term}
    return [{"index": target}, source(kind, record, revision=revision)]


def copied(index: str, kind: Kind, record: Record) -> list[Body]:
    """Two lines of a bulk: a record of an index that is to be replaced, under the revision that it had there."""
    target = {"_index": index, "_id": record.mark}
    return [{"index": target}, source(kind, record, revision=record.revision)]


def changed(since: int, base: int, size: int) -> tuple[Body, Body]:
    """Two searches, oldest first: what was written after a revision, and what carries a revision of its own after it.

    base: the revision before the first write to this index.
    """
    written_here: Body = {
        "bool": {
            "filter": [{"range": {"_seq_no": {"gte": max(0, since - base)}}}],
            "must_not": [{"exists": {"field": "revision"}}],
        }
    }
    common: Body = {"size": size, "seq_no_primary_term": True, "track_total_hits": False}
    return (
        {**common, "query": written_here, "sort": ["_seq_no"]},
        {**common, "query": {"range": {"revision": {"gt": since}}}, "sort": ["revision"]},
    )


def news(since: int, base: int) -> Body:
    """Whether anything was changed after a revision: what `changed` would find, if but one document of it."""
    first, second = changed(since, base, 1)
    return {
        "size": 1,
        "terminate_after": 1,
        "_source": False,
        "track_total_hits": False,
        "query": {"bool": {"should": [first["query"], second["query"]]}},
    }


def written_after(seq_no: int, size: int) -> Body:
    """Everything with a higher sequence number, in order."""
    return {
        "size": size,
        "seq_no_primary_term": True,
        "track_total_hits": False,
        "query": {"range": {"_seq_no": {"gt": seq_no}}},
        "sort": ["_seq_no"],
    }


def everything() -> Body:
    """Every record, with its place in the order of writes."""
    return {"query": {"match_all": {}}, "seq_no_primary_term": True}


def having_term(term: str, after_ordinal: int) -> Body:
    """A page of the documents with a term, by ordinal: the sort value is the ordinal, the score the relevance."""
    by_relevance = [
        {"constant_score": {"filter": {"term": {"terms": {"value": f"{weight}{term}"}}}, "boost": weight}}
        for weight in range(1, HEAVIEST + 1)
    ]
    return {
        "size": TERMS_PAGE,
        "query": {"dis_max": {"queries": by_relevance}},
        "sort": ["ordinal"],
        "search_after": [after_ordinal],
        "track_scores": True,
        "track_total_hits": False,
        "stored_fields": "_none_",  # not even ids: those would be read from disk, document by document
    }


def named(ordinals: Sequence[int], marks: Sequence[str]) -> Body:
    """The live documents with these ordinals or marks."""
    either = [{"terms": {"ordinal": list(ordinals)}}, {"ids": {"values": list(marks)}}]
    return {
        "size": len(ordinals) + len(marks),
        "query": {"bool": {"filter": [{"term": {"is_live": True}}], "should": either, "minimum_should_match": 1}},
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }


def multi_search(preference: str, searches: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The lines of an msearch, each search in its index. preference: names the one copy of a shard that all ask."""
    return [
        line
        for index, search in searches
        for line in ({"index": index, "preference": preference, "allow_partial_search_results": False}, search)
    ]
