"""A query over fifty talents asks Elasticsearch and Redis as often as one over five."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.graphql.ids import NodeType, relay_id
from tests.production.stack import Client, Stack
from tests.production.wire import wires

Trips = tuple[dict[str, int], dict[str, int]]  # to Elasticsearch, to Redis

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
    ports = (urlsplit(stack.elasticsearch_url).port or 0, stack.redis.port)
    with wires(*ports) as (elasticsearch, redis):
        replica = stack.replica(
            TANDEM_CATALOGUE_URL=f"elasticsearch://127.0.0.1:{elasticsearch.port}",
            TANDEM_EVENTS_URL=f"redis://127.0.0.1:{redis.port}/0",
        )

        async def trips(query: str, talents: int) -> Trips:
            elasticsearch.trips.clear()
            redis.trips.clear()
            data = await client.data(replica, query)
            lists = data["nodes"] if "nodes" in data else list(data.values())
            assert [len(one["recommendedJobs"]["edges"]) for one in lists] == [20] * talents
            return dict(elasticsearch.trips), dict(redis.trips)

        await trips(as_nodes(50), 50)  # a new process asks for its scripts, too, and opens connections
        few = await trips(as_nodes(5), 5)
        assert few == ({"_msearch": 6}, {"EVALSHA": 1})
        assert await trips(as_nodes(50), 50) == few
        assert await trips(as_aliases(50), 50) == few
        replica.stop()
