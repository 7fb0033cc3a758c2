"""Queries: what is answered, in which order, and in how many calls of the ports."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.graphql.ids import NodeType, relay_id
from recommender.documents import JobStatus, Kind, Patch
from recommender.errors import UnavailableError
from tests.factories import DAY_MS, NOW_MS
from tests.gateway.served_market import JOBS, TALENTS, ServedMarket, small_model


async def test_a_talent_has_the_fields_of_its_document(market: ServedMarket) -> None:
    data = await market.data(
        """{ talent(talentId: "t4") { id talentId title description skills category country level isAvailable createdAt
             hourlyRate { amount currency } attributes { name value } some: attributes(names: ["TIMEZONE"]) { value }
             none: attributes(names: ["other"]) { value } } }"""
    )
    assert data["talent"] == {
        "id": relay_id(NodeType.TALENT, "t4"),
        "talentId": "t4",
        "title": "Developer 4",
        "description": "Builds things.",
        "skills": ["C++", "Go"],
        "category": "Software",
        "country": "US",
        "level": "INTERMEDIATE",
        "isAvailable": True,
        "createdAt": "2025-10-05T08:53:20Z",
        "hourlyRate": {"amount": "24", "currency": "USD"},
        "attributes": [{"name": "timezone", "value": "EST"}],
        "some": [{"value": "EST"}],
        "none": [],
    }


async def test_a_job_has_the_fields_of_its_document(market: ServedMarket) -> None:
    data = await market.data(
        """{ job(jobId: "j6") { id jobId title skills isRemote status level postedAt expiresAt
             client { id clientId } budget { type min max currency } attributes { name value } } }"""
    )
    assert data["job"] == {
        "id": relay_id(NodeType.JOB, "j6"),
        "jobId": "j6",
        "title": "Python project 6",
        "skills": ["Python", "SQL"],
        "isRemote": True,
        "status": "OPEN",
        "level": "ENTRY",
        "postedAt": "2025-10-03T08:53:20Z",
        "expiresAt": "2025-11-08T08:53:20Z",
        "client": {"id": relay_id(NodeType.CLIENT, "c2"), "clientId": "c2"},
        "budget": {"type": "HOURLY", "min": "16", "max": "36", "currency": "USD"},
        "attributes": [{"name": "visa", "value": "no"}],
    }


@pytest.mark.parametrize("field", ['talent(talentId: "x")', 'job(jobId: "x")', 'client(clientId: "x")'])
async def test_an_unknown_own_id_is_null(market: ServedMarket, field: str) -> None:
    assert await market.ask(f"{{ found: {field} {{ id }} }}") == {"data": {"found": None}}


@pytest.mark.parametrize("field", ["talent(talentId:", "job(jobId:", "client(clientId:"])
@pytest.mark.parametrize("node_type", list(NodeType))
async def test_a_relay_id_is_no_own_id(market: ServedMarket, field: str, node_type: NodeType) -> None:
    assert await market.code(f'{{ {field} "{relay_id(node_type, "t1")}") {{ id }} }}') == "WRONG_ID_KIND"


@pytest.mark.parametrize(("kind", "own"), [(NodeType.TALENT, "t2"), (NodeType.JOB, "j2"), (NodeType.CLIENT, "c2")])
async def test_node_gives_back_what_the_id_was_taken_from(market: ServedMarket, kind: NodeType, own: str) -> None:
    data = await market.data(
        """query($id: ID!) { node(id: $id) { __typename id
             ... on Talent { own: talentId } ... on Job { own: jobId } ... on Client { own: clientId } } }""",
        {"id": relay_id(kind, own)},
    )
    assert data["node"] == {"__typename": kind.name.title(), "id": relay_id(kind, own), "own": own}


async def test_node_of_an_unknown_id_is_null_and_of_a_malformed_one_an_error(market: ServedMarket) -> None:
    for kind in NodeType:
        assert await market.ask(f'{{ node(id: "{relay_id(kind, "x")}") {{ id }} }}') == {"data": {"node": None}}
    assert await market.code('{ node(id: "t1") { id } }') == "BAD_USER_INPUT"
    assert await market.code('{ node(id: "") { id } }') == "BAD_USER_INPUT"


async def test_nodes_keeps_the_order_with_holes_and_one_call_per_kind(market: ServedMarket) -> None:
    ids = [relay_id(NodeType.JOB, f"j{number}") for number in (3, 999, 1)] + [
        relay_id(NodeType.TALENT, "t1"),
        "torn",
        relay_id(NodeType.JOB, "j3"),
    ]
    answer = await market.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ids})
    assert [node and node["id"] for node in answer["data"]["nodes"]] == [ids[0], None, ids[2], ids[3], None, ids[5]]
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["nodes", 4], "BAD_USER_INPUT")
    ]
    assert market.catalogue.calls == {"get_many": 2}


async def test_nodes_takes_at_most_a_hundred_ids(market: ServedMarket) -> None:
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    ids = [relay_id(NodeType.JOB, "j1")] * 101
    assert await market.code(query, {"ids": ids}) == "BAD_USER_INPUT"
    assert len((await market.data(query, {"ids": ids[:100]}))["nodes"]) == 100


async def test_twenty_talents_with_their_jobs_cost_one_batch_of_each_kind(market: ServedMarket) -> None:
    one = """{ recommendedJobs(first: 10) { nodes { jobId client { clientId } } totalCount
               facets(fields: [SKILLS]) { name } edges { reasons { text jobs { title } } interactions } } }"""
    aliased = " ".join(f'a{number}: talent(talentId: "t{number}") {one}' for number in range(1, 21))
    single = dict(market.catalogue.calls)
    await market.data(f'{{ a1: talent(talentId: "t1") {one} }}')
    single, events = dict(market.catalogue.calls), dict(market.events.calls)
    market.reset_counts()
    data = await market.data(f"{{ {aliased} }}")
    assert all(len(talent["recommendedJobs"]["nodes"]) == 10 for talent in data.values())
    assert market.catalogue.calls == single
    assert market.events.calls == events == {"history": 1}
    assert market.serving_log.calls == {"append": 1}


async def test_ranked_jobs_alone_cost_five_calls(market: ServedMarket) -> None:
    aliased = " ".join(
        f'a{number}: talent(talentId: "t{number}") {{ recommendedJobs(first: 5) {{ nodes {{ jobId }} }} }}'
        for number in range(1, 21)
    )
    await market.data(f"{{ {aliased} }}")
    calls = sum(sum(port.calls.values()) for port in (market.catalogue, market.events, market.serving_log))
    # talents, mirror, matching, jobs; history; serving log
    assert (market.catalogue.calls, calls) == ({"get_many": 2, "mirror": 1, "matching": 1}, 6)


async def pages(market: ServedMarket, field: str, size: int) -> list[list[dict[str, Any]]]:
    """Every page of a connection, `field` having the placeholder PAGE for its paging arguments."""
    found, after = [], ""
    while True:
        paged = field.replace("PAGE", f"first: {size}{after}")
        data: Any = await market.data(f"{{ {paged} }}")
        while "edges" not in data:
            data = next(iter(data.values()))
        found.append(data["edges"])
        info = data["pageInfo"]
        assert info["hasPreviousPage"] == (len(found) > 1)
        assert info["startCursor"] == data["edges"][0]["cursor"]
        assert info["endCursor"] == data["edges"][-1]["cursor"]
        if not info["hasNextPage"]:
            return found
        after = f', after: "{info["endCursor"]}"'


EDGES = "edges { cursor node { jobId } }"
PAGE_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount"
LISTS = {
    "search": f"jobs(sort: PAY_DESC, PAGE) {{ {EDGES} {PAGE_INFO} }}",
    "text": f'jobs(query: "project", PAGE) {{ {EDGES} {PAGE_INFO} }}',
    "ranked": f'talent(talentId: "t3") {{ recommendedJobs(PAGE) {{ {EDGES} {PAGE_INFO} }} }}',
    "similar": f'job(jobId: "j3") {{ similarJobs(PAGE) {{ {EDGES} {PAGE_INFO} }} }}',
    "profile": f"""recommendedJobs(subject: {{ profile: {{ skills: ["Go"] }} }}, PAGE) {{
                     {EDGES} {PAGE_INFO} }}""",
}


@pytest.mark.parametrize("name", LISTS)
async def test_pages_join_to_the_whole_list_without_repeat_or_gap(market: ServedMarket, name: str) -> None:
    small = [edge["node"]["jobId"] for page in await pages(market, LISTS[name], 7) for edge in page]
    large = [edge["node"]["jobId"] for page in await pages(market, LISTS[name], 100) for edge in page]
    assert small == large
    assert len(set(small)) == len(small) > 20


BACKWARD = {
    "search": "jobs(sort: PAY_DESC, PAGE)",
    "text": 'jobs(query: "project", PAGE)',
    "talents": "talents(sort: NEWEST, PAGE)",
    "client": 'client(clientId: "c1") { jobs(PAGE)',
    "events of a talent": 'talent(talentId: "t3") { interactions(PAGE)',
    "events of a job": 'job(jobId: "j22") { interactions(PAGE)',
}


@pytest.mark.parametrize("name", BACKWARD)
async def test_a_list_read_from_its_end_is_the_list(market: ServedMarket, name: str) -> None:
    info = "edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"

    async def page(arguments: str) -> Any:
        field = BACKWARD[name].replace("PAGE", arguments)
        data: Any = await market.data(f"{{ {field} {{ {info} }} {'}' * (field.count('{') - field.count('}'))} }}")
        while "edges" not in data:
            data = next(iter(data.values()))
        return data

    whole = [edge["cursor"] for edge in (await page("first: 100"))["edges"]]
    found: list[str] = []
    before = ""
    while True:
        data = await page(f"last: 2{before}")
        own = [edge["cursor"] for edge in data["edges"]]
        assert data["pageInfo"]["hasNextPage"] == (len(found) > 0)
        assert (data["pageInfo"]["startCursor"], data["pageInfo"]["endCursor"]) == (own[0], own[-1])
        found[:0] = own
        if not data["pageInfo"]["hasPreviousPage"]:
            break
        before = f', before: "{own[0]}"'
    assert found == whole
    assert len(found) > 2


async def test_a_page_leads_one_way(market: ServedMarket) -> None:
    cursor = (await market.data("{ jobs(first: 3) { pageInfo { endCursor } } }"))["jobs"]["pageInfo"]["endCursor"]
    for arguments, said in (
        (f'before: "{cursor}"', "before goes with `last`"),
        (f'last: 2, after: "{cursor}"', "after goes with `first`"),
        ("last: 0", "last must be between 1 and 100; got 0"),
        ('last: 2, before: "torn"', "before: expected a cursor"),
    ):
        answer = await market.ask(f"{{ jobs({arguments}) {{ totalCount }} }}")
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
        assert said in answer["errors"][0]["message"]
    # what clients send that spell out every argument
    both = f'{{ jobs(first: null, after: null, last: 2, before: "{cursor}") {{ nodes {{ jobId }} }} }}'
    assert len((await market.data(both))["jobs"]["nodes"]) == 2


async def test_something_comes_before_a_page_as_long_as_it_is_there(market: ServedMarket) -> None:
    query = "{ jobs(filter: { ids: IDS }, PAGE) { nodes { jobId } pageInfo { hasPreviousPage endCursor } } }"
    asked = query.replace("IDS", '["j1", "j2"]')
    cursor = (await market.data(asked.replace("PAGE", "first: 1")))["jobs"]["pageInfo"]["endCursor"]
    behind = asked.replace("PAGE", f'after: "{cursor}"')
    assert (await market.data(behind))["jobs"]["pageInfo"]["hasPreviousPage"] is True
    await market.catalogue.delete(Kind.JOB, "j1")
    assert (await market.data(behind))["jobs"]["pageInfo"]["hasPreviousPage"] is False


async def test_ranks_count_on_across_pages_and_scores_fall(market: ServedMarket) -> None:
    field = f"""talent(talentId: "t3") {{ recommendedJobs(PAGE) {{
                  edges {{ cursor rank score node {{ jobId }} }} {PAGE_INFO} }} }}"""
    edges = [edge for page in await pages(market, field, 9) for edge in page]
    assert [edge["rank"] for edge in edges] == list(range(1, len(edges) + 1))
    scores = [edge["score"] for edge in edges]
    assert scores == sorted(scores, reverse=True)


async def test_total_count_is_what_paging_to_the_end_returns(market: ServedMarket) -> None:
    for field in LISTS.values():
        found = await pages(market, field, 11)
        data: Any = await market.data(f"{{ {field.replace('PAGE', 'first: 1')} }}")
        while "totalCount" not in data:
            data = next(iter(data.values()))
        assert data["totalCount"] == sum(map(len, found))


async def test_a_cursor_of_another_list_is_refused(market: ServedMarket) -> None:
    data = await market.data(
        """{ jobs(first: 1, sort: NEWEST) { pageInfo { endCursor } }
             talent(talentId: "t1") { recommendedJobs(first: 1) { pageInfo { endCursor } }
                                      interactions(first: 1) { pageInfo { endCursor } } } }"""
    )
    search = data["jobs"]["pageInfo"]["endCursor"]
    ranked = data["talent"]["recommendedJobs"]["pageInfo"]["endCursor"]
    events = data["talent"]["interactions"]["pageInfo"]["endCursor"]
    for query in (
        f'{{ jobs(first: 1, sort: PAY_ASC, after: "{search}") {{ nodes {{ jobId }} }} }}',
        f'{{ jobs(first: 1, sort: NEWEST, query: "go", after: "{search}") {{ nodes {{ jobId }} }} }}',
        f'{{ talents(first: 1, sort: NEWEST, after: "{search}") {{ nodes {{ talentId }} }} }}',
        f'{{ jobs(first: 1, sort: NEWEST, after: "{ranked}") {{ nodes {{ jobId }} }} }}',
        f'{{ talent(talentId: "t2") {{ recommendedJobs(after: "{ranked}") {{ nodes {{ jobId }} }} }} }}',
        f'{{ talent(talentId: "t1") {{ recommendedJobs(query: "go", after: "{ranked}") {{ nodes {{ jobId }} }} }} }}',
        f'{{ talent(talentId: "t1") {{ similarTalents(after: "{ranked}") {{ nodes {{ talentId }} }} }} }}',
        f'{{ talent(talentId: "t1") {{ recommendedJobs(after: "{search}") {{ nodes {{ jobId }} }} }} }}',
        f'{{ talent(talentId: "t2") {{ interactions(after: "{events}") {{ nodes {{ eventId }} }} }} }}',
        '{ jobs(after: "torn") { nodes { jobId } } }',
        f'{{ jobs(first: 1, sort: NEWEST, after: "{search[:-3]}") {{ nodes {{ jobId }} }} }}',
    ):
        assert await market.code(query) == "BAD_USER_INPUT", query
    # and the list that it came from, at another page size, takes it
    await market.data(f'{{ jobs(first: 5, sort: NEWEST, after: "{search}") {{ nodes {{ jobId }} }} }}')


async def test_an_old_cursor_has_expired(market: ServedMarket) -> None:
    data = await market.data('{ talent(talentId: "t1") { recommendedJobs(first: 1) { pageInfo { endCursor } } } }')
    cursor = data["talent"]["recommendedJobs"]["pageInfo"]["endCursor"]
    market.clock[0] += DAY_MS + 1
    query = f'{{ talent(talentId: "t1") {{ recommendedJobs(after: "{cursor}") {{ nodes {{ jobId }} }} }} }}'
    answer = await market.ask(query)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["CURSOR_EXPIRED"]
    assert answer["data"] == {"talent": {"recommendedJobs": None}}


FIRST_FIELDS = (
    "jobs(first: N) { totalCount }",
    "talents(first: N) { totalCount }",
    'talent(talentId: "t1") { recommendedJobs(first: N) { totalCount } }',
    'talent(talentId: "t1") { similarTalents(first: N) { totalCount } }',
    'talent(talentId: "t1") { interactions(first: N) { nodes { eventId } } }',
    'job(jobId: "j1") { recommendedTalents(first: N) { totalCount } }',
    'job(jobId: "j1") { similarJobs(first: N) { totalCount } }',
    'client(clientId: "c1") { jobs(first: N) { totalCount } }',
    "recommendedJobs(subject: { profile: {} }, first: N) { totalCount }",
    "jobs { facets(size: N) { name } }",
)


@pytest.mark.parametrize("field", FIRST_FIELDS)
@pytest.mark.parametrize("size", ["0", "-1", "101", "2147483648"])
async def test_a_page_size_out_of_range_says_what_is_allowed(market: ServedMarket, field: str, size: str) -> None:
    answer = await market.ask(f"{{ {field.replace('N', size, 1)} }}")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    if size != "2147483648":  # beyond GraphQL's own Int
        assert answer["errors"][0]["message"].endswith(f"must be between 1 and 100; got {size}")


@pytest.mark.parametrize("field", FIRST_FIELDS)
async def test_a_null_page_size_is_the_default(market: ServedMarket, field: str) -> None:
    await market.data(f"{{ {field.replace('N', 'null', 1)} }}")


BAD_FILTERS = {
    'jobs(filter: { skills: { all: ["Go"], none: ["go"] } })': "skills",
    'jobs(filter: { budget: { type: HOURLY, currency: "USD", min: "9", max: "1" } })': "min must not be above max",
    'talents(filter: { hourlyRate: { currency: "USD", min: "9", max: "1" } })': "min must not be above max",
    'jobs(filter: { budget: { type: HOURLY, currency: "dollars" } })': "three letters",
    'jobs(filter: { budget: { type: HOURLY, currency: "USD", min: "cheap" } })': "Decimal",
    'jobs(filter: { budget: { type: HOURLY, currency: "USD", min: 1.5 } })': "Decimal",
    'jobs(filter: { attributes: [{ name: "rating", min: 5, max: 1 }] })': "min must not be above max",
    'jobs(filter: { attributes: [{ name: "" }] })': "1 to 256 characters",
    "jobs(filter: { postedWithinDays: -1 })": "0 or more",
    "jobs(filter: { postedWithinDays: 40000 })": "between 0 and 36500",
    "talents(filter: { joinedWithinDays: -1 })": "0 or more",
    "talents(filter: { joinedWithinDays: 40000 })": "between 0 and 36500",
    'jobs(filter: { ids: [""] })': "1 to 256 bytes",
    "jobs(filter: { levels: [WIZARD] })": "WIZARD",
    "recommendedJobs(subject: { profile: {} }, options: { mutualWeight: 10.5 })": "between 0 and 10",
    "recommendedJobs(subject: { profile: {} }, options: { maxPerClient: 0 })": "between 1 and 10",
    "recommendedJobs(subject: {})": "TalentSubject",
    'recommendedJobs(subject: { talentId: "t1", profile: {} })': "TalentSubject",
}


@pytest.mark.parametrize("field", BAD_FILTERS)
async def test_an_argument_that_makes_no_sense_is_bad_user_input(market: ServedMarket, field: str) -> None:
    answer = await market.ask(f"{{ {field} {{ totalCount }} }}")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    assert BAD_FILTERS[field] in answer["errors"][0]["message"]


async def test_lists_and_texts_are_capped(market: ServedMarket) -> None:
    query = "query($f: JobFilter, $q: String) { jobs(filter: $f, query: $q) { totalCount } }"
    for variables in (
        {"f": {"ids": ["j1"] * 1001}},
        {"f": {"excludeIds": ["x" * 257]}},
        {"f": {"skills": {"any": ["x"] * 1001}}},
        {"f": {"categories": ["x" * 257]}},
        {"f": {"attributes": [{"name": "a"}] * 21}},
        {"q": "x" * 1001},
    ):
        assert await market.code(query, variables) == "BAD_USER_INPUT", variables
    await market.data(query, {"f": {"excludeIds": [f"x{number}" for number in range(1000)]}})


async def test_filters_constrain_every_list(market: ServedMarket) -> None:
    data = await market.data(
        """query($f: JobFilter) {
             jobs(filter: $f, first: 100) { totalCount nodes { ...J } }
             client(clientId: "c2") { jobs(filter: $f) { totalCount nodes { ...J } } }
             talent(talentId: "t1") { recommendedJobs(filter: $f, first: 100) { totalCount nodes { ...J } } } }
           fragment J on Job { jobId skills isRemote client { clientId } }""",
        {"f": {"skills": {"any": ["go"]}, "isRemote": True, "clientIds": ["c0", "c2"]}},
    )
    # skill Go: number % 5 in (0, 3); remote: even; clients c0 and c2: even
    wanted = {f"j{number}" for number in range(1, JOBS + 1) if number % 5 in (0, 3) and number % 2 == 0}
    assert {job["jobId"] for job in data["jobs"]["nodes"]} == wanted
    assert data["jobs"]["totalCount"] == len(wanted)
    assert {job["jobId"] for job in data["client"]["jobs"]["nodes"]} == {j for j in wanted if int(j[1:]) % 4 == 2}
    applied = {"j8"}
    assert {job["jobId"] for job in data["talent"]["recommendedJobs"]["nodes"]} == wanted - applied


async def test_a_clients_jobs_under_a_filter_of_other_clients_are_none(market: ServedMarket) -> None:
    data = await market.data('{ client(clientId: "c1") { jobs(filter: { clientIds: ["c2"] }) { totalCount } } }')
    assert data["client"]["jobs"]["totalCount"] == 0


async def test_no_ids_match_nothing_and_other_empty_lists_constrain_nothing(market: ServedMarket) -> None:
    data = await market.data(
        """{ none: jobs(filter: { ids: [] }) { totalCount nodes { jobId } pageInfo { hasNextPage endCursor } }
             all: jobs(filter: { excludeIds: [], skills: { all: [] }, categories: null }) { totalCount }
             ranked: recommendedJobs(subject: { talentId: "t1" }, filter: { ids: [] }) {
               totalCount nodes { jobId } } }"""
    )
    assert data["none"] == {"totalCount": 0, "nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    assert data["all"]["totalCount"] == JOBS
    assert data["ranked"] == {"totalCount": 0, "nodes": []}


async def test_an_unknown_talent_is_null_as_a_talent_and_has_a_popular_list(market: ServedMarket) -> None:
    data = await market.data(
        """{ talent(talentId: "new") { talentId }
             recommendedJobs(subject: { talentId: "new" }, first: 3) { strategy model { version } nodes { jobId } } }"""
    )
    assert data["talent"] is None
    assert data["recommendedJobs"]["strategy"] == "POPULAR"
    assert data["recommendedJobs"]["model"] == {"version": "m1"}
    assert len(data["recommendedJobs"]["nodes"]) == 3


async def test_recommended_talents_and_reasons_answer_for_a_job(market: ServedMarket) -> None:
    data = await market.data(
        """{ job(jobId: "j3") { recommendedTalents(first: 5, filter: { hourlyRate: { currency: "USD", max: "35" } }) {
               exactness recall degradedReasons requestId
               edges { rank strategy recommendationId reasons(first: 1) { kind text }
                       node { talentId hourlyRate { amount } } } } } }"""
    )
    page = data["job"]["recommendedTalents"]
    assert (page["exactness"], page["recall"], page["degradedReasons"]) == ("EXACT", None, [])
    assert [edge["recommendationId"] for edge in page["edges"]] == [
        f"{page['requestId']}.{rank}" for rank in range(1, 6)
    ]
    assert all(float(edge["node"]["hourlyRate"]["amount"]) <= 35 for edge in page["edges"])
    assert all(len(edge["reasons"]) <= 1 for edge in page["edges"])
    served = await market.serving_log.get_many([page["requestId"]])
    assert [item.rank for item in served[0].items] == [1, 2, 3, 4, 5]


async def test_interactions_are_newest_first_and_paged(market: ServedMarket) -> None:
    field = """talent(talentId: "t2") { interactions(PAGE) {
                 edges { cursor node { eventId type actor occurredAt recommendationId
                                       talent { talentId } job { jobId } } }
                 pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    nodes = [edge["node"] for page in await pages(market, field, 2) for edge in page]
    assert [node["type"] for node in nodes] == ["APPLY", "SAVE", "VIEW"]
    assert nodes[0] == {
        "eventId": f"APPLY:t2:j15:{NOW_MS - 2 * DAY_MS}",
        "type": "APPLY",
        "actor": "TALENT",
        "occurredAt": "2025-10-07T08:53:20Z",
        "recommendationId": None,
        "talent": {"talentId": "t2"},
        "job": {"jobId": "j15"},
    }
    data = await market.data('{ job(jobId: "j15") { interactions(types: [APPLY]) { nodes { talent { talentId } } } } }')
    assert [node["talent"]["talentId"] for node in data["job"]["interactions"]["nodes"]] == ["t2"]


async def test_interactions_with_what_was_deleted_are_left_out_and_pages_stay_full(market: ServedMarket) -> None:
    await market.catalogue.delete(Kind.JOB, "j7")  # t2 saved it
    data = await market.data(
        '{ talent(talentId: "t2") { interactions(first: 2) { nodes { type } pageInfo { hasNextPage } } } }'
    )
    assert [node["type"] for node in data["talent"]["interactions"]["nodes"]] == ["APPLY", "VIEW"]
    assert data["talent"]["interactions"]["pageInfo"]["hasNextPage"] is False


async def test_facets_count_the_filtered_set_and_ignore_their_own_filter(market: ServedMarket) -> None:
    data = await market.data(
        """{ jobs(filter: { categories: ["Design"] }, first: 1) {
               facets(fields: [CATEGORIES, REMOTE], attributes: ["visa"], size: 10) {
                 name otherCount missingCount buckets { value count isSelected } } } }"""
    )
    facets = {facet["name"]: facet for facet in data["jobs"]["facets"]}
    assert {b["value"]: (b["count"], b["isSelected"]) for b in facets["CATEGORIES"]["buckets"]} == {
        "Software": (20, False),
        "Design": (20, True),
    }
    assert {b["value"]: b["count"] for b in facets["REMOTE"]["buckets"]} == {"false": 20}
    assert sum(b["count"] for b in facets["visa"]["buckets"]) == 20


async def test_facets_of_talents_have_no_remote(market: ServedMarket) -> None:
    data = await market.data("{ talents(first: 1) { facets { name } } }")
    assert [facet["name"] for facet in data["talents"]["facets"]] == [
        "SKILLS",
        "CATEGORIES",
        "COUNTRIES",
        "LEVELS",
        "PAY",
    ]
    assert await market.code("{ talents { facets(fields: [REMOTE]) { name } } }") == "BAD_USER_INPUT"


async def test_viewer_is_an_engineer_who_is_neither_talent_nor_client(market: ServedMarket) -> None:
    data = await market.data("{ viewer { roles talent { id } client { id } } }")
    assert data == {"viewer": {"roles": ["engineer"], "talent": None, "client": None}}


async def test_explain_says_why_and_why_not(market: ServedMarket) -> None:
    query = """query($t: ID!, $j: ID!, $f: JobFilter) { explain(talentId: $t, jobId: $j, side: TALENT, jobFilter: $f) {
                 blockedBy rank score text contributions { signal value reason { text } } } }"""
    why = (await market.data(query, {"t": "t1", "j": "j4"}))["explain"]
    assert why["blockedBy"] is None
    assert sum(term["value"] for term in why["contributions"]) == pytest.approx(why["score"], abs=1e-5)
    blocked = [
        (await market.data(query, variables))["explain"]["blockedBy"]
        for variables in (
            {"t": "t1", "j": "j8"},
            {"t": "t1", "j": "nope"},
            {"t": "t1", "j": "j4", "f": {"ids": ["j5"]}},
        )
    ]
    assert blocked == ["ALREADY_APPLIED", "UNKNOWN", "FILTER"]
    assert await market.code(query, {"t": relay_id(NodeType.TALENT, "t1"), "j": "j4"}) == "WRONG_ID_KIND"


async def test_a_job_that_closed_after_the_list_was_made_is_not_shown(market: ServedMarket) -> None:
    original = market.catalogue._port.get_many

    async def close_first(kind: Kind, ordinals: Any = (), ids: Any = ()) -> Any:
        if kind is Kind.JOB:
            await market.catalogue.upsert(Kind.JOB, [Patch("j4", {"status": JobStatus.CLOSED})])
        return await original(kind, ordinals, ids)

    market.catalogue._port.get_many = close_first
    data = await market.data(
        '{ talent(talentId: "t1") { recommendedJobs(first: 3) { nodes { jobId } edges { rank } } } }'
    )
    assert "j4" not in [job["jobId"] for job in data["talent"]["recommendedJobs"]["nodes"]]
    assert [edge["rank"] for edge in data["talent"]["recommendedJobs"]["edges"]] == [2, 3]


@pytest.mark.parametrize(
    "rows", ["jobs(first: 2, after: $after)", "recommendedJobs(subject: $who, first: 2, after: $after)"]
)
async def test_a_page_whose_documents_all_went_still_leads_to_the_next(market: ServedMarket, rows: str) -> None:
    subject = "$who: TalentSubject!, " if "$who" in rows else ""
    query = f"query({subject}$after: String) {{ {rows} {{ nodes {{ jobId }} pageInfo {{ hasNextPage endCursor }} }} }}"
    who = {"who": {"talentId": "t1"}} if subject else {}

    async def page(after: str | None) -> Any:
        (connection,) = (await market.data(query, {**who, "after": after})).values()
        return connection

    second = (await page((await page(None))["pageInfo"]["endCursor"]))["nodes"]
    original = market.catalogue._port.get_many

    async def gone(kind: Kind, ordinals: Any = (), ids: Any = ()) -> Any:
        return [None if ordinals and kind is Kind.JOB else found for found in await original(kind, ordinals, ids)]

    market.catalogue._port.get_many = gone
    first = await page(None)
    market.catalogue._port.get_many = original

    assert (first["nodes"], first["pageInfo"]["hasNextPage"]) == ([], True)
    assert (await page(first["pageInfo"]["endCursor"]))["nodes"] == second


async def test_a_store_that_is_down_nulls_its_field_alone(market: ServedMarket) -> None:
    market.events.failing["history"] = UnavailableError("event log")
    answer = await market.ask('{ talent(talentId: "t1") { title interactions { nodes { eventId } } } }')
    assert answer["data"] == {"talent": {"title": "Developer 1", "interactions": None}}
    assert [(e["path"], e["extensions"]["code"]) for e in answer["errors"]] == [
        (["talent", "interactions"], "UNAVAILABLE")
    ]


async def test_what_nobody_foresaw_is_masked_with_a_request_id(market: ServedMarket) -> None:
    market.catalogue.failing["get_many"] = ValueError("the password is hunter2")
    answer = await market.ask('{ talent(talentId: "t1") { title } }', **{"X-Request-Id": "abc"})
    assert answer["data"] == {"talent": None}
    assert answer["errors"][0]["extensions"] == {"code": "INTERNAL", "requestId": "abc"}
    assert "hunter2" not in str(answer)


async def test_a_newly_published_model_serves_without_a_restart(market: ServedMarket) -> None:
    query = '{ talent(talentId: "t1") { recommendedJobs(first: 2) { model { version } pageInfo { endCursor } } } }'
    before = (await market.data(query))["talent"]["recommendedJobs"]
    market.models.publish(small_model("m2"))
    assert market.services.recommender.refresh_model()
    after = (await market.data(query))["talent"]["recommendedJobs"]
    assert (before["model"]["version"], after["model"]["version"]) == ("m1", "m2")
    # a page of the old list goes on under the old model
    cursor = before["pageInfo"]["endCursor"]
    page = await market.data(
        f'{{ talent(talentId: "t1") {{ recommendedJobs(after: "{cursor}") {{ model {{ version }} }} }} }}'
    )
    assert page["talent"]["recommendedJobs"]["model"]["version"] == "m1"


async def test_every_talent_is_listed_once(market: ServedMarket) -> None:
    field = f"talents(sort: PAY_ASC, PAGE) {{ edges {{ cursor node {{ talentId }} }} {PAGE_INFO} }}"
    found = [edge["node"]["talentId"] for page in await pages(market, field, 6) for edge in page]
    assert found == [f"t{number}" for number in range(1, TALENTS + 1)]


async def test_a_search_shows_where_each_document_says_it_in_utf16_code_units(market: ServedMarket) -> None:
    title = "😀 C++ and 𝒢o"
    await market.catalogue.upsert(
        Kind.JOB, [Patch("j6", {"title": title, "skills": ("C++", "SQL"), "description": "x"})]
    )
    query = """query($query: String) { jobs(query: $query, filter: { ids: ["j6"] }) { edges {
      highlights { field text ranges { start end } hasMoreBefore hasMoreAfter } } } }"""
    (edge,) = (await market.data(query, {"query": "c++ go"}))["jobs"]["edges"]
    whole = {"hasMoreBefore": False, "hasMoreAfter": False}
    assert edge["highlights"] == [
        {"field": "TITLE", "text": title, "ranges": [{"start": 3, "end": 6}, {"start": 11, "end": 14}], **whole},
        {"field": "SKILLS", "text": "C++", "ranges": [{"start": 0, "end": 3}], **whole},
    ]
    units = title.encode("utf-16-le")
    assert [
        units[2 * one["start"] : 2 * one["end"]].decode("utf-16-le") for one in edge["highlights"][0]["ranges"]
    ] == [
        "C++",
        "𝒢o",
    ]
    (edge,) = (await market.data(query, {"query": None}))["jobs"]["edges"]
    assert edge["highlights"] == []
    talents = await market.data('{ talents(query: "developer", first: 1) { edges { highlights { field text } } } }')
    assert talents["talents"]["edges"][0]["highlights"][0]["field"] == "TITLE"
