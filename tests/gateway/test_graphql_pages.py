"""A page of an app is one query, and asks the stores as often for twenty rows as for three."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.gateway.served_market import ServedMarket

HOME = """query Home($talent: ID!, $rows: Int!) {
  viewer { roles talent { talentId } }
  talent(talentId: $talent) {
    title
    recommendedJobs(first: $rows, options: { placement: "home" }) {
      totalCount
      edges {
        rank recommendationId interactions node { ...Card }
        reasons(first: 2) { kind text skills jobs { title } }
      }
      facets(fields: [SKILLS, CATEGORIES, COUNTRIES, PAY], size: 5) { name buckets { value from to count isSelected } }
      pageInfo { hasNextPage endCursor }
    }
    top: recommendedJobs(first: 3) { nodes { jobId similarJobs(first: $rows) { nodes { ...Card } } } }
    saved: interactions(types: [SAVE], first: $rows) { nodes { occurredAt job { ...Card } } }
  }
}
fragment Card on Job { id jobId title skills client { clientId } budget { type min max currency } }"""

CLIENT = """query Client($client: ID!, $rows: Int!) {
  client(clientId: $client) {
    jobs(first: $rows, filter: { statuses: [DRAFT, OPEN, PAUSED] }) {
      totalCount
      nodes {
        jobId title status
        recommendedTalents(first: 5) {
          totalCount
          edges {
            rank interactions node { talentId title hourlyRate { amount } }
            reasons(first: 2) { text talents { title } }
          }
        }
      }
    }
  }
}"""


async def round_trips(market: ServedMarket, query: str, **variables: Any) -> tuple[Counter[str], Any]:
    """How often each method of a port was called for a query, and its data."""
    market.reset_counts()
    data = await market.data(query, variables)
    return market.catalogue.calls + market.events.calls + market.serving_log.calls, data


# At most, whatever the number of rows: levels of a query that are ready at the same moment share a batch.
HOME_TRIPS = Counter(get_many=8, mirror=2, matching=2, history=3, facets=1, append=2)
CLIENT_TRIPS = Counter(search=1, get_many=7, mirror=2, matching=2, history=2, append=1)


@pytest.mark.parametrize("rows", [3, 20])
async def test_a_mobile_home_screen(market: ServedMarket, rows: int) -> None:
    trips, data = await round_trips(market, HOME, talent="t3", rows=rows)
    assert trips <= HOME_TRIPS
    talent = data["talent"]
    assert len(talent["recommendedJobs"]["edges"]) == rows
    assert all(edge["reasons"] for edge in talent["recommendedJobs"]["edges"])
    assert [len(job["similarJobs"]["nodes"]) for job in talent["top"]["nodes"]] == [rows] * 3
    assert [row["job"]["jobId"] for row in talent["saved"]["nodes"]] == ["j10"]


@pytest.mark.parametrize("rows", [3, 10])
async def test_a_clients_page(market: ServedMarket, rows: int) -> None:
    trips, data = await round_trips(market, CLIENT, client="c1", rows=rows)
    assert trips <= CLIENT_TRIPS
    jobs = data["client"]["jobs"]
    assert (len(jobs["nodes"]), jobs["totalCount"]) == (rows, 10)
    assert all(len(job["recommendedTalents"]["edges"]) == 5 for job in jobs["nodes"])
