"""What Schemathesis counts as found: its own check takes every typed refusal for a fault of the server."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies
from schemathesis.graphql import nodes

OURS = {"INTERNAL", "UNAVAILABLE"}

schemathesis.graphql.scalar(
    "Decimal", strategies.decimals(allow_nan=False, allow_infinity=False).map(str).map(nodes.String)
)


@schemathesis.check
def no_fault_of_ours(_context: object, response: schemathesis.Response, _case: schemathesis.Case) -> None:
    """No status of ours, and no error without a code or with one of ours."""
    assert response.status_code < 500, response.status_code
    codes = {error.get("extensions", {}).get("code") for error in response.json().get("errors", [])}
    assert not codes & {*OURS, None}, codes
