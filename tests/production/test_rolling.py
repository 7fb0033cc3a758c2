"""A model from `tandem train` in another process, and a gateway that is replaced: both without a failed request."""

from __future__ import annotations

import asyncio
import json

from tests.production.stack import Client, Replica, Stack, http_client

LIST = """query($id: ID!) { talent(talentId: $id) { recommendedJobs(first: 5) {
  requestId model { version } edges { recommendationId node { jobId } } } } }"""


async def versions_seen(client: Client, replica: Replica, talent: int = 1) -> str:
    """The version behind a list, which must be answered."""
    found = (await client.data(replica, LIST, {"id": f"t{talent}"}))["talent"]["recommendedJobs"]
    assert len(found["edges"]) == 5
    return str(found["model"]["version"])


def test_a_new_model_is_served_by_every_replica_with_no_failed_request(
    stack: Stack, replicas: tuple[Replica, Replica]
) -> None:
    async def trained() -> list[list[str]]:
        training = asyncio.create_task(asyncio.to_thread(stack.tandem, "train", "--no-evaluate"))
        seen: list[list[str]] = [[], []]
        async with http_client() as client:

            async def follow(place: int) -> None:
                deadline = asyncio.get_running_loop().time() + 60
                while not training.done() or (training.result() and seen[place][-1] == seen[place][0]):
                    seen[place].append(await versions_seen(client, replicas[place], 1 + len(seen[place]) % 50))
                    assert asyncio.get_running_loop().time() < deadline, "the new model is not picked up"
                    await asyncio.sleep(0.05)

            await asyncio.gather(follow(0), follow(1))
        return seen

    for versions in asyncio.run(trained()):
        assert len(set(versions)) == 2
        assert versions == sorted(versions, key=versions.index)  # never back to the one before


def test_a_row_is_credited_by_the_report_over_the_data_directory_of_who_served_it(
    stack: Stack, replicas: tuple[Replica, Replica]
) -> None:
    """The serving log is each gateway's own, whichever gateway hears of the outcome."""

    async def act_on_a_served_row() -> str:
        async with http_client() as client:
            found = (await client.data(replicas[0], LIST, {"id": "t2"}))["talent"]["recommendedJobs"]
            edge = found["edges"][0]
            event = {
                **{"eventId": "rolling-1", "actor": "TALENT", "type": "SAVE", "talentId": "t2"},
                **{"jobId": edge["node"]["jobId"], "recommendationId": edge["recommendationId"]},
            }
            await client.record(replicas[1], event)
            return str(found["model"]["version"])

    version = asyncio.run(act_on_a_served_row())
    saves = []
    for replica in replicas:
        report = json.loads(stack.tandem("report", "--json", data=replica.data).stdout)
        groups = [group for group in report["groups"] if group["model"] == version]
        saves.append(sum(group["outcomes"]["SAVE"]["count"] for group in groups))
    assert saves == [1, 0]
