"""What a gateway answers when more is asked than it can, and how soon it is itself again. Open model, by hand:

    python benchmarks/overload.py URL --token T --peak 200 --seconds 10

Requests begin at their time, whatever became of the earlier ones; a latency counts from there. An answer is good when
it has as many rows as there are, up to the twenty that were asked for. Beyond a thousand a second use vegeta.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from dataclasses import dataclass, field

import httpx

LIST = """query ($id: ID!) {
  talent(talentId: $id) { recommendedJobs(first: 20) { totalCount nodes { jobId title skills status } } }
}"""
TALENTS = "{ talents(first: 100) { nodes { talentId } } }"


@dataclass
class Load:
    """What came of the requests of one phase; times in milliseconds."""

    name: str
    good: int = 0
    poor: int = 0
    accepted_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    lost: int = 0

    def line(self, seconds: float, peak: float | None) -> str:
        """One row of the table."""
        share = "" if peak is None else f"{self.good / seconds / peak:6.0%}"
        return (
            f"{self.name:>10} {self.good / seconds:8.0f}/s {share:>7} {_at(self.accepted_ms, 0.5):8.1f} "
            f"{_at(self.accepted_ms, 0.99):8.1f} {len(self.refused_ms):8} {_at(self.refused_ms, 0.99):8.1f} "
            f"{self.lost:6} {self.poor:6}"
        )


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


async def ask(client: httpx.AsyncClient, url: str, talent: str, due_s: float, load: Load) -> None:
    """One request."""
    try:
        answer = await client.post(url, json={"query": LIST, "variables": {"id": talent}})
    except httpx.HTTPError:
        load.lost += 1
        return
    took_ms = 1_000 * (time.perf_counter() - due_s)
    if answer.status_code == 503:
        load.refused_ms.append(took_ms)
        return
    load.accepted_ms.append(took_ms)
    page = ((answer.json().get("data") or {}).get("talent") or {}).get("recommendedJobs") or {}
    good = answer.status_code == 200 and page and len(page["nodes"]) == min(20, page["totalCount"])
    load.good += bool(good)
    load.poor += not good


async def phase(
    client: httpx.AsyncClient, url: str, talents: list[str], name: str, rate: float, seconds: float
) -> Load:
    """As many requests a second as that, spread evenly."""
    load, asked = Load(name), set[asyncio.Task[None]]()
    begun_s = time.perf_counter()
    for number in range(int(rate * seconds)):
        due_s = begun_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        task = asyncio.create_task(ask(client, url, random.choice(talents), due_s, load))  # noqa: S311
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    return load


async def main() -> None:
    """Half of the peak, the peak, twice and ten times of it, and half again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--peak", type=float, default=200, help="requests a second that the machine can do")
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
    headers = {"Authorization": f"Bearer {given.token}"} if given.token else {}
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=5) as client:
        found = (await client.post(given.url, json={"query": TALENTS})).json()["data"]["talents"]["nodes"]
        talents = [one["talentId"] for one in found]
        print(f"{'':>10} {'good':>10} {'of peak':>7} {'p50 ms':>8} {'p99 ms':>8} {'refused':>8} {'p99 ms':>8} "
              f"{'lost':>6} {'poor':>6}")  # fmt: skip
        peak: float | None = None
        for name, times in (("half", 0.5), ("peak", 1), ("2 x", 2), ("10 x", 10), ("half again", 0.5)):
            load = await phase(client, given.url, talents, name, times * given.peak, given.seconds)
            if name == "peak":
                peak = load.good / given.seconds
            print(load.line(given.seconds, peak), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
