"""Generated operations: none is answered with a 5xx, an error without a code, one of ours, or more than is allowed.

By hand, more of each kind: GENERATED_QUERIES=25000 GENERATED_SEED=7 pytest -s tests/gateway/test_generated_queries.py.
What fails prints its operation, and the same seed gives it again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import graphql
import httpx
import hypothesis
import hypothesis_graphql
import pytest
from graphql import (
    ArgumentNode,
    DocumentNode,
    FloatValueNode,
    IntValueNode,
    ListValueNode,
    ObjectFieldNode,
    StringValueNode,
)
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis_graphql import Mode

from gateway.graphql.cost import MAX_OBJECTS, actual_cost
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.schema import printed_schema
from gateway.http.negotiation import GRAPHQL
from gateway.settings import Settings
from tests.gateway.served_market import JOBS, TALENTS, close_market, open_market

QUERIES = int(os.environ.get("GENERATED_QUERIES", "40"))
SEED = int(os.environ.get("GENERATED_SEED", "1"))
ADDRESS = os.environ.get("GENERATED_ADDRESS")  # of a demo that runs, such as http://127.0.0.1:8000; else in process
MOST_SECONDS = 10.0
TEXTS = (StringValueNode, IntValueNode)  # an id may be written as either
OURS = {"INTERNAL", "UNAVAILABLE"}
SCHEMA = graphql.build_schema(printed_schema())


class Known(graphql.Visitor):
    """Puts ids of the market and sizes that are allowed in the place of most others: any text is an unknown id."""

    IDS: ClassVar[dict[str, Callable[[int], str]]] = {
        "talentId": lambda n: f"t{n % TALENTS + 1}",
        "jobId": lambda n: f"j{n % JOBS + 1}",
        "clientId": lambda n: f"c{n % 4}",
        "id": lambda n: relay_id(NodeType.TALENT, f"t{n % TALENTS + 1}"),
        "ids": lambda n: relay_id(NodeType.JOB, f"j{n % JOBS + 1}"),
        "filter ids": lambda n: f"{'tj'[n % 2]}{n % TALENTS + 1}",
        "likedJobIds": lambda n: f"j{n % JOBS + 1}",
        "currency": lambda _: "USD",
        "name": lambda n: ("visa", "timezone")[n % 2],
        "query": lambda n: ("go", "python project", "c++", "team")[n % 4],
    }

    MOST: ClassVar = {
        "first": 100,
        "last": 100,
        "size": 100,
        "maxPerClient": 10,
        "mutualWeight": 1,
        "postedWithinDays": 365,
        "joinedWithinDays": 365,
    }

    def enter_argument(self, node: ArgumentNode, *_: Any) -> Any:
        """See the class."""
        return self._known(node, node.name.value)

    def enter_object_field(self, node: ObjectFieldNode, *_: Any) -> Any:
        """See the class."""
        return self._known(node, "filter ids" if node.name.value == "ids" else node.name.value)

    def _known(self, node: ArgumentNode | ObjectFieldNode, name: str) -> Any:
        value = node.value
        if isinstance(value, IntValueNode | FloatValueNode) and name in self.MOST:
            chosen = abs(int(float(value.value))) % (self.MOST[name] + 3)
            return type(node)(name=node.name, value=IntValueNode(value=str(chosen)))
        if isinstance(value, StringValueNode) and name in ("after", "before") and len(value.value) % 5:
            return graphql.REMOVE  # no text that anybody makes up is a cursor
        if name not in self.IDS:
            return None
        if isinstance(value, TEXTS):
            return type(node)(name=node.name, value=self._id(name, value))
        if isinstance(value, ListValueNode):
            values = tuple(self._id(name, one) if isinstance(one, TEXTS) else one for one in value.values)
            return type(node)(name=node.name, value=ListValueNode(values=values))
        return None

    def _id(self, name: str, value: StringValueNode | IntValueNode) -> StringValueNode | IntValueNode:
        number = sum(map(ord, value.value)) + len(value.value)
        return value if number % 7 == 6 else StringValueNode(value=self.IDS[name](number))


def printed(document: DocumentNode) -> str:
    """The text of a document, its ids known."""
    return graphql.print_ast(graphql.visit(document, Known()))


def scalars() -> dict[str, Any]:
    """Times and amounts, right and wrong."""
    dates = st.sampled_from(["2026-01-31T09:30:00Z", "2025-10-09T08:00:00+02:00", "0001-01-01T00:00:00Z", "yesterday"])
    decimals = st.sampled_from(["0", "40", "40.50", "55", "60", "1e3", "-1", "1e400", "9" * 60])
    return {
        "DateTime": dates.map(lambda text: StringValueNode(value=text)),
        "Decimal": decimals.map(lambda text: StringValueNode(value=text)),
    }


KINDS = {
    "queries": (hypothesis_graphql.queries, Mode.POSITIVE),
    "wrong queries": (hypothesis_graphql.queries, Mode.NEGATIVE),
    "mutations": (hypothesis_graphql.mutations, Mode.POSITIVE),
    "wrong mutations": (hypothesis_graphql.mutations, Mode.NEGATIVE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_operation_is_answered(kind: str, tmp_path: Path) -> None:
    make, mode = KINDS[kind]
    seen: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        market = runner.run(open_market(tmp_path, Settings(auth="token", service_token="sesame")))
        market.client.headers.update({"Authorization": "Bearer sesame", "Accept": GRAPHQL})
        client = market.client if ADDRESS is None else httpx.AsyncClient(base_url=ADDRESS, headers={"Accept": GRAPHQL})

        @hypothesis.seed(SEED)
        @hypothesis.settings(
            max_examples=QUERIES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(make(SCHEMA, custom_scalars=scalars(), print_ast=printed, mode=mode))
        def run(text: str) -> None:
            start = time.perf_counter()
            response = runner.run(client.post("/graphql", json={"query": text}, timeout=MOST_SECONDS))
            took = time.perf_counter() - start
            assert response.status_code in (200, 400), (text, response.text)
            answer = response.json()
            codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
            assert not OURS & set(codes), (text, answer["errors"])
            assert took < MOST_SECONDS, (text, took)
            assert ("data" in answer) == (response.status_code == 200), text
            assert actual_cost(answer.get("data")) <= MAX_OBJECTS, text
            seen.update(set(codes) or {"no error"})

        run()
        runner.run(client.aclose())
        runner.run(close_market(market))
    # What a long run is for; pytest shows it with -s, and for a failure.
    print(f"\n{kind}, seed {SEED}, {QUERIES} operations: {dict(seen.most_common())}")  # noqa: T201
    # A short run of wrong ones may hold none that is right by chance.
    assert seen["no error"] > 0 or (kind.startswith("wrong") and sum(seen.values()) > 0)
