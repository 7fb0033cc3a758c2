"""What one replica acknowledged, every other shows: events and documents, with the token and without it."""

from __future__ import annotations

from tests.production.races import race_events, race_upserts
from tests.production.stack import Client, Replica


async def test_no_list_is_older_than_an_acknowledged_event(client: Client, replicas: tuple[Replica, Replica]) -> None:
    tally = await race_events(client, replicas, 500)
    assert (tally.races.total(), tally.stale) == (500, [])


async def test_no_answer_is_older_than_an_acknowledged_document(
    client: Client, replicas: tuple[Replica, Replica]
) -> None:
    tally = await race_upserts(client, replicas, 30)
    assert (tally.races.total(), tally.stale) == (60, [])
