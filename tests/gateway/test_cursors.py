"""Cursors, tokens and Relay ids come back as they were given out, and nothing else is taken for one."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graphql.cursors import (
    LIFETIME_MS,
    ConsistencyToken,
    InteractionCursor,
    SearchCursor,
    decode_interaction,
    decode_position,
    decode_search,
    decode_token,
    digest_of,
    encode_interaction,
    encode_position,
    encode_search,
    encode_token,
)
from gateway.graphql.errors import WrongIdKindError
from gateway.graphql.ids import NodeType, own_id, parse_relay_id, relay_id
from recommender.errors import BadInputError, CursorExpiredError
from recommender.filters import JobFilter
from recommender.query import Pins, Position
from recommender.search import SearchPosition
from tests.factories import NOW_MS

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: len(text.encode()) <= 256)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**53)
POSITIONS = st.builds(
    Position,
    pins=st.builds(Pins, IDS, COUNTS, COUNTS, COUNTS),
    score=FLOATS,
    id=IDS,
    rank=st.integers(1, 10**6),
    digest=st.text(string.hexdigits, min_size=1, max_size=32),
)
A_POSITION = Position(Pins("m1", 7, NOW_MS), 0.25, "j1", 3, "d")


@given(POSITIONS)
def test_a_position_comes_back_to_the_last_bit(position: Position) -> None:
    assert decode_position(encode_position(position, NOW_MS), NOW_MS) == position


@given(st.none() | FLOATS, IDS)
def test_a_search_position_comes_back_to_the_last_bit(value: float | None, id_: str) -> None:
    position = SearchPosition(value, id_)
    assert decode_search(encode_search(SearchCursor(position, "d"), NOW_MS), "d", NOW_MS) == position


@given(COUNTS)
def test_an_interaction_cursor_comes_back(seq: int) -> None:
    assert decode_interaction(encode_interaction(InteractionCursor(seq, "d"), NOW_MS), "d", NOW_MS) == seq


@given(COUNTS, COUNTS, COUNTS)
def test_a_token_comes_back(events: int, talents: int, jobs: int) -> None:
    token = ConsistencyToken(events, talents, jobs)
    assert decode_token(encode_token(token)) == token


@given(st.data())
def test_a_cursor_with_any_changed_character_is_refused(data: st.DataObject) -> None:
    cursor = encode_position(A_POSITION, NOW_MS)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_").filter(lambda c: c != cursor[place]))
    with pytest.raises(BadInputError):
        decode_position(cursor[:place] + other + cursor[place + 1 :], NOW_MS)


@given(st.sampled_from(NodeType), IDS, st.data())
def test_a_relay_id_with_any_changed_character_is_none(node_type: NodeType, own: str, data: st.DataObject) -> None:
    relay = relay_id(node_type, own)
    place = data.draw(st.integers(0, len(relay) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=").filter(lambda c: c != relay[place]))
    assert parse_relay_id(relay[:place] + other + relay[place + 1 :]) is None
    assert parse_relay_id(relay + "=") is None


@given(st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    for decode in (decode_position, lambda c, now: decode_search(c, "d", now), lambda c, _: decode_token(c)):
        with pytest.raises(BadInputError):
            decode(text, NOW_MS)


def test_a_cursor_lives_24_hours() -> None:
    cursor = encode_position(A_POSITION, NOW_MS)
    assert decode_position(cursor, NOW_MS + LIFETIME_MS) == A_POSITION
    with pytest.raises(CursorExpiredError, match="24 hours"):
        decode_position(cursor, NOW_MS + LIFETIME_MS + 1)


def test_a_cursor_of_another_kind_of_list_is_foreign() -> None:
    search = encode_search(SearchCursor(SearchPosition(1.0, "j1"), "d"), NOW_MS)
    with pytest.raises(BadInputError, match="another list"):
        decode_position(search, NOW_MS)
    with pytest.raises(BadInputError, match="another list"):
        decode_search(encode_position(A_POSITION, NOW_MS), "d", NOW_MS)
    with pytest.raises(BadInputError, match="another list"):
        decode_search(search, "other digest", NOW_MS)
    with pytest.raises(BadInputError):
        decode_token(search)


def test_digests_differ_with_what_a_list_is_asked_with() -> None:
    assert digest_of(JobFilter(), "go") == digest_of(JobFilter(), "go")
    assert digest_of(JobFilter(), "go") != digest_of(JobFilter(is_remote=True), "go")


@given(st.sampled_from(NodeType), IDS)
def test_a_relay_id_names_its_type_and_own_id(node_type: NodeType, own: str) -> None:
    assert parse_relay_id(relay_id(node_type, own)) == (node_type, own)


@given(IDS)
def test_an_own_id_is_never_taken_for_a_relay_id(own: str) -> None:
    assert parse_relay_id(own) is None
    assert own_id(own, "jobId") == own


@given(st.sampled_from(NodeType), IDS)
def test_a_relay_id_is_refused_where_an_own_id_belongs(node_type: NodeType, own: str) -> None:
    with pytest.raises((WrongIdKindError, BadInputError)):
        own_id(relay_id(node_type, own), "jobId")


def test_the_relay_id_of_a_short_own_id_is_told_from_an_own_id() -> None:
    with pytest.raises(WrongIdKindError, match="Relay id"):
        own_id(relay_id(NodeType.JOB, "j1"), "jobId")


@pytest.mark.parametrize("text", ["", "x" * 257, "ä" * 129])
def test_an_own_id_has_1_to_256_bytes(text: str) -> None:
    with pytest.raises(BadInputError, match="1 to 256 bytes"):
        own_id(text, "jobId")
