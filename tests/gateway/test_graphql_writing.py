"""Mutations: what is durable, what is refused and why, and that the next query shows it."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.adapters import drafts
from gateway.graphql.cursors import decode_token
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.scalars import serialize_datetime
from recommender.documents import Kind
from recommender.errors import BadInputError, UnavailableError
from recommender.events import EventType
from recommender.ports import SubjectKey
from tests.gateway.served_market import ServedMarket

RECORD = """mutation($events: [EventInput!]!) { recordEvents(input: { events: $events }) {
  acceptedCount duplicateCount token userErrors { index field code message }
  talents { talentId recommendedJobs(first: 100) { nodes { jobId } } } jobs { jobId } } }"""
UPSERT_JOBS = """mutation($jobs: [JobInput!]!) { upsertJobs(input: { jobs: $jobs }) {
  acceptedCount token userErrors { index field code message } } }"""
UPSERT_TALENTS = """mutation($talents: [TalentInput!]!) { upsertTalents(input: { talents: $talents }) {
  acceptedCount token userErrors { index field code message } } }"""
DELETE = """mutation($input: DeleteInput!) { %s(input: $input) {
  deletedId receiptId userErrors { index field code message } } }"""


def an_event(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "eventId": f"e{number}",
        "actor": "TALENT",
        "type": "APPLY",
        "talentId": "t1",
        "jobId": "j30",
        "occurredAt": "2025-10-09T08:00:00Z",
        **fields,
    }


async def record(market: ServedMarket, *events: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = (await market.data(RECORD, {"events": list(events)}))["recordEvents"]
    return payload


def faults(payload: dict[str, Any]) -> list[tuple[int, list[str], str]]:
    return [(error["index"], error["field"], error["code"]) for error in payload["userErrors"]]


async def jobs_of(market: ServedMarket, talent_id: str) -> list[str]:
    data = await market.data(
        "query($t: ID!) { recommendedJobs(subject: { talentId: $t }, first: 100) { nodes { jobId } } }",
        {"t": talent_id},
    )
    return [job["jobId"] for job in data["recommendedJobs"]["nodes"]]


async def test_an_application_hides_its_job_and_a_withdrawal_brings_it_back(market: ServedMarket) -> None:
    assert "j30" in await jobs_of(market, "t1")
    applied = await record(market, an_event(1))
    assert (applied["acceptedCount"], applied["duplicateCount"], applied["userErrors"]) == (1, 0, [])
    assert [job["jobId"] for job in applied["jobs"]] == ["j30"]
    shown = [job["jobId"] for job in applied["talents"][0]["recommendedJobs"]["nodes"]]
    assert "j30" not in shown
    assert shown == await jobs_of(market, "t1")
    await record(market, an_event(2, type="WITHDRAW", occurredAt="2025-10-09T08:01:00Z"))
    assert "j30" in await jobs_of(market, "t1")


async def test_two_mutations_of_one_operation_each_see_what_they_wrote(market: ServedMarket) -> None:
    data = await market.data(
        """mutation($a: [EventInput!]!, $b: [EventInput!]!) {
             a: recordEvents(input: { events: $a }) { talents { recommendedJobs(first: 100) { nodes { jobId } } } }
             b: recordEvents(input: { events: $b }) { talents { recommendedJobs(first: 100) { nodes { jobId } } } }
           }""",
        {"a": [an_event(1)], "b": [an_event(2, jobId="j31")]},
    )
    first, second = (
        {job["jobId"] for job in data[alias]["talents"][0]["recommendedJobs"]["nodes"]} for alias in ("a", "b")
    )
    assert first - second == {"j31"}
    assert second - first == set()


async def test_the_same_event_twice_counts_once(market: ServedMarket) -> None:
    await record(market, an_event())
    again = await record(market, an_event(), an_event(2, jobId="j31"))
    assert (again["acceptedCount"], again["duplicateCount"], again["userErrors"]) == (1, 1, [])


async def test_the_same_id_with_other_content_is_a_conflict(market: ServedMarket) -> None:
    await record(market, an_event())
    payload = await record(market, an_event(jobId="j31"), an_event(occurredAt="2025-10-09T08:00:01Z"))
    assert (payload["acceptedCount"], payload["duplicateCount"]) == (0, 0)
    assert faults(payload) == [(0, ["events", "0", "eventId"], "CONFLICT"), (1, ["events", "1", "eventId"], "CONFLICT")]


async def test_an_event_without_a_time_is_now_and_can_be_sent_again_later(market: ServedMarket) -> None:
    timeless = {name: value for name, value in an_event(type="VIEW").items() if name != "occurredAt"}
    assert (await record(market, timeless))["acceptedCount"] == 1
    market.clock[0] += 60_000
    payload = await record(market, timeless, {**timeless, "occurredAt": None})
    assert (payload["acceptedCount"], payload["duplicateCount"], payload["userErrors"]) == (0, 2, [])
    assert faults(await record(market, {**timeless, "jobId": "j31"})) == [(0, ["events", "0", "eventId"], "CONFLICT")]
    data = await market.data('{ talent(talentId: "t1") { interactions(first: 1) { nodes { eventId occurredAt } } } }')
    assert data["talent"]["interactions"]["nodes"] == [{"eventId": "e1", "occurredAt": "2025-10-09T08:53:20Z"}]


async def test_every_fault_is_reported_by_index_and_the_others_are_durable(market: ServedMarket) -> None:
    before = (await market.services.events.state()).last_seq
    payload = await record(
        market,
        an_event(1),
        an_event(2, actor="CLIENT"),
        an_event(3, type="HIRE"),
        an_event(4, talentId="nobody"),
        an_event(5, jobId="nothing"),
        an_event(6, occurredAt="2025-10-09T08:58:21Z"),  # the clock stands at 08:53:20
        an_event(7, value=0),
        an_event(8, talentId=relay_id(NodeType.TALENT, "t1")),
        an_event(9, eventId="x" * 257),
        an_event(10, recommendationId=""),
        an_event(11, actor="CLIENT", type="VIEW", occurredAt="2025-10-09T08:58:20Z", value=2.5),
    )
    assert (payload["acceptedCount"], payload["duplicateCount"]) == (2, 0)
    assert faults(payload) == [
        (1, ["events", "1", "actor"], "INVALID"),
        (2, ["events", "2", "actor"], "INVALID"),
        (3, ["events", "3", "talentId"], "UNKNOWN_ID"),
        (4, ["events", "4", "jobId"], "UNKNOWN_ID"),
        (5, ["events", "5", "occurredAt"], "INVALID"),
        (6, ["events", "6", "value"], "INVALID"),
        (7, ["events", "7", "talentId"], "WRONG_ID_KIND"),
        (8, ["events", "8", "eventId"], "INVALID"),
        (9, ["events", "9", "recommendationId"], "INVALID"),
    ]
    assert decode_token(payload["token"]).events == (await market.services.events.state()).last_seq == before + 2


async def test_one_event_with_two_faults_has_both(market: ServedMarket) -> None:
    payload = await record(market, an_event(1, actor="CLIENT", value=-1))
    assert faults(payload) == [(0, ["events", "0", "actor"], "INVALID"), (0, ["events", "0", "value"], "INVALID")]


async def test_an_unknown_id_creates_nothing(market: ServedMarket) -> None:
    await record(market, an_event(1, talentId="phantom"))
    assert (await market.data('{ talent(talentId: "phantom") { id } }'))["talent"] is None


async def test_events_come_1_to_500_at_a_time(market: ServedMarket) -> None:
    for events in ([], [an_event(number) for number in range(501)]):
        answer = await market.ask(RECORD, {"events": events})
        assert answer["data"] == {"recordEvents": None}
        assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        assert f"between 1 and 500 events; got {len(events)}" in answer["errors"][0]["message"]
    views = [an_event(number, type="VIEW") for number in range(500)]
    market.reset_counts()
    assert (await record(market, *views))["acceptedCount"] == 500
    assert market.events.calls["append"] == 1


@pytest.mark.parametrize("kind", list(EventType))
async def test_every_type_is_taken_from_its_actor(market: ServedMarket, kind: EventType) -> None:
    from recommender.events import RULES

    for actor in ("TALENT", "CLIENT"):
        rule = RULES[kind].actor
        payload = await record(market, an_event(actor=actor, type=kind.value, eventId=f"{kind.value}{actor}"))
        assert payload["acceptedCount"] == (1 if rule is None or rule.value == actor else 0)


@pytest.mark.parametrize("when", ["tomorrow", "2025-02-30T00:00:00Z", 5, ""])
async def test_a_malformed_time_is_bad_user_input(market: ServedMarket, when: object) -> None:
    assert await market.code(RECORD, {"events": [an_event(occurredAt=when)]}) == "BAD_USER_INPUT"
    literal = f'"{when}"' if isinstance(when, str) else when
    query = f"""mutation {{ recordEvents(input: {{ events: [{{ eventId: "e", actor: TALENT, type: VIEW, talentId: "t1",
                jobId: "j1", occurredAt: {literal} }}] }}) {{ acceptedCount }} }}"""
    assert await market.code(query) == "BAD_USER_INPUT"


async def test_a_malformed_time_in_a_batch_is_told_with_its_place(market: ServedMarket) -> None:
    answer = await market.ask(RECORD, {"events": [an_event(1), an_event(2, occurredAt="tomorrow")]})
    assert [error["message"] for error in answer["errors"]] == [
        "Variable '$events' has invalid value at [1].occurredAt: DateTime: expected RFC 3339 text such as "
        "\"2026-01-31T09:30:00Z\"; got 'tomorrow'"
    ]


async def test_when_the_log_is_down_nothing_is_acknowledged(market: ServedMarket) -> None:
    market.events.failing["append"] = UnavailableError("event log", "/srv/tandem/events.db: the disk is full")
    with capture_logs() as logs:
        answer = await market.ask(RECORD, {"events": [an_event()]})
    assert answer["data"] == {"recordEvents": None}
    assert answer["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
    # Where the part is and what ails it is for the operator alone.
    assert answer["errors"][0]["message"] == "event log is unavailable; try again later"
    assert [entry["reason"] for entry in logs if entry["event"] == "part unavailable"] == [
        "event log is unavailable: /srv/tandem/events.db: the disk is full"
    ]
    market.events.failing.clear()
    assert (await record(market, an_event()))["acceptedCount"] == 1  # nothing had been written


async def test_an_event_can_quote_the_row_that_led_to_it(market: ServedMarket) -> None:
    data = await market.data(
        '{ talent(talentId: "t5") { recommendedJobs(first: 1) { edges { recommendationId node { jobId } } } } }'
    )
    edge = data["talent"]["recommendedJobs"]["edges"][0]
    sent = an_event(talentId="t5", jobId=edge["node"]["jobId"], recommendationId=edge["recommendationId"])
    await record(market, sent)
    data = await market.data('{ talent(talentId: "t5") { interactions(first: 1) { nodes { recommendationId } } } }')
    assert data["talent"]["interactions"]["nodes"] == [{"recommendationId": edge["recommendationId"]}]


async def test_a_token_of_an_answer_is_accepted_and_any_other_text_refused(market: ServedMarket) -> None:
    token = (await record(market, an_event()))["token"]
    assert "errors" not in await market.ask("{ viewer { roles } }", **{"Tandem-Consistency-Token": token})
    answer = await market.ask("{ viewer { roles } }", **{"Tandem-Consistency-Token": "torn"})
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def upsert_jobs(market: ServedMarket, *jobs: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = (await market.data(UPSERT_JOBS, {"jobs": list(jobs)}))["upsertJobs"]
    return payload


async def upsert_talents(market: ServedMarket, *talents: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = (await market.data(UPSERT_TALENTS, {"talents": list(talents)}))["upsertTalents"]
    return payload


JOB_FIELDS = """title description skills category country isRemote level status postedAt expiresAt
  client { clientId } budget { type min max currency } attributes { name value }"""


async def test_an_absent_field_keeps_and_null_clears(service_market: ServedMarket) -> None:
    market, query = service_market, f'{{ job(jobId: "j6") {{ {JOB_FIELDS} }} }}'
    before = (await market.data(query))["job"]
    payload = await upsert_jobs(market, {"jobId": "j6", "title": "New", "category": None})
    assert (payload["acceptedCount"], payload["userErrors"]) == (1, [])
    assert (await market.data(query))["job"] == {**before, "title": "New", "category": None}
    cleared = dict.fromkeys(
        ["clientId", "title", "description", "skills", "category", "country", "isRemote", "budget", "level", "status",
         "postedAt", "expiresAt"]
    )  # fmt: skip
    await upsert_jobs(market, {"jobId": "j6", **cleared})
    assert (await market.data(query))["job"] == {
        **dict.fromkeys(before),
        "skills": [],
        "status": "OPEN",
        "attributes": before["attributes"],
    }


async def test_a_document_that_the_catalogue_refuses_is_an_error_of_its_index_and_the_others_are_written(
    service_market: ServedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def json_from(stored: dict[str, Any]) -> bytes:
        if stored.get("title") == "bad":
            raise BadInputError("it does not fit")
        return b"{}"

    monkeypatch.setattr(drafts, "json_from", json_from)
    given = {"a": "A", "b": "bad", "j6": "bad", "c": "C"}
    payload = await upsert_jobs(service_market, *({"jobId": name, "title": title} for name, title in given.items()))
    assert payload["acceptedCount"] == 2
    assert faults(payload) == [(1, ["jobs", "1", "jobId"], "INVALID"), (2, ["jobs", "2", "jobId"], "INVALID")]
    assert {error["message"] for error in payload["userErrors"]} == {"it does not fit"}
    monkeypatch.undo()
    stored = await service_market.catalogue.get_many(Kind.JOB, ids=list(given))
    assert [one and one.title for one in stored] == ["A", None, "Python project 6", "C"]


async def test_a_new_job_is_found_and_recommended_at_once(service_market: ServedMarket) -> None:
    market = service_market
    await upsert_jobs(
        market,
        {
            "jobId": "fresh",
            "title": "Quantum plumber",
            "skills": ["Go"],
            "budget": {"type": "FIXED", "min": "5", "currency": "eur"},
        },
    )
    data = await market.data(
        """{ jobs(query: "quantum") { nodes { jobId status budget { currency min max } } }
             recommendedJobs(subject: { profile: { skills: ["Go"] } }, filter: { ids: ["fresh"] }) { totalCount } }"""
    )
    assert data["jobs"]["nodes"] == [
        {"jobId": "fresh", "status": "OPEN", "budget": {"currency": "EUR", "min": "5", "max": None}}
    ]
    assert data["recommendedJobs"]["totalCount"] == 1


@pytest.mark.parametrize(
    "change",
    [{"status": status} for status in ("CLOSED", "PAUSED", "FILLED", "DRAFT")]
    + [{"expiresAt": "2025-10-09T08:53:19Z"}],
)
async def test_a_job_that_is_no_longer_open_is_gone_from_the_next_list(
    service_market: ServedMarket, change: dict[str, str]
) -> None:
    assert "j30" in await jobs_of(service_market, "t1")
    await upsert_jobs(service_market, {"jobId": "j30", **change})
    assert "j30" not in await jobs_of(service_market, "t1")


async def test_a_talent_who_is_unavailable_is_gone_from_the_next_list(service_market: ServedMarket) -> None:
    query = '{ job(jobId: "j1") { recommendedTalents(first: 100) { totalCount nodes { talentId } } } }'
    before = (await service_market.data(query))["job"]["recommendedTalents"]
    gone = before["nodes"][0]["talentId"]
    await upsert_talents(service_market, {"talentId": gone, "isAvailable": False})
    after = (await service_market.data(query))["job"]["recommendedTalents"]
    assert [t["talentId"] for t in after["nodes"]] == [t["talentId"] for t in before["nodes"][1:]]
    await upsert_talents(service_market, {"talentId": gone, "isAvailable": None})
    assert (await service_market.data(query))["job"]["recommendedTalents"] == before


async def test_attributes_are_changed_one_by_one(service_market: ServedMarket) -> None:
    query = '{ talent(talentId: "t1") { attributes { name value } } }'
    await upsert_talents(
        service_market,
        {"talentId": "t1", "attributes": [{"name": "timezone", "value": None}, {"name": "visa", "value": "EU"}]},
    )
    data = await service_market.data(query)
    assert data["talent"]["attributes"] == [{"name": "visa", "value": "EU"}]


async def test_faults_of_documents_are_reported_and_the_others_written(service_market: ServedMarket) -> None:
    payload = await upsert_jobs(
        service_market,
        {"jobId": "ok"},
        {"jobId": ""},
        {"jobId": relay_id(NodeType.JOB, "j1")},
        {"jobId": "a", "clientId": "x" * 257},
        {"jobId": "b", "budget": {"type": "FIXED", "currency": "US"}},
        {"jobId": "c", "budget": {"type": "FIXED", "currency": "USD", "min": "2", "max": "1"}},
        {"jobId": "d", "title": "x" * 1001},
        {"jobId": "e", "skills": ["x"] * 201},
        {"jobId": "f", "attributes": [{"name": "a"}, {"name": "a"}]},
        {"jobId": "g", "budget": {"type": "FIXED", "currency": "USD", "min": "-1"}},
    )
    assert payload["acceptedCount"] == 1
    assert faults(payload) == [
        (1, ["jobs", "1", "jobId"], "INVALID"),
        (2, ["jobs", "2", "jobId"], "WRONG_ID_KIND"),
        (3, ["jobs", "3", "clientId"], "INVALID"),
        (4, ["jobs", "4", "budget"], "INVALID"),
        (5, ["jobs", "5", "budget"], "INVALID"),
        (6, ["jobs", "6", "title"], "INVALID"),
        (7, ["jobs", "7", "skills"], "INVALID"),
        (8, ["jobs", "8", "attributes"], "INVALID"),
        (9, ["jobs", "9", "budget"], "INVALID"),
    ]
    data = await service_market.data('{ ok: job(jobId: "ok") { jobId } a: job(jobId: "a") { jobId } }')
    assert data == {"ok": {"jobId": "ok"}, "a": None}


async def test_older_never_overwrites_newer(service_market: ServedMarket) -> None:
    new = {"talentId": "t1", "title": "new", "updatedAt": "2025-10-02T00:00:00Z"}
    old = {"talentId": "t1", "title": "old", "updatedAt": "2025-10-01T00:00:00Z"}
    await upsert_talents(service_market, new)
    payload = await upsert_talents(service_market, old)
    assert (payload["acceptedCount"], faults(payload)) == (0, [(0, ["talents", "0", "updatedAt"], "CONFLICT")])
    assert (await service_market.data('{ talent(talentId: "t1") { title } }'))["talent"]["title"] == "new"


async def test_upserts_come_1_to_500_at_a_time(service_market: ServedMarket) -> None:
    assert await service_market.code(UPSERT_JOBS, {"jobs": []}) == "BAD_USER_INPUT"
    assert await service_market.code(UPSERT_JOBS, {"jobs": [{"jobId": "x"}] * 501}) == "BAD_USER_INPUT"
    assert await service_market.code(UPSERT_TALENTS, {"talents": []}) == "BAD_USER_INPUT"


async def delete(market: ServedMarket, field: str, id_: str, *, erase: bool = False) -> dict[str, Any]:
    data = await market.data(DELETE % field, {"input": {"id": id_, "erase": erase}})
    payload: dict[str, Any] = data[field]
    return payload


async def test_a_deleted_job_is_gone_everywhere_and_can_come_back_when_it_is_newer(
    service_market: ServedMarket,
) -> None:
    market, id_ = service_market, relay_id(NodeType.JOB, "j30")
    payload = await delete(market, "deleteJob", "j30")
    assert (payload["deletedId"], payload["userErrors"]) == ("j30", [])
    assert payload["receiptId"]
    assert await market.data(f'{{ job(jobId: "j30") {{ id }} node(id: "{id_}") {{ id }} }}') == {
        "job": None,
        "node": None,
    }
    assert "j30" not in await jobs_of(market, "t1")
    older = serialize_datetime(market.clock[0] - 1)
    assert faults(await upsert_jobs(market, {"jobId": "j30", "updatedAt": older})) == [
        (0, ["jobs", "0", "jobId"], "CONFLICT")
    ]
    assert faults(await record(market, an_event())) == [(0, ["events", "0", "jobId"], "UNKNOWN_ID")]
    payload = await upsert_jobs(market, {"jobId": "j30", "updatedAt": serialize_datetime(market.clock[0] + 1)})
    assert payload["acceptedCount"] == 1


async def test_an_upsert_without_a_time_is_of_now_and_revives_what_was_deleted_before(
    service_market: ServedMarket,
) -> None:
    market = service_market
    await delete(market, "deleteJob", "j30")
    market.clock[0] += 1
    payload = await upsert_jobs(market, {"jobId": "j30", "title": "Again"}, {"jobId": "new"})
    assert (payload["acceptedCount"], payload["userErrors"]) == (2, [])
    assert await market.data('{ job(jobId: "j30") { title } }') == {"job": {"title": "Again"}}


async def test_a_budget_without_an_amount_is_refused(service_market: ServedMarket) -> None:
    budget = {"type": "HOURLY", "currency": "USD", "min": None}
    payload = await upsert_jobs(service_market, {"jobId": "b", "budget": budget})
    assert faults(payload) == [(0, ["jobs", "0", "budget"], "INVALID")]
    assert await service_market.data('{ job(jobId: "b") { id } }') == {"job": None}


async def test_an_erased_talent_leaves_no_events_and_never_comes_back(service_market: ServedMarket) -> None:
    market = service_market
    payload = await delete(market, "deleteTalent", "t2", erase=True)
    assert (payload["deletedId"], payload["userErrors"]) == ("t2", [])
    query = '{ talent(talentId: "t2") { id } job(jobId: "j15") { interactions { nodes { talent { talentId } } } } }'
    data = await market.data(query)
    assert data["talent"] is None
    assert [node["talent"]["talentId"] for node in data["job"]["interactions"]["nodes"]] == ["t18", "t14"]
    assert await market.services.events.history([SubjectKey(Kind.TALENT, "t2")]) == [[]]
    payload = await upsert_talents(market, {"talentId": "t2", "updatedAt": "2125-01-01T00:00:00Z"})
    assert faults(payload) == [(0, ["talents", "0", "talentId"], "CONFLICT")]


async def test_deleting_what_is_not_there_says_so(service_market: ServedMarket) -> None:
    for id_, code in (("nobody", "UNKNOWN_ID"), ("", "INVALID"), (relay_id(NodeType.TALENT, "t1"), "WRONG_ID_KIND")):
        payload = await delete(service_market, "deleteTalent", id_)
        assert (payload["deletedId"], payload["receiptId"]) == (None, None)
        assert [(error["index"], error["field"], error["code"]) for error in payload["userErrors"]] == [
            (None, ["id"], code)
        ]
    assert (await service_market.data('{ talent(talentId: "t1") { talentId } }'))["talent"] is not None


FORBIDDEN = {
    "upsertTalents": 'upsertTalents(input: { talents: [{ talentId: "t1", title: "hacked" }] }) { acceptedCount }',
    "upsertJobs": 'upsertJobs(input: { jobs: [{ jobId: "j1", title: "hacked" }] }) { acceptedCount }',
    "deleteTalent": 'deleteTalent(input: { id: "t1" }) { deletedId }',
    "deleteJob": 'deleteJob(input: { id: "j1" }) { deletedId }',
}


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_an_engineer_may_not_change_documents_and_nothing_is_written(market: ServedMarket, name: str) -> None:
    answer = await market.ask(f"mutation {{ {FORBIDDEN[name]} }}")
    assert answer["data"] == {name: None}
    assert [error["extensions"] for error in answer["errors"]] == [{"code": "FORBIDDEN"}]
    assert "TANDEM_AUTH=token" in answer["errors"][0]["message"]
    assert "TANDEM_SERVICE_TOKEN" in answer["errors"][0]["message"]
    data = await market.data('{ talent(talentId: "t1") { title } job(jobId: "j1") { title } }')
    assert data == {"talent": {"title": "Developer 1"}, "job": {"title": "Python project 1"}}
    assert set(market.catalogue.calls) <= {"get_many"}


async def test_occurred_at_may_be_long_ago(market: ServedMarket) -> None:
    old = an_event(type="VIEW", occurredAt="1999-12-31T23:59:59+01:00")
    assert (await record(market, old))["acceptedCount"] == 1
    data = await market.data('{ talent(talentId: "t1") { interactions(first: 1) { nodes { occurredAt } } } }')
    assert data["talent"]["interactions"]["nodes"] == [{"occurredAt": "1999-12-31T22:59:59Z"}]
