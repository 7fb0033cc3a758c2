"""A query over fifty talents asks Elasticsearch and Redis as often as one over five."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

from gateway.graphql.ids import NodeType, relay_id
from tests.production.stack import Client, Stack
from tests.production.wire import wires

# How far the log reaches is asked by the clock, for subscribers, and by no request; the others open a connection.
BESIDE = ("HMGET", "HELLO", "CLIENT")

LIST = """recommendedJobs(first: 20) {
  totalCount
  edges { score reasons { text jobs { title } } interactions node { title skills client { clientId } } } }"""


def as_nodes(talents: int) -> str:
    ids = ", ".join(f'"{relay_id(NodeType.TALENT, f"t{number}")}"' for number in range(1, talents + 1))
    return f"{{ nodes(ids: [{ids}]) {{ ... on Talent {{ title {LIST} }} }} }}"


def as_aliases(talents: int) -> str:
    fields = " ".join(f'a{n}: talent(talentId: "t{n}") {{ title ...L }}' for n in range(1, talents + 1))
    return f"{{ {fields} }} fragment L on Talent {{ {LIST} }}"


async def test_a_page_of_fifty_talents_takes_as_few_round_trips_as_one_of_five(stack: Stack, client: Client) -> None:
    ports = (urlsplit(stack.elasticsearch_url).port or 0, stack.redis.port, stack.cache.port)
    with wires(*ports) as servers:
        elasticsearch, events, cache = servers
        replica = stack.replica(
            TANDEM_CATALOGUE_URL=f"elasticsearch://127.0.0.1:{elasticsearch.port}",
            TANDEM_EVENTS_URL=f"redis://127.0.0.1:{events.port}/0",
            TANDEM_CACHE_URL=f"redis://127.0.0.1:{cache.port}/0",
        )

        async def trips(query: str, talents: int) -> list[Counter[str]]:
            for server in servers:
                server.trips.clear()
            data = await client.data(replica, query)
            lists = data["nodes"] if "nodes" in data else list(data.values())
            assert [len(one["recommendedJobs"]["edges"]) for one in lists] == [20] * talents
            return [Counter({label: n for label, n in one.trips.items() if label not in BESIDE}) for one in servers]

        await trips(as_nodes(50), 50)  # scripts and connections
        for query_of in (as_nodes, as_aliases):
            for talents in (5, 50):
                stack.cache.command("FLUSHALL")
                computed, cached = [await trips(query_of(talents), talents) for _ in range(2)]
                # Five, two and three when nobody waits; a loaded machine tears batches apart, and a cache that is late
                # is asked again. None comes near one for each talent.
                assert computed[0] <= Counter(_msearch=8)
                assert computed[1] == Counter(EVALSHA=1)
                assert computed[2] <= Counter(MGET=5, EVALSHA=8)
                assert cached[0] <= Counter(_msearch=8)
                assert cached[1] == Counter(EVALSHA=1)
                assert cached[2] <= Counter(MGET=5, EVALSHA=8)
        replica.stop()
