"""What benchmarks make of vegeta's results: nothing that was slow, late or wrong gets lost."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from benchmarks.load import BadAnswerError, jobs_in
from benchmarks.tables import Table
from benchmarks.vegeta import INSTALL, NoVegetaError, outcome_of, vegeta_binary

GOOD = {"data": {"recommendedJobs": {"totalCount": 1, "nodes": [{"jobId": "j"}]}}}


def result(seq: int, sent_s: float, took_ms: float, *, code: int = 200, body: Mapping[str, Any] = GOOD) -> bytes:
    """A line of `vegeta encode`."""
    whole, part = divmod(round(sent_s * 1_000_000_000), 1_000_000_000)
    line = {
        "seq": seq,
        "timestamp": f"2026-01-01T00:00:{whole:02d}.{part:09d}Z",
        "latency": round(took_ms * 1e6),
        "code": code,
        "error": "",
        "body": base64.b64encode(orjson.dumps(body)).decode(),
    }
    return orjson.dumps(line)


def test_latency_runs_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    lines = [result(0, 1.0, 5), result(1, 1.5, 5), result(2, 1.5, 5)]  # at 10 a second: due at 1.0, 1.1, 1.2
    found = outcome_of(lines, 10, 0.3, jobs_in, 0.0)
    assert [round(latency) for latency in found.latencies_ms] == [5, 405, 305]
    assert [round(late) for late in found.late_ms] == [0, 400, 300]


def test_an_answer_of_errors_is_a_fault_and_counts_as_the_longest() -> None:
    lines = [result(0, 0, 5), result(1, 0.1, 1, body={"errors": [{"message": "m", "extensions": {"code": "X"}}]})]
    found = outcome_of(lines, 10, 0.2, jobs_in, 0.0)
    assert (found.sent, found.good, dict(found.faults)) == (2, 1, {"X": 1})
    assert found.quantile(0.5) == pytest.approx(5, abs=0.01)
    assert found.quantile(0.99) == float("inf")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"data": None, "errors": [{"message": "no"}]}, "no"),
        (GOOD | {"extensions": {"degraded": ["CATALOGUE"]}}, "degraded"),
        ({"data": {"recommendedJobs": {"totalCount": 9, "nodes": []}}}, "0 of 9 jobs"),
    ],
)
def test_an_answer_with_errors_degraded_or_too_short_is_no_success(answer: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(BadAnswerError, match=fault):
        jobs_in(orjson.dumps(answer))


def test_who_has_no_vegeta_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PATH", ""), ("HOME", "/nowhere"), ("GOBIN", "/nowhere"), ("GOPATH", "/nowhere")):
        monkeypatch.setenv(name, value)
    with pytest.raises(NoVegetaError, match=re.escape(INSTALL)):
        vegeta_binary()


def test_a_table_takes_no_row_of_another_width() -> None:
    table = Table("t", ("a", "b"))
    table.add("x", 1.2345)
    assert table.markdown() == "| a | b |\n| --- | ---: |\n| x | 1.23 |"
    with pytest.raises(ValueError, match="2 columns, and 1 cells"):
        table.add("x")
