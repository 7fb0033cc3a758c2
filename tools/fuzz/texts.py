"""What atheris makes up, as documents and as bodies: each is refused in a typed way, and in time that is bounded.

`make fuzz` runs it; alone: python tools/fuzz/texts.py -runs=100000 -seed=7 CORPUS, with Tandem's packages on the path.
"""

from __future__ import annotations

import sys
import time

import atheris

with atheris.instrument_imports(
    include=["gateway.graphql.bounds", "gateway.graphql.cost", "gateway.http.request_body"]
):
    from gateway.graphql.bounds import check_text as _first  # noqa: F401 — so that it is instrumented
    from gateway.graphql.cost import requested_cost
    from gateway.http import request_body

from graphql import GraphQLError, validate

from gateway.graphql.documents import MAX_ERRORS, Documents
from gateway.graphql.schema import SCHEMA
from gateway.http.problem import HttpProblem

MOST_CPU_SECONDS = 0.25


def one(data: bytes) -> None:
    """One input, first as a body and then as a document."""
    begun = time.process_time()
    try:
        request_body.checked_request(request_body._decoded(data, "the body"))
    except HttpProblem as problem:
        assert 400 <= problem.status < 500, problem.status
    text = data.decode(errors="surrogateescape")
    try:
        document = Documents().parsed(SCHEMA._schema, text)
        if document.operations and not validate(SCHEMA._schema, document.node, max_errors=MAX_ERRORS):
            assert requested_cost(SCHEMA._schema, document.node, None, {}) >= 0
    except GraphQLError as error:
        assert len(error.message) < 10_000
    spent = time.process_time() - begun
    assert spent < MOST_CPU_SECONDS, f"{spent:.2f} s of CPU"


atheris.Setup(sys.argv, one)
atheris.Fuzz()
